#!/usr/bin/env python3
"""Kills `soundoff up` with SIGKILL while people write to each other, then reads its archive with
the data team's SQL: every accepted message is in it, once.

UNDER_TEST names the binary; without it the workspace's debug build is taken.
"""

import asyncio
import os
import pathlib
import random
import shutil
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "clients"), str(TESTS / "deployment")]

from letters import Letters
from pywalk.server import Server

KILLS = int(os.environ.get("KILL_ROUNDS", "3"))


async def kill(server, letters):
    """Ends the process and starts a new one on its data; clients look for it at its new address."""
    server.kill()
    await server.process.wait()
    await server.start()
    for person in letters.people:
        person.address = address(server)


def address(server):
    return server.http.removeprefix("http://")


def deliver_again(archive):
    """Copies a file, as an at-least-once archive may."""
    file = next(path for path in sorted(archive.glob("events/**/*.gz")))
    shutil.copy(file, file.with_name(f"again-{file.name}"))


async def main():
    random.seed(int(os.environ.get("SEED", "1")))
    async with Server() as server:
        letters = Letters(address(server))
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0.5, 1.5))
            print("kill -9", flush=True)
            await kill(server, letters)
        await asyncio.sleep(random.uniform(0.5, 1.5))
        await letters.stop()
        await server.assert_drained()
        faults = await letters.faults()
        await letters.close()
        server.terminate()
        if code := await server.exit_code():
            faults.append(f"the process ended with {code}: {server.complaints()}")
        archive = pathlib.Path(server.data) / "archive"
        deliver_again(archive)
        faults += letters.archived(archive)
    for fault in faults:
        print("FAULT", fault)
    sys.exit(bool(faults))


asyncio.run(main())
