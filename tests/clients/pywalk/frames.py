"""Chapter: the upgrade, hello, and invalid frames."""

import json

import websockets

from .app import App, checked_error, is_time
from .report import check, same
from .server import Server


async def walk():
    async with Server(edges=2) as server:
        await upgrades(server)
        await hellos(server)
        await tokens(server)
        await bad_frames(server)
        await violations(server)
        with check("frames: every queue and dead letter queue is empty in the end"):
            await server.assert_drained()


async def upgrades(server):
    [token] = await server.tokens("una")
    with check("upgrade: the subprotocol is echoed when offered"):
        app = await App.connect(server, subprotocols=["else.v9", "soundoff.v1"])
        same(app.ws.subprotocol, "soundoff.v1")
        await app.ws.close()
    with check("upgrade: no subprotocol without an offer"):
        app = await App.connect(server, subprotocols=None)
        same(app.ws.subprotocol, None)
        await app.hello(token)
        await app.leave()
    with check("upgrade: a good bearer token, and hello needs none"):
        app = await App.connect(server, bearer=token)
        welcome = await app.hello()
        same(welcome["user"], "una")
        await app.leave()
    for name, bearer in [("a bad", "nonsense"), ("an altered", token[:-4] + "AAAA"), ("an empty", "")]:
        with check(f"upgrade: {name} bearer token is refused with 401 problem+json"):
            try:
                await App.connect(server, bearer=bearer)
                raise AssertionError("it was upgraded")
            except websockets.InvalidStatus as refusal:
                response = refusal.response
            same(response.status_code, 401)
            same(response.headers["Content-Type"].split(";")[0], "application/problem+json")
            problem = json.loads(response.body)
            same(problem["status"], 401)
            assert problem["title"], problem
    with check("upgrade: another path is a 404 with problem+json"):
        status, kind, problem = await server.post("/v1/nothing", {})
        assert 400 <= status < 500 and kind == "application/problem+json" and problem["status"] == status, problem
    with check("tokens: an invalid handle is refused with problem+json"):
        status, kind, problem = await server.post("/dev/tokens", {"handles": ["No Such"]})
        assert status == 400 and kind == "application/problem+json" and problem["title"], (status, kind, problem)


async def hellos(server):
    [token] = await server.tokens("una")
    with check("hello: welcome has all its fields"):
        app = await App.enter(server, token, device="one")
        welcome = app.welcome
        same(welcome["user"], "una")
        same(welcome["cursor"], 0)
        types = welcome["limits"].pop("types")
        same(welcome["limits"], {"frame_bytes": 32768, "messages_per_second": 100, "burst": 200})
        same(types["post.create"], {"cost": 4, "per_minute": 30, "per_day": 1000})
        same(types["timeline.fetch"], {"cost": 4})
        assert isinstance(welcome["session"], str) and welcome["session"], welcome
        assert isinstance(welcome["heartbeat_ms"], int) and welcome["heartbeat_ms"] > 0, welcome
        assert is_time(welcome["token_expires_at"]), welcome
    with check("ping: answered by pong"):
        await app.pong()
    with check("hello: a second one is a bad frame"):
        await app.frame({"op": "hello", "token": token})
        same(checked_error(await app.expect("error"))["code"], "bad_frame")
    with check("bye: closes 1000"):
        same(await app.leave(), 1000)
    with check("hello: unknown fields are ignored"):
        app = await App.connect(server)
        await app.frame({"op": "hello", "token": token, "colour": {"deep": [1, None]}, "device": None})
        same((await app.expect("welcome"))["user"], "una")
        await app.frame({"op": "ping", "n": 7})
        await app.expect("pong")
        await app.leave()
    for name, bad in [("nonsense", "nonsense"), ("an altered token", token[:-4] + "AAAA")]:
        with check(f"hello: {name} closes 4500"):
            app = await App.connect(server)
            await app.frame({"op": "hello", "token": bad})
            same(await app.close_code(), 4500)
    with check("hello: no token at all closes 4500"):
        app = await App.connect(server)
        await app.frame({"op": "hello"})
        same(await app.close_code(), 4500)
    with check("hello: anything else first closes 4007"):
        app = await App.connect(server)
        await app.frame({"op": "send", "id": "1", "type": "profile.get", "body": {}})
        same(await app.close_code(), 4007)


async def tokens(server):
    una, udo = await server.tokens("una", "udo")
    app = await App.enter(server, una)
    with check("auth: a fresh token of the same user is taken"):
        [fresh] = await server.tokens("una", expires_in=7200)
        await app.frame({"op": "auth", "token": fresh})
        assert is_time((await app.expect("auth_ok"))["token_expires_at"])
    with check("auth: a bad token is unauthorized, the socket lives"):
        await app.frame({"op": "auth", "token": "nonsense"})
        same(checked_error(await app.expect("error"))["code"], "unauthorized")
        await app.pong()
    with check("auth: another user's token is forbidden, the socket lives"):
        await app.frame({"op": "auth", "token": udo})
        same(checked_error(await app.expect("error"))["code"], "forbidden")
        await app.pong()
    await app.leave()
    with check("expiry: auth_due comes, then the socket closes 4005"):
        [brief] = await server.tokens("una", expires_in=4)
        app = await App.enter(server, brief)
        due = await app.expect("auth_due")
        assert 0 < due["expires_in_ms"] <= 4000, due
        same(await app.close_code(), 4005)
    with check("expiry: a token that has expired opens nothing"):
        app = await App.connect(server)
        await app.frame({"op": "hello", "token": brief})
        same(await app.close_code(), 4500)
    with check("expiry: auth in time keeps the socket"):
        [brief] = await server.tokens("una", expires_in=4)
        short, longer = await App.enter(server, brief), await App.enter(server, brief)
        await longer.expect("auth_due")
        await longer.frame({"op": "auth", "token": una})
        await longer.expect("auth_ok")
        same(await short.close_code(), 4005)
        await longer.pong()
        await longer.leave()
    with check("revocation: closes all of the user's sockets 4503 and nobody else's"):
        app, second, other = [await App.enter(server, token) for token in (una, una, udo)]
        await server.command("users", "revoke", "una")
        same([await app.close_code(), await second.close_code()], [4503, 4503])
        await other.pong()
        await other.leave()
    with check("revocation: the old token opens nothing any more"):
        app = await App.connect(server)
        await app.frame({"op": "hello", "token": una})
        same(await app.close_code(), 4503)


async def bad_frames(server):
    [token] = await server.tokens("vic")
    app = await App.enter(server, token)
    long = "i" * 65
    frames = {
        "not JSON": ("{", None),
        "a list": ("[]", None),
        "null": ("null", None),
        "no op": ("{}", None),
        "an unknown op": ('{"op":"fly","id":"7"}', "7"),
        "an op that is a number": ('{"op":7}', None),
        "send without id": ('{"op":"send","type":"profile.get","body":{}}', None),
        "send without type": ('{"op":"send","id":"7","body":{}}', "7"),
        "send without body": ('{"op":"send","id":"7","type":"profile.get"}', "7"),
        "an id of 65 characters": (json.dumps({"op": "send", "id": long, "type": "profile.get", "body": {}}), None),
        "an empty id": ('{"op":"send","id":"","type":"profile.get","body":{}}', None),
        "ack without cursor": ('{"op":"ack"}', None),
        "ack of a negative cursor": ('{"op":"ack","cursor":-1}', None),
        "auth without token": ('{"op":"auth"}', None),
    }
    for name, (text, id) in frames.items():
        with check(f"bad_frame: {name}"):
            await app.frame(text)
            refused = await app.expect("error")
            same(checked_error(refused)["code"], "bad_frame")
            same(refused.get("id"), id)
            await app.pong()
    with check("bad_frame: an id of 64 characters is fine"):
        await app.ok("profile.get", {}, id="ï" * 64)
    with check("unknown_type: a type that does not exist"):
        same(await app.refused("no.such", {}), "unknown_type")
    with check("unknown_type: a type that only the server itself sends"):
        same(await app.refused("post.fanout", {}), "unknown_type")
    with check("too long a device name is a bad frame"):
        other = await App.connect(server)
        await other.frame({"op": "hello", "token": token, "device": "d" * 65})
        same(checked_error(await other.expect("error"))["code"], "bad_frame")
        await other.hello(token, device="d" * 64)
        await other.leave()
    await app.leave()


async def violations(server):
    [token] = await server.tokens("wim")

    async def violate(name, act):
        with check(f"4501: {name}"):
            app = await App.enter(server, token)
            try:
                await act(app)
            except websockets.ConnectionClosed:
                pass
            same(await app.close_code(), 4501)

    async def ten(app):
        for _ in range(9):
            await app.frame("{")
        await app.pong()
        for _ in range(10):
            await app.frame("{")

    async def too_large(app):
        fits = {"op": "ping", "pad": ""}
        fits["pad"] = "x" * (32768 - len(json.dumps(fits)))
        await app.frame(fits)
        await app.expect("pong")
        fits["pad"] += "x"
        await app.frame(fits)
        same(checked_error(await app.expect("error"))["code"], "too_large")
        fits["pad"] = "x" * 8 * 32768
        await app.frame(fits)

    await violate("a binary frame", lambda app: app.frame(b"{}"))
    await violate("ten bad frames in a row, nine are not", ten)
    await violate("a frame over eight times 32 KiB, one over 32 KiB is too_large, and one of 32 KiB is neither", too_large)
    await violate("a reserved opcode", lambda app: raw(app, b"\x83\x80\0\0\0\0"))
    await violate("a frame without a mask", lambda app: raw(app, b'\x81\x0d{"op":"ping"}'))
    await violate("text that is not UTF-8", lambda app: raw(app, b"\x81\x82\0\0\0\0\xff\xfe"))


async def raw(app, wire):
    app.ws.transport.write(wire)


