#!/usr/bin/env python3
"""Takes the memcached nodes away under load (flushed, restarted, cut off) and measures when pushes are live
again; nothing durable must be lost.

No socket is reconnected for it. After a flush every edge asserts its sockets again within a third of the
registrations' life (60 s), so 20 s is the bound, and a little for the message itself.
"""

import asyncio
import itertools
import pathlib
import signal
import sys
import tempfile
import time

from client import people_of
from deployment import Deployment, environment_of

PAIRS = 4
BOUND = 23


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


async def main():
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
    faults = []

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
    for person in people:
        await person.close()
    deployment.stop()
    print(f"{sum(map(len, sent))} messages, {len(faults)} faults")
    for fault in faults:
        print("FAULT", fault)
    sys.exit(bool(faults))


asyncio.run(main())
