#!/usr/bin/env python3
"""Counts a deployment's requests to AWS and their cost: idle, and under load at three rates. The
figures in docs/cost.md are from here.

    cargo build -p soundoff --features aws && cargo build -p loadtest
    TEST_BINARY=$PWD/target/debug/soundoff tests/standins/with .venv/bin/python tests/deployment/cost.py

COST_SECONDS (60) is how long each is watched.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from deployment import Deployment, environment_of

LOADTEST = pathlib.Path(__file__).parents[2] / "target/debug/loadtest"
SECONDS = os.environ.get("COST_SECONDS", "60")
LOADS = [("post.create", 10), ("post.create", 30), ("profile.get", 30), ("profile.get", 100)]


def main():
    deployment = Deployment(environment_of(pathlib.Path(tempfile.mkdtemp()) / "data"))
    pages = [word for role in deployment.roles() for word in ("--metrics", f"http://{role.internal}/metrics")]
    url = f"ws://{deployment.balancer.address}"
    print("== idle", flush=True)
    subprocess.run([LOADTEST, "bill", "--duration", SECONDS, *pages], check=True)
    for kind, rate in LOADS:
        print(f"\n== {kind}, {rate} a second", flush=True)
        load = [LOADTEST, "accepted", "--url", url, "--rate", str(rate), "--duration", SECONDS, "--type", kind, "--sockets", "10"]
        subprocess.run([*load, *pages], check=True)
    sys.exit(deployment.stop())


main()
