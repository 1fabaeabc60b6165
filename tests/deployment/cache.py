#!/usr/bin/env python3
"""Takes the memcached nodes away under load (flushed, restarted, cut off) and measures when pushes are live again; nothing durable may be lost.

A push is live when it arrives without its reader reconnecting. After a flush every edge asserts its sockets anew within a third of the
registrations' life (60 s), so 20 s and a little jitter is the bound.
"""

import asyncio
import itertools
import pathlib
import signal
import sys
import tempfile
import time

from client import Client, token_of, tokens
from deployment import Deployment, environment_of

PAIRS = 4
BOUND = 26


async def talk(writer, reader, said, seen):
    """Writes all the time; notes how long each push takes to arrive. What is not live arrives in order with the next that is."""
    for n in itertools.count():
        text = f"{writer.handle} {n}"
        begun = time.monotonic()
        reply = await writer.call("dm.send", {"to": reader.handle, "text": text})
        if not reply["ok"]:
            writer.wrong.append(f"refused: {reply}")
        said.append(text)
        while time.monotonic() - begun < 1:
            if reader.pushes and reader.pushes[-1][2]["message"]["text"] == text:
                seen.append(time.monotonic())
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)


async def recovery(seen, begun):
    """Seconds until every reader has had a live push that was sent after everything came back."""
    while time.monotonic() - begun < 60:
        if all(times and times[-1] > begun for times in seen):
            return max(next(at for at in times if at > begun) for times in seen) - begun
        await asyncio.sleep(0.05)
    raise SystemExit("pushes do not come live any more")


async def main():
    data = pathlib.Path(tempfile.mkdtemp()) / "data"
    deployment = Deployment(environment_of(data))
    memcached = deployment.memcached
    names = [f"person{n}" for n in range(2 * PAIRS)]
    given = tokens(deployment.balancer.address, names)
    people = [Client(deployment.balancer.address, name, token_of(given[name])) for name in names]
    pairs = list(zip(people[::2], people[1::2]))
    said, seen = [[] for _ in pairs], [[] for _ in pairs]
    talking = [asyncio.create_task(talk(*pair, *notes)) for pair, *notes in zip(pairs, said, seen)]
    await recovery(seen, time.monotonic())
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
        took = await recovery(seen, time.monotonic())
        print(f"{what}: every reader has live pushes again after {took:.1f} s", flush=True)
        if took > BOUND:
            faults.append(f"{what}: {took:.1f} s is over {BOUND}")
    for task in talking:
        task.cancel()
    # Whatever was not live is in the inbox: a socket that comes anew reads it.
    for person in people:
        if person.socket:
            await person.socket.close()
    for (writer, reader), texts in zip(pairs, said):
        begun = time.monotonic()
        while time.monotonic() - begun < 30 and len(reader.pushes) < len(texts):
            await asyncio.sleep(0.05)
        got = [body["message"]["text"] for _, kind, body in reader.pushes if kind == "dm.received"]
        # The last one may have been sent without its reply being waited for.
        if got[: len(texts)] != texts or len(got) > len(texts) + 1:
            faults.append(f"{reader.handle} got {len(got)} of {len(texts)}, or not in order")
        faults += [f"{person.handle}: {fault}" for person in (writer, reader) for fault in person.wrong]
    for person in people:
        await person.close()
    deployment.stop()
    print(f"{sum(map(len, said))} messages")
    for fault in faults:
        print("FAULT", fault)
    sys.exit(bool(faults))


asyncio.run(main())
