#!/usr/bin/env python3
"""Runs the product on what Terraform applied to a stand-in, each service with its own policy only, and sends messages.

    applied.py OUTPUTS.JSON     what `terraform output -json` says in examples/stand-in

Nothing is provisioned here. TEST_MINISTACK is where Terraform applied to; with AUTH=true it holds each service to its policy.
TEST_BINARY is a soundoff with the feature `aws`. APPLIED_MESSAGES (10000) and APPLIED_SECONDS (900) say how many and how long.
"""

import asyncio
import json
import os
import pathlib
import secrets
import sys
import tempfile
import time
from collections import Counter

from archive import download, ids_of
from client import Client, people_of
from deployment import Balancer, Deployment, Memcached, Role, free_port
from grants import denied, hold_to_policies
from talk import Refused, Talk

MESSAGES = int(os.environ.get("APPLIED_MESSAGES", "10000"))
SECONDS = int(os.environ.get("APPLIED_SECONDS", "900"))
PEOPLE = 12


class Applied(Deployment):
    """Every service that Terraform knows, one process each, started with its command and its policy."""

    def __init__(self, environment, commands, keys, logs):
        self.environment = environment
        self.memcached = Memcached(environment)
        internal = ("--internal-listen", "127.0.0.1:0")
        more = {"edge": ("--listen", "127.0.0.1:0"), "users": ("--listen", "127.0.0.1:0", "--dev")}
        self.by_name = {
            name: Role(environment | keys[name], *command, *more.get(name, ()), *internal, log=(logs / name).open("w"))
            for name, command in commands.items()
        }
        for role in self.roles():
            role.listening().ready()
        self.balancer = Balancer("127.0.0.1:0", [self.by_name["edge"]], self.by_name["users"])

    def roles(self):
        return list(self.by_name.values())


class Counting(Client):
    """A client that never resends, and keeps every reply."""

    RESEND = SECONDS

    def __init__(self, *args):
        self.replies = Counter()
        super().__init__(*args)

    def answer(self, frame):
        self.replies[frame["id"]] += 1
        if not frame["ok"]:
            self.wrong.append(f"not ok: {frame}")
        super().answer(frame)


def environment_of(outputs):
    """Terraform's settings, and those that only this machine knows."""
    ministack = os.environ["TEST_MINISTACK"]
    return outputs["environment"]["value"] | {
        "SOUNDOFF_SQS_ENDPOINT": ministack,
        "SOUNDOFF_DYNAMODB_ENDPOINT": ministack,
        "SOUNDOFF_FIREHOSE_ENDPOINT": ministack,
        "SOUNDOFF_S3_ENDPOINT": ministack,
        "SOUNDOFF_MEMCACHED": f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}",
        "SOUNDOFF_SECRET": os.environ.get("SOUNDOFF_SECRET", secrets.token_hex(32)),
        "SOUNDOFF_MESSAGES_PER_SECOND": "10000",
        "SOUNDOFF_BURST": "10000",
        "SOUNDOFF_TYPE_LIMITS": "off",
        "SOUNDOFF_TIMELINE_INTERVAL_MS": "5000",
        "SOUNDOFF_LOG": "warn,soundoff_aws=debug",
    }


async def progress(people, begun):
    before = 0
    while True:
        await asyncio.sleep(5)
        answered, open_calls = sum(p.replies.total() for p in people), sum(len(p.waiting) for p in people)
        at = time.monotonic() - begun
        print(f"  {at:4.0f} s: {answered} of {MESSAGES} answered, {open_calls} under way, {(answered - before) / 5:.0f}/s", flush=True)
        before = answered


async def send_all(deployment, people):
    """All people talk until all messages are sent."""
    talk = Talk(people, MESSAGES)
    begun = time.monotonic()
    telling = asyncio.create_task(progress(people, begun))
    try:
        async with asyncio.timeout(SECONDS):
            await talk.begin()
            await asyncio.gather(*(talk.keep_on(person) for person in people for _ in range(talk.side_by_side(person))))
            await talk.pictures_are_ready()
    except TimeoutError:
        missing = [name for person in people for name in person.waiting]
        print(f"not done within {SECONDS} s: {len(missing)} without a reply, such as {missing[:3]}")
    except Refused:
        print("given up: messages that others need were refused")
    finally:
        telling.cancel()
    return talk, time.monotonic() - begun


def faults_of(people, talk):
    """What a client must not see: no reply, two replies, a reply that is not ok, a push twice or missing."""
    faults = [f"{person.handle}: {what}" for person in people for what in person.wrong]
    for person in people:
        if person.waiting:
            faults.append(f"{person.handle}: {len(person.waiting)} without a reply")
        if twice := [name for name, count in person.replies.items() if count != 1]:
            faults.append(f"{person.handle}: {len(twice)} with more than one reply")
        if missing := person.count - len(set(person.accepted.values())):
            faults.append(f"{person.handle}: {missing} without an accepted")
    answered = sum(person.replies.total() for person in people)
    if answered != MESSAGES:
        faults.append(f"{answered} replies to {MESSAGES} messages")
    if untried := set(talk.known_types()) - set(talk.sent):
        faults.append(f"never sent: {sorted(untried)}")
    return faults


async def main():
    outputs = json.loads(pathlib.Path(sys.argv[1]).read_text())
    directory = pathlib.Path(tempfile.mkdtemp())
    environment = environment_of(outputs)
    policies = outputs["policies"]["value"]
    keys = hold_to_policies(policies, outputs["environment"]["value"]["SOUNDOFF_MEDIA_BUCKET"])
    deployment = Applied(environment, outputs["commands"]["value"], keys, directory)
    print(f"{len(deployment.roles())} processes run on what Terraform made: {', '.join(deployment.by_name)}", flush=True)
    run = secrets.token_hex(3)
    names = [f"person_{run}_{n}" for n in range(PEOPLE)]
    people = people_of(deployment.balancer.address, names, Counting)
    talk, took = await send_all(deployment, people)
    print(f"{MESSAGES} messages in {took:.0f} s: {MESSAGES / took:.0f}/s; {dict(talk.sent)}", flush=True)
    dead = await asyncio.to_thread(deployment.settled)
    faults = faults_of(people, talk)
    faults += [f"dead letters: {dead}"] if dead else []
    accepted = {mid for person in people for mid in person.accepted}
    for person in people:
        await person.close()
    if code := deployment.stop():
        faults.append(f"a process ended with {code}")
    faults += denied(directory)
    begun = time.monotonic()
    archive = environment | {"SOUNDOFF_ARCHIVE_BUCKET": outputs["archive_bucket"]["value"]}
    archived = ids_of(download(archive, directory / "archive"))
    print(f"{len(accepted)} accepted, {len(archived)} archived (read in {time.monotonic() - begun:.0f} s)")
    if lost := accepted - archived:
        faults.append(f"{len(lost)} of {len(accepted)} accepted messages are not in the archive")
    for fault in faults[:50]:
        print("FAULT", fault)
    print(f"{len(faults)} faults")
    sys.exit(bool(faults))


asyncio.run(main())
