"""Prints how many distinct events of each type an archive directory holds: read.py DIR (the parent of events/)."""

import pathlib
import sys

import duckdb

sql = (pathlib.Path(__file__).parent / "archive.sql").read_text()
db = duckdb.connect()
db.execute(sql.replace("ROOT", sys.argv[1].rstrip("/").replace("'", "''")))
for kind, count in db.execute("SELECT type, count(*) FROM events GROUP BY type ORDER BY type").fetchall():
    print(kind, count)
