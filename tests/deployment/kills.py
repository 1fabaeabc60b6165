#!/usr/bin/env python3
"""Kills each role with SIGKILL while people write to each other, and counts: accepted = applied + in the DLQ + still queued, and nothing twice.

Then the archive is read from S3, with the data team's SQL: every accepted message is in it.
"""

import asyncio
import itertools
import os
import pathlib
import random
import sys
import tempfile
from collections import Counter

from archive import download, ids_of
from client import Client, token_of, tokens
from deployment import Deployment, environment_of

PEOPLE = 8
ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))


async def write(client, others, said, stop):
    """Writes to the others in turn, one message after the other."""
    for n in itertools.count():
        if stop.is_set():
            return
        to = others[n % len(others)]
        text = f"{client.handle} {n}"
        reply = await client.call("dm.send", {"to": to, "text": text})
        if not reply["ok"]:
            client.wrong.append(f"refused: {reply}")
        said[(client.handle, to)].append(text)


async def kill_all(deployment):
    loop = asyncio.get_running_loop()
    for _ in range(ROUNDS):
        for role in deployment.roles():
            await asyncio.sleep(random.uniform(0.5, 1.5))
            print("kill -9", *role.args[:1], flush=True)
            await loop.run_in_executor(None, role.restart)


async def listed(client, other):
    """All messages between two, newest first."""
    texts, before = [], None
    while True:
        body = {"with": other, "limit": 100} | ({"before": before} if before else {})
        page = (await client.call("dm.list", body))["body"]
        texts += [(item["from"], item["text"]) for item in page["items"]]
        before = page.get("next")
        if not before:
            return texts


async def main():
    random.seed(int(os.environ.get("SEED", "1")))
    data = pathlib.Path(tempfile.mkdtemp()) / "data"
    environment = environment_of(data)
    deployment = Deployment(environment)
    names = [f"person{n}" for n in range(PEOPLE)]
    given = tokens(deployment.balancer.address, names)
    people = [Client(deployment.balancer.address, name, token_of(given[name])) for name in names]
    said, stop = {pair: [] for pair in itertools.permutations(names, 2)}, asyncio.Event()
    writers = [asyncio.create_task(write(c, [n for n in names if n != c.handle], said, stop)) for c in people]
    await kill_all(deployment)
    stop.set()
    await asyncio.wait_for(asyncio.gather(*writers), timeout=120)
    dead = await asyncio.get_running_loop().run_in_executor(None, deployment.settled)

    faults = [f"dead letters: {dead}"] if dead else []
    for one, other in itertools.combinations(people, 2):
        found = Counter(await asyncio.wait_for(listed(one, other.handle), timeout=60))
        wanted = Counter((a, text) for a, b in [(one.handle, other.handle), (other.handle, one.handle)] for text in said[(a, b)])
        if found != wanted:
            faults.append(f"{one.handle} and {other.handle}: missing {wanted - found}, too many {found - wanted}")
    for person in people:
        faults += [f"{person.handle}: {what}" for what in person.wrong]
        got = Counter(body["message"]["text"] for _, kind, body in person.pushes if kind == "dm.received")
        wanted = Counter(text for (_, to), texts in said.items() if to == person.handle for text in texts)
        if got != wanted:
            faults.append(f"{person.handle} was pushed too little {wanted - got} or too much {got - wanted}")
    accepted = {mid for person in people for mid in person.accepted}
    for person in people:
        await person.close()
    if code := deployment.stop():
        faults.append(f"a role ended with {code}")
    archived = ids_of(download(environment, data.parent / "archive"))
    if lost := accepted - archived:
        faults.append(f"{len(lost)} of {len(accepted)} accepted messages are not in the archive")
    count = sum(len(texts) for texts in said.values())
    print(f"{count} messages by {PEOPLE} people, {len(deployment.roles()) * ROUNDS} kills, {len(accepted)} accepted, {len(archived)} archived")
    for fault in faults:
        print("FAULT", fault)
    sys.exit(bool(faults))


asyncio.run(main())
