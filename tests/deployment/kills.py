#!/usr/bin/env python3
"""Kills each role with SIGKILL while people write to each other, and counts:
accepted = applied + in the DLQ + still queued, and nothing twice.

Then the archive is read from S3, with the data team's SQL: every accepted message is in it.
"""

import asyncio
import os
import pathlib
import random
import sys
import tempfile

from archive import download
from deployment import Deployment, environment_of
from letters import Letters

ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))


async def kill_all(deployment):
    loop = asyncio.get_running_loop()
    for _ in range(ROUNDS):
        for role in deployment.roles():
            await asyncio.sleep(random.uniform(0.5, 1.5))
            print("kill -9", *role.args[:1], flush=True)
            await loop.run_in_executor(None, role.restart)


async def main():
    random.seed(int(os.environ.get("SEED", "1")))
    data = pathlib.Path(tempfile.mkdtemp()) / "data"
    environment = environment_of(data)
    deployment = Deployment(environment)
    letters = Letters(deployment.balancer.address)
    await kill_all(deployment)
    await letters.stop()
    dead = await asyncio.get_running_loop().run_in_executor(None, deployment.settled)

    faults = [f"dead letters: {dead}"] if dead else []
    faults += await letters.faults()
    await letters.close()
    if code := deployment.stop():
        faults.append(f"a role ended with {code}")
    faults += letters.archived(download(environment, data.parent / "archive"))
    for fault in faults:
        print("FAULT", fault)
    sys.exit(bool(faults))


asyncio.run(main())
