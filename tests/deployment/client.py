"""A client like an app's: it resends unanswered messages, goes on at its cursor, and reconnects when a socket ends."""

import asyncio
import json
import random
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage


def tokens(address, handles):
    body = json.dumps({"handles": handles}).encode()
    answer = urllib.request.urlopen(f"http://{address}/dev/tokens", body, timeout=30)
    return json.load(answer)["tokens"]


class Client:
    RESEND = 10  # Seconds without an answer.
    DEVICE = "d"

    def __init__(self, address, handle, token):
        self.address, self.handle, self.token = address, handle, token
        self.cursor, self.count = 0, 0
        self.waiting = {}  # id -> (frame, future)
        self.accepted = {}  # mid -> id, as received
        self.pushes = []  # (seq, type, body), each once
        self.wrong = []  # what no client must see
        self.socket, self.ended = None, False
        self.pushed = asyncio.Event()
        self.task = asyncio.create_task(self.live())

    async def live(self):
        while not self.ended:
            try:
                headers = {"Authorization": f"Bearer {self.token}"}
                async with connect(f"ws://{self.address}/v1/ws", additional_headers=headers, open_timeout=10) as socket:
                    await socket.send(json.dumps({"op": "hello", "device": self.DEVICE, "cursor": self.cursor}))
                    await self.hear(socket)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if 4500 <= code < 5000:
                    self.wrong.append(f"closed for good: {code}")
                    return
            except (OSError, InvalidHandshake, InvalidMessage, TimeoutError, EOFError):
                pass
            self.socket = None
            await asyncio.sleep(random.uniform(0.05, 0.5))

    async def hear(self, socket):
        async for text in socket:
            frame = json.loads(text)
            match frame["op"]:
                case "welcome":
                    self.socket = socket
                    for waiting, _ in list(self.waiting.values()):
                        await socket.send(waiting)
                case "accepted":
                    self.accepted[frame["mid"]] = frame["id"]
                case "reply":
                    self.answer(frame)
                case "error":
                    await self.refused(frame)
                case "push":
                    await self.take(socket, frame)

    def answer(self, frame):
        if found := self.waiting.pop(frame["id"], None):
            found[1].set_result(frame)

    async def refused(self, frame):
        if frame.get("id") and frame["error"]["code"] in ("overloaded", "rate_limited"):
            # What was resent may be refused when the first is long answered.
            await asyncio.sleep(frame["error"].get("retry_after_ms", 500) / 1000)
            if self.socket and frame["id"] in self.waiting:
                await self.socket.send(self.waiting[frame["id"]][0])
        else:
            self.wrong.append(f"an error: {frame}")

    async def take(self, socket, push):
        if push["seq"] <= self.cursor:
            return  # Again, as after a reconnect: known.
        if push["seq"] != self.cursor + 1:
            self.wrong.append(f"a gap from {self.cursor} to {push['seq']}")
        self.cursor = push["seq"]
        self.pushes.append((push["seq"], push["type"], push["body"]))
        self.pushed.set()
        await socket.send(json.dumps({"op": "ack", "cursor": self.cursor}))

    async def call(self, message_type, body):
        """Sends until there is an answer, across reconnects; returns the reply."""
        self.count += 1
        name = f"{self.handle}-{self.count}"
        frame = json.dumps({"op": "send", "id": name, "type": message_type, "body": body})
        future = asyncio.get_running_loop().create_future()
        self.waiting[name] = (frame, future)
        while not future.done():
            if self.socket:
                try:
                    await self.socket.send(frame)
                except ConnectionClosed:
                    pass
            # Resent now and then: an id never takes effect twice.
            await asyncio.wait([future], timeout=self.RESEND)
        return future.result()

    async def close(self):
        self.ended = True
        if self.socket:
            await self.socket.close()
        self.task.cancel()


def people_of(address, handles, kind=Client):
    """A client for each."""
    given = tokens(address, handles)
    return [kind(address, handle, given[handle]) for handle in handles]
