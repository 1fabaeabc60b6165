"""Gates between processes and engines: each process has its own to each engine, so that an engine can go away for all of
them, and what each process asks of it meanwhile can be counted.
"""

import asyncio
import socket
import struct
import threading

# The variable that names each engine's address, and whether it holds several.
ENGINES = {
    "sqs": "SOUNDOFF_SQS_ENDPOINT",
    "dynamodb": "SOUNDOFF_DYNAMODB_ENDPOINT",
    "memcached": "SOUNDOFF_MEMCACHED",
    "firehose": "SOUNDOFF_FIREHOSE_ENDPOINT",
    "s3": "SOUNDOFF_S3_ENDPOINT",
}


class Gate:
    """One process's way to one engine: `open`, `gone` (connections are cut and refused) or `frozen` (they hang)."""

    def __init__(self, engine, process, target, loop):
        self.engine, self.process, self.target, self.loop = engine, process, target, loop
        self.state, self.asked, self.connections = "open", 0, set()
        self.opened = asyncio.Event()
        self.opened.set()

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=256)
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    def turn(self, state):
        self.state = state
        if state == "open":
            self.opened.set()
            return
        self.opened.clear()
        self.asked = 0
        if state == "gone":
            for writer in list(self.connections):
                cut(writer)

    async def serve(self, reader, writer):
        if self.state == "gone":
            self.asked += 1
            return cut(writer)
        self.connections.add(writer)
        upstream = None
        try:
            host, port = self.target.rsplit(":", 1)
            upstream_reader, upstream = await asyncio.open_connection(host, int(port))
            self.connections.add(upstream)
            back = asyncio.create_task(self.pipe(upstream_reader, writer, False))
            await self.pipe(reader, upstream, True)
            await back
        except OSError:
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self.connections.discard(end)
                    end.close()

    async def pipe(self, reader, writer, asks):
        try:
            while data := await reader.read(65536):
                # A request in two pieces counts twice: this is an upper bound.
                self.asked += asks and self.state == "frozen"
                await self.opened.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            cut(writer)


def cut(writer):
    """Resets a connection, as a machine does that has no such process any more."""
    end = writer.get_extra_info("socket")
    if end is not None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Gates:
    """All gates of a deployment, on a thread of their own."""

    def __init__(self):
        self.loop, self.gates = asyncio.new_event_loop(), []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def on_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def around(self, process, environment):
        """The environment of a process that reaches every engine through a gate of its own."""
        changed = dict(environment)
        for engine, name in ENGINES.items():
            gated = [self.gate(engine, process, address) for address in environment[name].split(",")]
            changed[name] = ",".join(gated)
        return changed

    def gate(self, engine, process, address):
        scheme = "http://" if address.startswith("http://") else ""
        gate = Gate(engine, process, address.removeprefix(scheme), self.loop)
        self.on_loop(gate.listen())
        self.gates.append(gate)
        return scheme + gate.address

    def turn(self, engine, state):
        async def turn():
            for gate in self.gates:
                if gate.engine == engine:
                    gate.turn(state)

        self.on_loop(turn())

    def asked(self, engine):
        """How often each process asked an engine since it went away, most first."""
        counts = {}
        for gate in self.gates:
            if gate.engine == engine:
                counts[gate.process] = counts.get(gate.process, 0) + gate.asked
        return sorted(counts.items(), key=lambda item: -item[1])
