"""An app on one device: what a developer would write over the `websockets` package."""

import asyncio
import json
import re
import uuid

import websockets

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
WITHIN = 20


def is_ulid(text):
    return bool(ULID.fullmatch(text))


def is_time(text):
    return bool(TIME.fullmatch(text))


def brief(value):
    text = str(value)
    return text if len(text) < 500 else text[:500] + "…"


class Closed(Exception):
    """The server closed while something was awaited."""


class App:
    """One websocket. Frames wait in `inbox` until a check takes them out; `log` keeps all."""

    def __init__(self, ws):
        self.ws = ws
        self.inbox = []
        self.log = []
        self.arrival = asyncio.Condition()
        self.ended = False
        self.reader = asyncio.create_task(self._read())
        self.beat = None

    @classmethod
    async def connect(cls, server, *, bearer=None, **options):
        """The upgrade alone."""
        options.setdefault("subprotocols", ["soundoff.v1"])
        headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else None
        ws = await websockets.connect(
            server.url, additional_headers=headers, ping_interval=None, compression=None, max_size=2**22, open_timeout=WITHIN,
            proxy=None, **options
        )
        return cls(ws)

    @classmethod
    async def enter(cls, server, token, *, device=None, cursor=None, **options):
        """The upgrade, hello and welcome."""
        app = await cls.connect(server, **options)
        await app.hello(token, device=device, cursor=cursor)
        return app

    async def hello(self, token=None, **fields):
        frame = {"op": "hello", "token": token} | fields
        await self.frame({name: value for name, value in frame.items() if value is not None})
        self.welcome = await self.expect("welcome")
        self.user = self.welcome["user"]
        return self.welcome

    def keep_beating(self):
        """Pings as the protocol says, for servers with a short heartbeat."""

        async def beat():
            while True:
                await self.frame({"op": "ping"})
                await asyncio.sleep(self.welcome["heartbeat_ms"] / 1000 * 0.7)

        self.beat = asyncio.create_task(beat())

    async def _read(self):
        try:
            async for text in self.ws:
                assert isinstance(text, str), "a binary frame"
                frame = json.loads(text)
                async with self.arrival:
                    self.log.append(frame)
                    self.inbox.append(frame)
                    self.arrival.notify_all()
        except websockets.ConnectionClosed:
            pass
        finally:
            async with self.arrival:
                self.ended = True
                self.arrival.notify_all()

    async def look_away(self):
        """Stops reading, like an app that hangs."""
        self.reader.cancel()
        await asyncio.wait([self.reader])

    def listen(self):
        """Reads on."""
        self.ended = False
        self.reader = asyncio.create_task(self._read())

    async def frame(self, frame):
        await self.ws.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame, ensure_ascii=False))

    async def first(self, fits, *, within=WITHIN, what="such frame"):
        """Takes out the first frame that fits."""
        try:
            async with asyncio.timeout(within), self.arrival:
                while True:
                    for frame in self.inbox:
                        if fits(frame):
                            self.inbox.remove(frame)
                            return frame
                    if self.ended:
                        raise Closed(f"closed {self.ws.close_code} {self.ws.close_reason!r} instead of {what}")
                    await self.arrival.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} within {within} s; there is {brief(self.inbox[-5:])}") from None

    async def expect(self, op, *, within=WITHIN, **fields):
        """Takes out the first frame of this op with these fields."""
        def fits(frame):
            return frame["op"] == op and all(frame.get(name) == value for name, value in fields.items())

        return await self.first(fits, within=within, what=f"{op} {fields}")

    async def send(self, kind, body, *, id=None):
        id = id or uuid.uuid4().hex
        await self.frame({"op": "send", "id": id, "type": kind, "body": body})
        return id

    async def ask(self, kind, body, *, id=None):
        """Sends, and awaits the accepted frame and the reply frame."""
        id = await self.send(kind, body, id=id)
        # A reply may overtake its accepted.
        reply = await self.expect("reply", id=id)
        accepted = await self.expect("accepted", id=id)
        assert is_ulid(accepted["mid"]), accepted
        assert isinstance(reply["ok"], bool) and reply["ok"] == ("error" not in reply), reply
        assert reply["ok"] == ("body" in reply), reply
        return accepted, reply

    async def ok(self, kind, body, *, id=None):
        """The body of a good reply."""
        _, reply = await self.ask(kind, body, id=id)
        assert reply["ok"], f"{kind} {brief(body)} is refused: {reply}"
        return reply["body"]

    async def refused(self, kind, body):
        """The code of a bad reply or of an error frame."""
        id = await self.send(kind, body)
        frame = await self.first(lambda f: f.get("id") == id and f["op"] in ("reply", "error"))
        assert "error" in frame, f"{kind} {brief(body)} is taken: {brief(frame)}"
        return checked_error(frame)["code"]

    async def push(self, kind, **fields):
        frame = await self.expect("push", type=kind, **fields)
        assert is_ulid(frame["mid"]) and isinstance(frame["seq"], int), frame
        return frame

    async def event(self, kind):
        frame = await self.expect("event", type=kind)
        assert "seq" not in frame, frame
        return frame["body"]

    async def pong(self):
        """A round trip to the edge."""
        await self.frame({"op": "ping"})
        await self.expect("pong")

    def pushes(self):
        """All pushes ever seen on this socket: (seq, type)."""
        return [(frame["seq"], frame["type"]) for frame in self.log if frame["op"] == "push"]

    async def close_code(self, within=WITHIN):
        """Waits for the server to close; returns the code."""
        await asyncio.wait_for(asyncio.shield(self.reader), within)
        self._stop_beating()
        return self.ws.close_code

    async def leave(self):
        self._stop_beating()
        if not self.ended:
            await self.frame({"op": "bye"})
        return await self.close_code()

    def vanish(self):
        """Cuts the connection without a close frame."""
        self._stop_beating()
        self.ws.transport.abort()

    def _stop_beating(self):
        if self.beat:
            self.beat.cancel()


def checked_error(frame):
    """An error object of the documented form."""
    error = frame["error"]
    assert isinstance(error["code"], str) and isinstance(error["message"], str) and error["message"], frame
    assert error["retry"] is (error["code"] in ("rate_limited", "overloaded")), frame
    after = error.get("retry_after_ms")
    assert after is None or (isinstance(after, int) and after >= 0), frame
    return error
