#!/usr/bin/env python3
"""All sockets come back in one moment, and the cache is empty: the tables are asked no faster than the edges may, and
everybody is served.

Both edges of a deployment and both cache nodes are killed and started again. Every client comes back at once, obeying
4418 as docs/protocol.md says. In each second the edges ask DynamoDB at most as often as the hellos that they may take
(SOUNDOFF_HELLOS_PER_SECOND) need, and what a quiet edge asks.
"""

import asyncio
import json
import os
import pathlib
import random
import re
import tempfile
import time

from client import tokens
from deployment import Deployment, environment_of
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

SOCKETS = int(os.environ.get("STORM_SOCKETS", "600"))
# Hellos that each edge takes in a second.
HELLOS = int(os.environ.get("STORM_HELLOS", "20"))
# Requests to DynamoDB for a hello at most: account, inbox, cursor (what is asked together is one request).
READS = 3
# Requests in a second that are no hello's: the gate, the clock, the keys of tokens.
QUIET = 12
PATIENCE = 180


class Phone:
    """Comes back until it is welcome; counts how often it tried."""

    def __init__(self, deployment, name, token):
        self.deployment, self.name, self.token = deployment, name, token
        self.welcome, self.tries, self.refused = asyncio.Event(), 0, 0
        self.task = asyncio.create_task(self.live())

    async def live(self):
        wait, backoff = 0.0, 0.5
        while True:
            await asyncio.sleep(wait)
            wait, backoff = random.uniform(0, backoff), min(2 * backoff, 30)
            self.tries += 1
            try:
                async with connect(f"ws://{self.deployment.balancer.address}/v1/ws", open_timeout=20) as socket:
                    await socket.send(json.dumps({"op": "hello", "token": self.token, "device": self.name}))
                    async for text in socket:
                        if json.loads(text)["op"] == "welcome":
                            self.welcome.set()
                            backoff = 0.5
            except ConnectionClosed as closed:
                if closed.rcvd and closed.rcvd.code == 4418:
                    self.refused += 1
                    wait = json.loads(closed.rcvd.reason)["retry_after_ms"] / 1000
            except (OSError, InvalidHandshake, InvalidMessage, TimeoutError, EOFError):
                pass
            self.welcome.clear()


def asked(deployment):
    """Requests of the edges to DynamoDB since they started."""
    text = "".join(edge.metrics() for edge in deployment.edges)
    lines = re.findall(r'^soundoff_aws_requests_total\{[^}]*service="dynamodb"[^}]*\} ([\d.e+]+)$', text, re.M)
    return sum(map(float, lines))


async def each_second(deployment, rates):
    """Notes how often the edges ask in each second."""
    before, at = asked(deployment), time.monotonic()
    while True:
        await asyncio.sleep(1)
        now, then = await asyncio.to_thread(asked, deployment), at
        at = time.monotonic()
        rates.append((now - before) / (at - then))
        before = now


async def all_welcome(phones, what):
    begun = time.monotonic()
    waiting = asyncio.gather(*(phone.welcome.wait() for phone in phones))
    try:
        await asyncio.wait_for(waiting, PATIENCE)
    except TimeoutError:
        missing = sum(not phone.welcome.is_set() for phone in phones)
        raise SystemExit(f"{what}: {missing} of {len(phones)} are not served after {PATIENCE} s") from None
    return time.monotonic() - begun


async def main():
    faults = []
    environment = environment_of(pathlib.Path(tempfile.mkdtemp()) / "data")
    deployment = Deployment(environment | {"SOUNDOFF_HELLOS_PER_SECOND": str(HELLOS)})
    handles = [f"user{n}" for n in range(SOCKETS // 2)]
    given = tokens(deployment.balancer.address, handles)
    phones = [Phone(deployment, device, given[handle]) for handle in handles for device in ("phone", "laptop")]
    took = await all_welcome(phones, "at first")
    print(f"{len(phones)} sockets are welcome after {took:.1f} s", flush=True)
    for phone in phones:
        phone.tries = phone.refused = 0
    for edge in deployment.edges:
        edge.kill()
    await asyncio.to_thread(deployment.memcached.restart)
    while any(phone.welcome.is_set() for phone in phones):
        await asyncio.sleep(0.05)
    for edge in deployment.edges:
        edge.start()
    for edge in deployment.edges:
        await asyncio.to_thread(lambda edge=edge: edge.listening().ready())
    rates = []
    noting = asyncio.create_task(each_second(deployment, rates))
    took = await all_welcome(phones, "after the storm")
    noting.cancel()
    bound = len(deployment.edges) * (HELLOS * READS * 1.2 + QUIET)
    tries = sum(phone.tries for phone in phones) / len(phones)
    refused = sum(phone.refused for phone in phones)
    print(f"all are back after {took:.1f} s, {tries:.1f} tries each, {refused} times told to come later")
    print(f"requests of the edges to DynamoDB in each second: {[round(rate) for rate in rates]}; at most {bound:.0f} may be")
    if max(rates, default=0) > bound:
        faults.append(f"the edges asked {max(rates):.0f} times in a second")
    if not rates or sum(rates) < len(phones):
        faults.append("the requests were not seen")
    for phone in phones:
        phone.task.cancel()
    deployment.end(faults)


asyncio.run(main())
