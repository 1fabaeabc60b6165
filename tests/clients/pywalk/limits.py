"""Chapter: the server at its limits. Each limit is set low on a server of its own."""

import asyncio
import json
import re
import socket

from .app import WITHIN, App, brief, checked_error
from .report import check, same
from .server import Server


async def walk():
    await strict()
    await crowded()
    await small()
    await slow_reader()


async def strict():
    async with Server(hello_timeout_ms=600, heartbeat_ms=600, messages_per_second=100, burst=20, sockets_per_user=2) as server:
        jan, kim = await server.tokens("jan", "kim")
        with check("4007: no hello in time"):
            mute = await App.connect(server)
            same(await mute.close_code(), 4007)
        with check("4003: no frame for two heartbeats; a socket that pings stays"):
            lively = await App.enter(server, jan)
            lively.keep_beating()
            same(lively.welcome["heartbeat_ms"], 600)
            silent = await App.enter(server, kim)
            same(await silent.close_code(), 4003)
            await lively.pong()
        with check("4429: one socket too many; the earlier ones stay"):
            second = await App.enter(server, jan)
            second.keep_beating()
            third = await App.connect(server)
            await third.frame({"op": "hello", "token": jan})
            same(await third.close_code(), 4429)
            for app in (lively, second):
                await app.pong()
            same(await second.leave(), 1000)
        with check("rate_limited: says when to come back, and nothing was queued"):
            app = await App.enter(server, kim)
            same(app.welcome["limits"]["messages_per_second"], 100)
            quick = {f"quick-{n}": {"text": f"quick {n}"} for n in range(12)}
            for id, body in quick.items():
                await app.send("post.create", body, id=id)
            refused = await app.expect("error")
            error = checked_error(refused)
            same(error["code"], "rate_limited")
            assert error["retry_after_ms"] > 0, error
            assert refused["id"] in quick, refused
        with check("rate_limited: the same frames again, in time, take effect once each"):
            app.inbox.append(refused)
            await insist(app, "post.create", quick)
            look = {"look": {"limit": 100}}
            await app.send("post.list", look["look"], id="look")
            items = (await insist(app, "post.list", look))["look"]["items"]
            same(sorted(item["text"] for item in items), sorted(body["text"] for body in quick.values()))
        await app.leave()
        await lively.leave()
        with check("strict: every queue and dead letter queue is empty in the end"):
            await server.assert_drained()


async def insist(app, kind, bodies):
    """Awaits the replies to sent frames, {id: body}; sends refused ones again when the server says. Returns the bodies."""
    replies = {}
    async with asyncio.timeout(3 * WITHIN):
        while len(replies) < len(bodies):
            frame = await app.first(lambda f: f.get("id") in bodies and f["op"] in ("reply", "error"))
            if frame["op"] == "reply":
                assert frame["ok"] and "duplicate" not in frame and frame["id"] not in replies, brief(frame)
                replies[frame["id"]] = frame["body"]
                continue
            error = checked_error(frame)
            assert error["retry"], frame
            # The server says how long to wait; this is no guess at how long something takes.
            await asyncio.sleep((error.get("retry_after_ms") or 100) / 1000)
            await app.send(kind, bodies[frame["id"]], id=frame["id"])
    return replies


async def crowded():
    async with Server(max_sockets=2, max_receives=2, chaos="post.get=1") as server:
        lou, max_, nia = await server.tokens("lou", "max", "nia")
        with check("4418: an edge that is full sheds load and says for how long"):
            first, second = await App.enter(server, lou), await App.enter(server, max_)
            third = await App.connect(server)
            same(await third.close_code(), 4418)
            after = json.loads(third.ws.close_reason)["retry_after_ms"]
            assert isinstance(after, int) and after > 0, third.ws.close_reason
            await second.leave()
        with check("4418: with room again, the next one is let in"):
            async with asyncio.timeout(WITHIN):
                while True:
                    third = await App.connect(server)
                    await third.frame({"op": "hello", "token": nia})
                    try:
                        await third.expect("welcome")
                        break
                    except Exception:
                        same(third.ws.close_code, 4418)
            await third.leave()
        with check("internal: a message that keeps failing gets an error reply"):
            accepted, reply = await first.ask("post.get", {"post": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
            same(reply["ok"], False)
            same(checked_error(reply)["code"], "internal")
        with check("internal: the message is in the dead letter queue for operators to see"):
            names = [name for name in await server.queues() if re.sub("[^a-z]", "", name).startswith("postget")]
            [queue] = names
            queues = await server.assert_drained(dead={queue: 1})
            same(set(queues[queue]) >= {"queue", "visible", "in_flight", "oldest_age_ms", "dead"}, True)
            [letter] = (await server.command("dlq", "list", queue)).splitlines()
            shown = json.loads(await server.command("dlq", "show", queue, letter.split()[0]))
            assert accepted["mid"] in shown["body"], shown
        await first.leave()


async def small():
    async with Server(queue_bytes=262144, messages_per_second=100000, burst=100000, type_limits="off") as server:
        [oli, pia] = await server.tokens("oli", "pia")
        with check("overloaded: a full queue refuses, and takes the same frames later, once each"):
            app = await App.enter(server, oli)
            text = "🦉" * 3900
            bodies = {f"big-{n}": {"to": "pia", "text": f"{n} {text}"} for n in range(24)}
            await asyncio.gather(*[app.send("dm.send", body, id=id) for id, body in bodies.items()])
            refused = await app.expect("error")
            same(checked_error(refused)["code"], "overloaded")
            app.inbox.append(refused)
            await insist(app, "dm.send", bodies)
            items = (await app.ok("dm.list", {"with": "pia", "limit": 100}))["items"]
            same(sorted(item["text"] for item in items), sorted(body["text"] for body in bodies.values()))
            await app.leave()
        with check("small: every queue and dead letter queue is empty in the end"):
            await server.assert_drained()


async def slow_reader():
    async with Server(messages_per_second=100000, burst=100000, type_limits="off") as server:
        ron, sue = await server.tokens("ron", "sue")
        sender = await App.enter(server, sue)
        for n in range(12):
            await sender.ok("dm.send", {"to": "ron", "text": f"{n} " + "🐌" * 3900})
        with check("4002: a device that asks for much and does not read it is closed"):
            slow = await stubborn(server, ron)
            cursor = slow.welcome["cursor"]
            ids = [await slow.send("dm.list", {"with": "sue", "limit": 12}) for _ in range(60)]
            # A closing socket no longer counts as a device: once it is offline, the close frame can be read.
            while (await sender.ok("presence.get", {"users": ["ron"]}))["online"]:
                pass
            await sender.ok("dm.send", {"to": "ron", "text": "meanwhile"})
            slow.listen()
            same(await slow.close_code(), 4002)
        with check("4002: nothing durable is lost, and reads may be repeated"):
            again = await App.enter(server, ron, device="slow", cursor=cursor)
            same((await again.push("dm.received"))["body"]["message"]["text"], "meanwhile")
            _, reply = await again.ask("dm.list", {"with": "sue", "limit": 12}, id=ids[-1])
            same(len(reply["body"]["items"]), 12)
            await again.leave()
        await sender.leave()
        with check("slow: every queue and dead letter queue is empty in the end"):
            await server.assert_drained()


async def stubborn(server, token):
    """A device that stops reading after its welcome: the library reads a frame ahead and then leaves the rest to the kernel."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", int(re.search(r":(\d+)/", server.url)[1])))
    app = await App.connect(server, sock=narrow, max_queue=1)
    await app.hello(token, device="slow")
    await app.look_away()
    return app
