"""Makes countries.mmdb of the addresses for documentation: `pip install mmdb_writer==0.2.7 netaddr`, then this."""

import pathlib

from mmdb_writer import MMDBWriter
from netaddr import IPSet

writer = MMDBWriter(6, "Test-Country", languages=["en"], description="made up", ipv4_compatible=True)
for country, networks in {"GB": ["203.0.113.0/24", "2001:db8::/32"], "FR": ["198.51.100.0/24"]}.items():
    writer.insert_network(IPSet(networks), {"country": {"iso_code": country}})
writer.to_db_file(str(pathlib.Path(__file__).with_name("countries.mmdb")))
