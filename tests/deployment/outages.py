#!/usr/bin/env python3
"""Takes each engine away under load, gone and frozen, and brings it back: nothing is buried, doubled or answered
falsely, the first effect comes soon after, and the dead engine is asked now and then only.

OUTAGE_SECONDS says how long (6 by default, 60 in ./test --long); OUTAGES names some of them: "sqs gone,s3 frozen".
"""

import asyncio
import itertools
import json
import os
import pathlib
import random
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter

from client import Client, people_of
from deployment import Deployment, environment_of
from gates import ENGINES, Gates
from picture import png

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "6"))
WANTED = os.environ.get("OUTAGES") or ",".join(f"{engine} {how}" for how in ("gone", "frozen") for engine in ENGINES)
PEOPLE = 6
PAINTERS = 8  # Of whom each may upload 100 pictures that are in no post.
EVERY = 1.0  # Seconds between two messages of a person.
SETTLES = 3  # Seconds between two outages.
BACK = 5  # Seconds until the first effect after an engine is back.
ASKED = 50  # The most calls a minute that each process makes to an engine that is away.
ENGINES_NAMES = {"sqs": "queues", "dynamodb": "tables", "firehose": "archive", "s3": "blobs"}


class Witness(Client):
    """Remembers every reply, and when the first came after a moment."""

    RESEND = 15

    def __init__(self, *args):
        self.replies, self.first_ok, self.waits = {}, None, []
        super().__init__(*args)

    def answer(self, frame):
        self.replies.setdefault(frame["id"], []).append(frame)
        if frame["ok"]:
            self.first_ok = self.first_ok or time.monotonic()
        super().answer(frame)

    async def refused(self, frame):
        # Beside what comes meanwhile: many messages may be refused at once.
        self.waits.append(asyncio.create_task(super().refused(frame)))


class Load:
    """People who write to each other at a steady pace, whatever comes back, and some who upload pictures in turn."""

    def __init__(self, address):
        self.address = address
        names = [f"person{n}" for n in range(PEOPLE)]
        everybody = people_of(address, [*names, *(f"painter{n}" for n in range(PAINTERS))], Witness)
        self.writers, self.painters = everybody[:PEOPLE], everybody[PEOPLE:]
        self.said, self.calls, self.media, self.refused_uploads = Counter(), [], [], Counter()
        self.tasks = [asyncio.create_task(self.write(n)) for n in range(PEOPLE)]
        self.tasks.append(asyncio.create_task(self.paint()))

    async def write(self, n):
        me = self.writers[n]
        count = 0
        while True:
            to = self.writers[(n + 1 + count % (PEOPLE - 1)) % PEOPLE]
            text = f"{me.handle} {count}"
            self.said[(to.handle, text)] += 1
            self.calls.append(asyncio.create_task(me.call("dm.send", {"to": to.handle, "text": text})))
            count += 1
            await asyncio.sleep(EVERY * random.uniform(0.5, 1.5))

    async def paint(self):
        for painter in itertools.cycle(self.painters):
            try:
                self.media.append(await asyncio.to_thread(self.upload, painter))
            except urllib.error.HTTPError as refused:
                self.refused_uploads[json.load(refused)["detail"]] += 1
            except OSError as error:
                self.refused_uploads[str(error)] += 1
            await asyncio.sleep(2)

    def upload(self, painter):
        request = urllib.request.Request(
            f"http://{self.address}/v1/media", png(40), {"authorization": f"Bearer {painter.token}"}
        )
        return json.load(urllib.request.urlopen(request, timeout=20))["media"]["id"]

    async def stop(self):
        """Stops to send; returns what has no reply after a while."""
        for task in self.tasks:
            task.cancel()
        _, pending = await asyncio.wait(self.calls, timeout=180)
        return len(pending)

    async def faults(self):
        faults = []
        for person in (*self.writers, *self.painters):
            faults += [f"{person.handle}: {what}" for what in person.wrong]
            for name, replies in person.replies.items():
                if not all(reply["ok"] for reply in replies):
                    faults.append(f"{name} was answered {[reply.get('error', 'ok') for reply in replies]}")
        begun = time.monotonic()
        wanted = Counter(self.said)
        while time.monotonic() - begun < 60:
            got = Counter((p.handle, body["message"]["text"]) for p in self.writers for _, kind, body in p.pushes if kind == "dm.received")
            ready = [(body.get("media") or body)["id"] for p in self.painters for _, kind, body in p.pushes if kind == "media.ready"]
            if got == wanted and set(self.media) <= set(ready):
                break
            await asyncio.sleep(0.2)
        if got != wanted:
            faults.append(f"pushes: {sum((wanted - got).values())} missing, {sum((got - wanted).values())} too many")
        # An upload whose check was queued, although the queue's answer was lost, is refused and becomes ready.
        strange = len(set(ready) - set(self.media)) - self.refused_uploads.total()
        if not set(self.media) <= set(ready) or len(ready) != len(set(ready)) or strange > 0:
            faults.append(f"of {len(self.media)} pictures {len(ready)} are ready, {len(set(ready))} different")
        return faults


def oks(load):
    return sum(len(person.replies) for person in load.writers)


async def until(is_so, patience):
    begun = time.monotonic()
    while not is_so() and time.monotonic() - begun < patience:
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


def said_to_be_away(deployment):
    """The engines that /readyz of any process names."""
    named = set()
    for role in deployment.roles():
        try:
            urllib.request.urlopen(f"http://{role.internal}/readyz", timeout=5).read()
        except urllib.error.HTTPError as answer:
            named |= {line.split(":")[0] for line in answer.read().decode().splitlines()}
        urllib.request.urlopen(f"http://{role.internal}/healthz", timeout=5).read()
    return named


# How many seconds longer than its time an outage lasts at most, until some process has noticed it.
PATIENCE = 10


async def outage(gates, deployment, load, engine, how):
    """One engine away for a while; returns a row of the table, and faults."""
    faults = []
    # What the outage before left behind would ask more at once than this load does.
    await until(lambda: all(person.socket for person in load.writers), 30)
    await asyncio.sleep(SETTLES)
    before = oks(load)
    gates.turn(engine, how)
    begun = time.monotonic()
    await asyncio.sleep(SECONDS * 0.75)
    meanwhile = oks(load) - before
    named = await asyncio.to_thread(said_to_be_away, deployment)
    # One that hangs is noticed when its calls have hung for some seconds.
    name = ENGINES_NAMES.get(engine) if how == "gone" or SECONDS > 30 else None
    # It is known by calls that fail, and a busy machine makes few of them.
    while name and name not in named and time.monotonic() - begun < SECONDS + PATIENCE:
        await asyncio.sleep(0.2)
        named = await asyncio.to_thread(said_to_be_away, deployment)
    if name and name not in named:
        faults.append(f"no /readyz says that the {name} are away: {named}")
    await asyncio.sleep(max(0, SECONDS - (time.monotonic() - begun)))
    asked = gates.asked(engine)
    lasted = time.monotonic() - begun
    for person in load.writers:
        person.first_ok = None
    gates.turn(engine, "open")
    back = time.monotonic()
    await until(lambda: any(person.first_ok for person in load.writers), 60)
    first = min((p.first_ok for p in load.writers if p.first_ok), default=back + 60) - back
    if first > BACK:
        faults.append(f"the first effect came {first:.1f} s after the engine was back")
    process, most = asked[0]
    allowed = ASKED * max(1, lasted / 60)
    if most > allowed:
        faults.append(f"{process} asked {most} times in {lasted:.0f} s")
    caught_up = await until(lambda: all(call.done() for call in load.calls[: len(load.calls) - 4 * PEOPLE]), 120)
    print(
        f"| {engine} {how} | {lasted:.0f} s | {meanwhile} | {first:.1f} s | {caught_up:.1f} s | {most} ({process}) |", flush=True
    )
    return [f"{engine} {how}: {fault}" for fault in faults]


async def main():
    random.seed(1)
    data = pathlib.Path(tempfile.mkdtemp()) / "data"
    gates = Gates()
    deployment = Deployment(environment_of(data), around=gates.around)
    load = Load(deployment.balancer.address)
    await until(lambda: oks(load) > 2 * PEOPLE, 60)
    print("| away | for | replies meanwhile | first effect | caught up | asked at most |\n|---|---|---|---|---|---|", flush=True)
    faults = []
    for wanted in WANTED.split(","):
        faults += await outage(gates, deployment, load, *wanted.split())
    if unanswered := await load.stop():
        faults.append(f"{unanswered} messages have no reply")
    if dead := await asyncio.to_thread(deployment.settled):
        faults.append(f"dead letters: {dead}")
    faults += await load.faults()
    print(f"{len(load.calls)} messages, {len(load.media)} pictures, {len(faults)} faults; uploads refused: {dict(load.refused_uploads)}")
    for person in (*load.writers, *load.painters):
        await person.close()
    deployment.end(faults)


asyncio.run(main())
