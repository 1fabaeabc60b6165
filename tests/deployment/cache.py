#!/usr/bin/env python3
"""Takes memcached nodes away under load.

All of them (flushed, restarted, cut off): measures when pushes are live again. No socket is reconnected for it. After a
flush every edge asserts its sockets again within a third of the registrations' life (60 s), so 20 s is the bound, and a
little for the message itself.

One of two (stopped, frozen), and edges that know of one node less than the rest: every call has its reply, and pushes
stay live.

Nothing durable must be lost.
"""

import asyncio
import itertools
import os
import pathlib
import signal
import sys
import tempfile
import time

from client import people_of
from deployment import Deployment, environment_of, free_port

PAIRS = 4
BOUND = 23
# Who only asks beside them, every two seconds: MiniStack takes little.
ASKING = 12
ASKS_EVERY = 2
# How long a reply may take, and a push that is live, in seconds.
SOON = 5
LIVE = 8  # Seconds until pushes are live again: a node that is back is asked after a pause of up to 4.4 s.
# How long one node of two is away, in seconds.
AWAY = float(os.environ.get("CACHE_AWAY", "10"))


async def talk(writer, reader, sent, refused):
    """Writes steadily, waiting for no reply; notes when what was sent."""

    async def say(text):
        reply = await writer.call("dm.send", {"to": reader.handle, "text": text})
        if not reply["ok"]:
            refused.append(f"{text}: {reply}")

    calls = set()
    try:
        for n in itertools.count():
            text = f"{writer.handle} {n}"
            sent[text] = time.monotonic()
            calls.add(asyncio.create_task(say(text)))
            await asyncio.sleep(0.25)
    except asyncio.CancelledError:
        await asyncio.wait(calls, timeout=60)
        refused += ["without a reply"] * sum(not call.done() for call in calls)


async def recovery(readers, sent, begun):
    """Seconds until every reader has had a push of what was sent after everything came back."""
    waiting = dict(zip(readers, sent))
    while time.monotonic() - begun < 90:
        live = [r for r, texts in waiting.items() if r.pushes and texts.get(r.pushes[-1][2]["message"]["text"], 0) > begun]
        for reader in live:
            del waiting[reader]
        if not waiting:
            return time.monotonic() - begun
        await asyncio.sleep(0.02)
    raise SystemExit("pushes do not come live any more")


class Asking:
    """People who ask for their profile now and then."""

    def __init__(self, people):
        self.people, self.asked = people, []

    async def begin(self):
        self.task = asyncio.create_task(self.ask())

    async def one(self, person):
        begun = time.monotonic()
        await person.call("profile.get", {})
        return time.monotonic() - begun

    async def ask(self):
        while True:
            self.asked += [(p, time.monotonic(), asyncio.create_task(self.one(p))) for p in self.people]
            await asyncio.sleep(ASKS_EVERY)

    async def of(self, what, since):
        """Those who asked since then and had no reply soon; waits until it is clear."""
        until = time.monotonic()
        await asyncio.sleep(SOON)
        asked = [(p, task) for p, at, task in self.asked if since <= at < until]
        late = [p for p, task in asked if not task.done() or task.result() > SOON]
        dark = {p.handle for p in late}
        print(f"{what}: {len(late)} of {len(asked)} calls without a reply within {SOON} s, {len(dark)} of {len(self.people)} people", flush=True)
        return [f"{what}: {len(late)} calls without a reply"] * bool(late)


async def one_of_two(memcached, asking, readers, sent):
    """One node of two is stopped, and frozen; returns what went wrong."""
    faults = await asking.of("both nodes there", time.monotonic() - SOON)

    async def away(what, leave, come):
        leave()
        gone = time.monotonic()
        live = await recovery(readers, sent, gone)
        await asyncio.sleep(max(0, AWAY - (time.monotonic() - gone)))
        found = await asking.of(f"one of two nodes {what}", gone)
        come()
        back = time.monotonic()
        again = await recovery(readers, sent, back)
        found += await asking.of(f"the node that was {what} is back", back)
        print(f"one node {what}: live pushes after {live:.1f} s, and {again:.1f} s after it was back", flush=True)
        return found + [f"one node {what}: pushes were not live for {t:.1f} s" for t in (live, again) if t > LIVE]

    faults += await away("stopped", lambda: memcached.kill(0), lambda: memcached.start(0))
    # What it lost, the edges put again within a third of a registration's life.
    await asyncio.sleep(BOUND)
    node = memcached.nodes[1]
    faults += await away("frozen", lambda: node.send_signal(signal.SIGSTOP), lambda: node.send_signal(signal.SIGCONT))
    return faults


async def two_lists():
    """The edges know of two nodes, all others of a third; returns what went wrong."""
    environment = environment_of(pathlib.Path(tempfile.mkdtemp()) / "data")
    two = environment["SOUNDOFF_MEMCACHED"]
    environment["SOUNDOFF_MEMCACHED"] = f"{two},127.0.0.1:{free_port()}"

    def around(process, environment):
        return {**environment, "SOUNDOFF_MEMCACHED": two} if process.startswith("edge") else environment

    deployment = Deployment(environment, around=around)
    people = people_of(deployment.balancer.address, [f"roll{n:02}" for n in range(36)])

    async def soon(call):
        return (await asyncio.wait([asyncio.ensure_future(call)], timeout=8))[1] == set()

    answered = [await asyncio.gather(*(soon(p.call("profile.get", {})) for p in people)) for _ in range(2)]
    dark = [r.count(False) for r in answered]
    writer, readers = people[0], people[1:]
    for reader in readers:
        reader.pushes.clear()
    told = await asyncio.gather(*(soon(writer.call("dm.send", {"to": r.handle, "text": "hi"})) for r in readers))
    begun = time.monotonic()
    while time.monotonic() - begun < SOON and not all(r.pushes for r in readers):
        await asyncio.sleep(0.05)
    unlived = sum(not r.pushes for r in readers)
    print(f"two lists of nodes: {dark} of {len(people)} people without a reply, {unlived} of {len(readers)} pushes not live", flush=True)
    for person in people:
        await person.close()
    deployment.stop()
    return [f"two lists of nodes: {dark}, {told.count(False)}, {unlived}"] if any((*dark, told.count(False), unlived)) else []


async def main():
    faults = await two_lists()
    data = pathlib.Path(tempfile.mkdtemp()) / "data"
    deployment = Deployment(environment_of(data))
    memcached = deployment.memcached
    names = [f"person{n}" for n in range(2 * PAIRS)]
    people = people_of(deployment.balancer.address, names)
    pairs = list(zip(people[::2], people[1::2]))
    readers = people[1::2]
    sent, refused = [{} for _ in pairs], []
    talking = [asyncio.create_task(talk(*pair, texts, refused)) for pair, texts in zip(pairs, sent)]
    await recovery(readers, sent, time.monotonic())
    asking = Asking(people_of(deployment.balancer.address, [f"asks{n:02}" for n in range(ASKING)]))
    await asking.begin()
    await asyncio.sleep(SOON)
    faults += await one_of_two(memcached, asking, readers, sent)
    asking.task.cancel()

    async def cut_off():
        memcached.signal(signal.SIGSTOP)
        await asyncio.sleep(5)
        memcached.signal(signal.SIGCONT)

    async def flush():
        memcached.flush()

    async def restart():
        await asyncio.get_running_loop().run_in_executor(None, memcached.restart)

    for what, act in {"flushed": flush, "restarted": restart, "cut off for 5 s": cut_off}.items():
        await act()
        took = await recovery(readers, sent, time.monotonic())
        print(f"{what}: every reader has live pushes again after {took:.1f} s", flush=True)
        if took > BOUND:
            faults.append(f"{what}: {took:.1f} s is over {BOUND}")
    for task in talking:
        task.cancel()
    await asyncio.wait(talking)
    for (writer, reader), texts in zip(pairs, sent):
        begun = time.monotonic()
        while time.monotonic() - begun < 30 and len(reader.pushes) < len(texts):
            await asyncio.sleep(0.05)
        got = [body["message"]["text"] for _, kind, body in reader.pushes if kind == "dm.received"]
        if sorted(got) != sorted(texts):
            faults.append(f"{reader.handle} got {len(got)} of {len(texts)}, {len(set(got))} different")
        faults += [f"{person.handle}: {fault}" for person in (writer, reader) for fault in person.wrong]
    faults += refused
    for person in people + asking.people:
        await person.close()
    deployment.stop()
    print(f"{sum(map(len, sent))} messages, {len(faults)} faults")
    for fault in faults:
        print("FAULT", fault)
    sys.exit(bool(faults))


asyncio.run(main())
