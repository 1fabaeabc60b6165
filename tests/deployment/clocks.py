#!/usr/bin/env python3
"""Two edges of a deployment whose clocks are wrong: what is answered is so, in the order in which it was answered.

A person's two devices, each on an edge of its own, take turns to block, follow and like somebody, and to take that
back. Every reply says what was asked for, or, right after a clock was set, what holds instead; and that is what the
other person sees. First the clocks are CLOCKS_APART seconds apart (25 by default, and 30 is the bound), then an edge is
killed and started again with the other sign, and then one clock is set two hours off: that edge says so, and takes no
new sockets.
"""

import asyncio
import os
import pathlib
import random
import tempfile
import time
import urllib.error
import urllib.request

from client import Client, tokens
from deployment import Deployment, environment_of

APART = int(os.environ.get("CLOCKS_APART", "25"))
TURNS = int(os.environ.get("CLOCKS_TURNS", "18"))
LIBRARIES = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
# Seconds after which edges agree on a time again: they compare it every two.
AGREED = 8
# Seconds between what two devices say: times that agree are equal to some ten milliseconds.
PAUSE = 0.3
# What is turned on and off, and what its replies call it.
TOGGLES = [("follow", "user", "following"), ("block", "user", "blocked"), ("like", "post", "liked")]


class Walls:
    """The wall clocks of the edges, each a file that libfaketime reads."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp())

    def set(self, process, seconds):
        new = self.directory / "new"
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.directory / process.replace(" ", "-"))

    def around(self, process, environment):
        if not process.startswith("edge"):
            return environment
        self.set(process, 0)
        return {
            **environment,
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self.directory / process.replace(" ", "-")),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


class Phone(Client):
    DEVICE = "phone"


def unready(role):
    """What /readyz says against the process; nothing when it is ready."""
    try:
        urllib.request.urlopen(f"http://{role.internal}/readyz?own", timeout=5).read()
        return ""
    except urllib.error.HTTPError as answer:
        return answer.read().decode().strip()


async def until(what, is_so, patience=60):
    begun = time.monotonic()
    while not await asyncio.to_thread(is_so):
        if time.monotonic() - begun > patience:
            raise SystemExit(f"never so: {what}")
        await asyncio.sleep(0.2)


async def turn(device, noun, of, says, on, subjects):
    """Turns one thing on or off; returns the reply, and what it says the state is."""
    call = device.call(f"{noun}.{'add' if on else 'remove'}", {of: subjects[of]})
    reply = await asyncio.wait_for(call, 60)
    return reply, reply.get("body", {}).get(says)


async def at_once(devices, bob, subjects, faults, when):
    """Turns right after a clock was set: an edge may not know yet, and then a turn may come to nothing. But what the last
    reply says is so."""
    for noun, of, says in TOGGLES[:1] + TOGGLES[2:]:
        told = None
        for n in range(4):
            reply, told = await turn(devices[n % 2], noun, of, says, n % 2 == 0, subjects)
            if not reply["ok"]:
                faults.append(f"{when}, at once: {noun} was answered {reply}")
        if (found := (await seen(bob, subjects))[says]) != told:
            faults.append(f"{when}, at once: {noun} was answered {told} and is {found}")


async def take_turns(devices, bob, subjects, faults, when):
    """The devices turn things on and off in turn; every reply says what was asked for."""
    wanted = {}
    for n in range(TURNS):
        noun, of, says = TOGGLES[n // 2 % len(TOGGLES)]
        wanted[says] = not wanted.get(says, False)
        await asyncio.sleep(PAUSE)
        reply, told = await turn(devices[n % 2], noun, of, says, wanted[says], subjects)
        if told != wanted[says]:
            faults.append(f"{when}: {noun} {wanted[says]} was answered {reply}")
    await asyncio.sleep(PAUSE)
    for noun, of, says in TOGGLES:
        _, told = await turn(random.choice(devices), noun, of, says, False, subjects)
        if told:
            faults.append(f"{when}: {noun} does not end")
    found = await seen(bob, subjects)
    if any(found.values()):
        faults.append(f"{when}: at the end {found}")
    for device in devices:
        text = f"{when} {device.DEVICE}"
        await device.call("dm.send", {"to": "bob", "text": text})
        await until(f"{when}: {text!r} arrives", lambda: any(b.get("message", {}).get("text") == text for _, _, b in bob.pushes), 20)
    texts = [b["message"]["text"] for _, kind, b in bob.pushes if kind == "dm.received"]
    listed = [message["text"] for message in (await bob.call("dm.list", {"with": "ann"}))["body"]["items"]]
    if listed != texts[::-1][: len(listed)]:
        faults.append(f"{when}: the list says {listed}, the pushes {texts}")


async def seen(bob, subjects):
    """What the other person sees."""
    likes = (await bob.call("post.get", {"post": subjects["post"]}))["body"]["post"]["likes"]
    followers = (await bob.call("follow.list", {"direction": "followers"}))["body"]["items"]
    return {"liked": likes == 1, "following": followers == ["ann"]}


async def main():
    random.seed(1)
    if not LIBRARIES:
        print("SKIPPED: clocks that are wrong; needs Debian's faketime")
        return
    walls, faults = Walls(), []
    deployment = Deployment(environment_of(pathlib.Path(tempfile.mkdtemp()) / "data"), around=walls.around)
    edges = deployment.edges
    given = tokens(deployment.balancer.address, ["ann", "bob"])
    ann = [Client(edges[0].public, "ann", given["ann"]), Phone(edges[1].public, "ann", given["ann"])]
    # Ids are of a person, not of a device.
    ann[1].count = 1_000_000
    bob = Client(deployment.balancer.address, "bob", given["bob"])
    post = (await bob.call("post.create", {"text": "like me"}))["body"]["post"]["id"]
    subjects = {"user": "bob", "post": post}

    async def check(when):
        await at_once(ann, bob, subjects, faults, when)
        await asyncio.sleep(AGREED)
        await take_turns(ann, bob, subjects, faults, when)
        print(f"{when}: {len(faults)} faults so far", flush=True)

    await check("right")
    walls.set("edge 1", APART)
    await check(f"{APART} s apart")
    await until("both are ready", lambda: not any(map(unready, edges)))
    walls.set("edge 1", -APART)
    edges[1].restart().ready()
    ann[1].address = edges[1].public
    await until("the phone is back", lambda: ann[1].socket)
    await check(f"{-APART} s, over a restart")
    walls.set("edge 1", 7_200)
    await until("the wrong clock is noticed", lambda: "the clock is" in unready(edges[1]))
    if unready(edges[0]):
        faults.append(f"the edge whose clock is right says {unready(edges[0])!r}")
    await check("2 h apart")
    walls.set("edge 1", 0)
    await until("it is ready again", lambda: not unready(edges[1]))
    await check("right again")
    for person in (*ann, bob):
        faults += [f"{person.handle}: {what}" for what in person.wrong]
        await person.close()
    if dead := await asyncio.to_thread(deployment.settled):
        faults.append(f"dead letters: {dead}")
    deployment.end(faults)


asyncio.run(main())
