"""The real binary, started for one chapter of the walk and stopped at its end."""

import asyncio
import json
import os
import pathlib
import re
import signal
import tempfile
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("UNDER_TEST", str(ROOT / "target/debug/soundoff"))
# The server refuses a variable SOUNDOFF_… that is no setting.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("SOUNDOFF_")}
READY_WITHIN = 30
DRAINED_WITHIN = 30


class Server:
    """`soundoff up` on a free port with a data directory of its own. Flags are given by name: heartbeat_ms=500."""

    def __init__(self, **flags):
        self.flags = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]

    async def __aenter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="soundoff-walk-")
        self.data = f"{self.directory.name}/data"
        self.errors = open(f"{self.directory.name}/stderr", "w+", encoding="utf-8")
        await self.start()
        return self

    async def start(self):
        """Starts the binary, also again after it has stopped, on the same data."""
        self.process = await asyncio.create_subprocess_exec(
            BINARY, "up", "--listen", "127.0.0.1:0", "--data", self.data, *self.flags,
            stdout=asyncio.subprocess.PIPE, stderr=self.errors, env=ENVIRONMENT,
        )
        try:
            async with asyncio.timeout(READY_WITHIN):
                self.url = await self._ready()
        except BaseException:
            self.kill()
            raise
        self.http = re.sub(r"^ws(://[^/]+).*", r"http\1", self.url)
        self.rest = asyncio.create_task(self.process.stdout.read())

    async def _ready(self):
        while line := (await self.process.stdout.readline()).decode():
            if found := re.search(r"ws://127\.0\.0\.1:\d+/v1/ws", line):
                return found[0]
        raise AssertionError(f"the server ended before it was ready: {self.complaints()}")

    async def __aexit__(self, kind, error, trace):
        self.kill()
        await self.process.wait()
        self.rest.cancel()
        self.errors.close()
        self.directory.cleanup()

    def complaints(self):
        """The end of what the server wrote to stderr."""
        self.errors.seek(0)
        return self.errors.read()[-2000:]

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self):
        return await asyncio.wait_for(self.process.wait(), 30)

    async def command(self, *arguments):
        """Runs an operator's command on this server's data directory; returns its stdout."""
        process = await asyncio.create_subprocess_exec(
            BINARY, *arguments, "--data", self.data, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=ENVIRONMENT,
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, f"{arguments} exits {process.returncode}: {err.decode()}"
        return out.decode()

    async def queues(self):
        return {queue["queue"]: queue for queue in json.loads(await self.command("queues", "--json"))}

    async def assert_drained(self, dead=None):
        """All queues are empty, and all dead letters but those expected: {queue: count}."""
        dead = dead or {}
        async with asyncio.timeout(DRAINED_WITHIN):
            while True:
                queues = await self.queues()
                busy = {n: q for n, q in queues.items() if q["visible"] or q["in_flight"] or q["dead"] != dead.get(n, 0)}
                if not busy:
                    return queues
                wrong = [n for n in busy if queues[n]["dead"] > dead.get(n, 0)]
                assert not wrong, f"unexpected dead letters: {busy}"

    async def post(self, path, body):
        """POST of JSON: status, content type, body."""
        return await asyncio.to_thread(self._post, path, body)

    def _post(self, path, body):
        request = urllib.request.Request(self.http + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers.get_content_type(), json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers.get_content_type(), json.load(refusal)

    async def tokens(self, *handles, expires_in=None):
        body = {"handles": list(handles)}
        if expires_in is not None:
            body["expires_in"] = expires_in
        status, _, answer = await self.post("/dev/tokens", body)
        assert status == 200, f"{status} {answer}"
        return [answer["tokens"][handle] for handle in handles]
