#!/usr/bin/env python3
"""An operator's view of a deployment: everybody sees plots; dead letters and depths need the key."""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from client import people_of
from deployment import BINARY, PATIENCE, Deployment, environment_of

QUEUE = "post_get_q"
DEPTH = 'soundoff_queue_dead{queue="%s"}' % QUEUE
faults = []


def expect(what, good):
    print("ok   " if good else "FAULT", what, flush=True)
    if not good:
        faults.append(what)


def ask(role, path, body=None, key=None):
    """Status and answer of a role's internal port."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    data = json.dumps(body).encode() if body is not None else None
    try:
        answer = urllib.request.urlopen(urllib.request.Request(f"http://{role.internal}{path}", data, headers), timeout=30)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    text = answer.read()
    return answer.status, json.loads(text) if "json" in answer.headers["content-type"] else text.decode()


def until(what, is_so):
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > PATIENCE:
            return expect(what, False)
        time.sleep(0.2)
    expect(what, True)


def commands_key(environment):
    output = subprocess.run([BINARY, "ops-key"], env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return output.stdout.strip()


async def poison(deployment):
    """One message that always fails."""
    [ann] = people_of(deployment.balancer.address, ["ann"])
    reply = await ann.call("post.get", {"post": "01JD0000000000000000000000"})
    expect("a poisoned message's sender gets an error", reply.get("error", {}).get("code") == "internal")
    await ann.close()


def look(deployment, key):
    worker, other = deployment.workers
    listed = {"queue": QUEUE}
    for role, parts in [(worker, ["queues"]), (deployment.edges[0], ["edge"]), (deployment.users, ["users"]),
                        (deployment.timeline, ["queues", "timelines"])]:
        status, page = ask(role, "/ops")
        expect(f"{role.args[0]} has the page", status == 200 and "operations" in page)
        expect(f"{role.args[0]} says what it does", ask(role, "/ops/data")[1]["parts"] == parts)
    for wrong in [None, "00" * 32, key[:-2], "é"]:
        code = ask(worker, "/ops/letters", listed, wrong and wrong.encode().decode("latin-1"))[0]
        expect(f"letters are closed to the key {wrong and wrong[:4]}", code == 401)
    expect("no process asks how full the queues are", DEPTH not in worker.metrics())

    ask(worker, "/ops/data", key=key)
    until("with the key one does", lambda: f"{DEPTH} 1" in worker.metrics())
    expect("only the one that the operator looks at", DEPTH not in other.metrics())
    status, answer = ask(other, "/ops/letters", listed, key)
    letter = answer["letters"][0] if status == 200 and answer["letters"] else {}
    expect("any worker lists the letter", (letter.get("type"), letter.get("from"), letter.get("attempts")) == ("post.get", "ann", 1))
    expect("the users' process has no such queue", ask(deployment.users, "/ops/letters", listed, key)[0] == 404)
    _, body = ask(other, "/ops/letter", listed | {"key": letter["key"]}, key)
    expect("its body is there on demand", "01JD0000000000000000000000" in body["body"])
    expect("it goes back", ask(worker, "/ops/redrive", listed | {"limit": 5}, key) == (200, {"moved": 1}))
    begun = letter["last_at"]
    until("still poison, it is dead again", lambda: any(
        letter["last_at"] > begun for letter in ask(worker, "/ops/letters", listed, key)[1]["letters"]))


async def main():
    data = pathlib.Path(tempfile.mkdtemp()) / "data"
    environment = environment_of(data)
    deployment = Deployment(environment | {"SOUNDOFF_CHAOS": "post.get=1", "SOUNDOFF_MAX_RECEIVES": "1"})
    await poison(deployment)
    look(deployment, commands_key(environment))
    deployment.stop()
    sys.exit(bool(faults))


asyncio.run(main())
