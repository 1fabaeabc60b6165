#!/usr/bin/env python3
"""Puts pictures straight into a deployment's bucket, by the URLs of media.begin; checks results and leftovers.

The bucket's own notifications bring them in (MiniStack sends them, as S3 does): nothing here speaks of an upload to the deployment.
"""

import asyncio
import http.client
import json
import os
import pathlib
import signal
import tempfile
import time
import urllib.parse

import boto3
from client import people_of
from deployment import Deployment, environment_of
from picture import png

KILLS = int(os.environ.get("MEDIA_KILLS", "2"))
PATIENCE = 60


def ask(method, url, body=b""):
    """Status and body of one request to a URL."""
    answer, read = exchange(method, url, body)
    return answer.status, read


def exchange(method, url, body=b""):
    """The answer to one request to a URL, and its body."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, parts._replace(scheme="", netloc="").geturl(), body)
    answer = connection.getresponse()
    return answer, answer.read()


async def until(what, is_so):
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > PATIENCE:
            raise SystemExit(f"this does not happen: {what}")
        await asyncio.sleep(0.05)


class Bench:
    def __init__(self, environment, deployment, client):
        self.deployment, self.client = deployment, client
        self.endpoint, self.bucket = environment["SOUNDOFF_S3_ENDPOINT"], environment["SOUNDOFF_MEDIA_BUCKET"]
        self.s3 = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1")

    async def begin(self, count):
        reply = await self.client.call("media.begin", {"bytes": count})
        assert reply["ok"], reply
        medium, upload = reply["body"]["media"], reply["body"]["upload"]
        assert upload["method"] == "PUT"
        assert upload["url"].startswith(f"{self.endpoint}/{self.bucket}/media/{medium}.raw?"), upload["url"]
        return medium, upload["url"]

    def objects(self, medium):
        """The endings of a medium's objects."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"media/{medium}.").get("Contents", [])
        return sorted(entry["Key"].rsplit(".", 1)[1] for entry in listed)

    def pushes(self, medium):
        """The pushes about a medium: type and body."""
        named = [(kind, body, body.get("media", body)["id"]) for _, kind, body in self.client.pushes if kind.startswith("media.")]
        return [(kind, body) for kind, body, of in named if of == medium]

    async def outcome(self, medium):
        await until(f"a push of {medium}", lambda: self.pushes(medium))
        return self.pushes(medium)[0]


async def shown(bench):
    """Begun, put, ready, posted, shown; and a second PUT is deleted."""
    picture = png(1500)
    medium, url = await bench.begin(len(picture))
    for wrong in (picture[:-1], picture + b"\0"):
        assert ask("PUT", url, wrong)[0] == 403, "another length"
    assert bench.objects(medium) == []
    address = f"http://{bench.deployment.balancer.address}/v1/media/{medium}"
    assert ask("GET", address)[0] == 404
    assert ask("PUT", url, picture)[0] == 200
    kind, body = await bench.outcome(medium)
    assert (kind, body["media"]["width"]) == ("media.ready", 1500), (kind, body)
    assert exchange("GET", address)[0].getheader("cache-control") == "private, no-cache", "no post shows it yet"
    reply = await bench.client.call("post.create", {"text": "look", "media": [medium]})
    assert reply["ok"] and reply["body"]["post"]["media"][0]["id"] == medium, reply
    answer, bytes_shown = exchange("GET", address)
    status, kept = answer.status, answer.getheader("cache-control")
    assert (status, kept) == (200, "public, max-age=3600") and len(bytes_shown) == body["media"]["bytes"]
    await until("no raw object", lambda: bench.objects(medium) == ["feed", "full", "thumb"])
    assert ask("PUT", url, png(1500)[::-1])[0] == 200, "the URL is still valid for S3"
    await until("no raw object after a late PUT", lambda: "raw" not in bench.objects(medium))
    await asyncio.to_thread(bench.deployment.settled, PATIENCE)
    assert bench.objects(medium) == ["feed", "full", "thumb"] and ask("GET", address) == (200, bytes_shown)
    assert len(bench.pushes(medium)) == 1, bench.pushes(medium)


async def refused(bench):
    """A file that is no picture fails, and nothing of it stays."""
    page = b"<!doctype html><script>alert(1)</script>"
    medium, url = await bench.begin(len(page))
    assert ask("PUT", url, page)[0] == 200
    kind, body = await bench.outcome(medium)
    assert kind == "media.failed" and body["reason"], (kind, body)
    await until("nothing of it", lambda: bench.objects(medium) == [])
    assert ask("PUT", url, page)[0] == 200
    await until("nothing of it after a late PUT", lambda: bench.objects(medium) == [])


async def posted(bench):
    """POST /v1/media: the bucket reports the service's own upload as well, and it is checked once."""
    connection = http.client.HTTPConnection(bench.deployment.balancer.address, timeout=30)
    connection.request("POST", "/v1/media", png(300), {"authorization": f"Bearer {bench.client.token}"})
    answer = connection.getresponse()
    assert answer.status == 201, answer.status
    medium = json.load(answer)["media"]["id"]
    assert (await bench.outcome(medium))[0] == "media.ready"
    await asyncio.to_thread(bench.deployment.settled, PATIENCE)
    assert len(bench.pushes(medium)) == 1 and bench.objects(medium) == ["feed", "full", "thumb"]


async def killed(bench):
    """Workers die between PUT and push, several times; each medium is ready exactly once."""
    media, in_time = [], 0
    for number in range(KILLS):
        picture = png(200 + number)
        medium, url = await bench.begin(len(picture))
        media.append(medium)
        # A reply comes before its message is deleted. A worker that is stopped in between leaves the message to be
        # received again, and to more kills than it has attempts; these kills are for what follows the PUT.
        await asyncio.to_thread(bench.deployment.settled, PATIENCE)
        # No worker runs while the picture comes in, so the next one that starts finds it waiting.
        workers = bench.deployment.workers
        for role in workers:
            role.process.send_signal(signal.SIGSTOP)
        assert (await asyncio.to_thread(ask, "PUT", url, picture))[0] == 200
        # The first kill comes before they could do anything, the others a few milliseconds later each: between the
        # steps.
        if number:
            for role in workers:
                role.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.02 * number)
        in_time += not bench.pushes(medium)
        for role in workers:
            await asyncio.to_thread(role.restart)
        kind, body = await bench.outcome(medium)
        assert (kind, body["media"]["width"]) == ("media.ready", 200 + number), (kind, body)
    assert in_time, "every kill came too late"
    await asyncio.to_thread(bench.deployment.settled, PATIENCE)
    for medium in media:
        assert len(bench.pushes(medium)) == 1, bench.pushes(medium)
        assert bench.objects(medium) == ["feed", "full", "thumb"]


async def main():
    data = pathlib.Path(tempfile.mkdtemp()) / "data"
    environment = environment_of(data)
    deployment = Deployment(environment)
    [alice] = people_of(deployment.balancer.address, ["alice"])
    bench = Bench(environment, deployment, alice)
    for test in (shown, refused, posted, killed):
        begun = time.monotonic()
        await asyncio.wait_for(test(bench), timeout=240)
        print(f"{(test.__doc__ or posted.__doc__).strip()} {time.monotonic() - begun:.1f} s", flush=True)
    faults = list(bench.client.wrong)
    if dead := await asyncio.to_thread(bench.deployment.settled, PATIENCE):
        faults.append(f"dead letters: {dead}")
    await bench.client.close()
    deployment.end(faults)


asyncio.run(main())
