"""A deployment of Sound Off on this machine: every role a process of its own, on stand-ins for AWS and real memcached.

Needs TEST_MINISTACK and TEST_DYNAMODB_LOCAL (tests/standins/with), and TEST_BINARY: a soundoff with the feature `aws`.
"""

import ctypes
import itertools
import json
import os
import pathlib
import pwd
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.request

BINARY = os.environ.get("TEST_BINARY", "")
PATIENCE = 60


def with_parent():
    """The child ends with this process, however that ends."""
    ctypes.CDLL("libc.so.6").prctl(1, signal.SIGKILL)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def new_environment():
    """Unique names and a secret for a deployment."""
    prefix = f"t{secrets.token_hex(4)}-"
    ministack = os.environ["TEST_MINISTACK"]
    return {
        "SOUNDOFF_PREFIX": prefix,
        "SOUNDOFF_SQS_ENDPOINT": ministack,
        "SOUNDOFF_FIREHOSE_ENDPOINT": ministack,
        "SOUNDOFF_S3_ENDPOINT": ministack,
        "SOUNDOFF_DYNAMODB_ENDPOINT": os.environ["TEST_DYNAMODB_LOCAL"],
        "SOUNDOFF_SECRET": secrets.token_hex(32),
        "SOUNDOFF_ARCHIVE_STREAM": f"{prefix}archive",
        "SOUNDOFF_ARCHIVE_BUCKET": f"{prefix}archive",
        "SOUNDOFF_MEDIA_BUCKET": f"{prefix}media",
        "SOUNDOFF_AWS_REGION": "us-east-1",
        "SOUNDOFF_MEMCACHED": f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}",
        "SOUNDOFF_DRAIN_MS": "3000",
        # What people may do in a minute is nothing for a load.
        "SOUNDOFF_TYPE_LIMITS": "off",
        # Messages that MiniStack hands to a killed process are lost until this has passed.
        "SOUNDOFF_VISIBILITY_MS": "3000",
    }


def environment_of(data):
    """The deployment of a data directory: it is only remembered there."""
    path = pathlib.Path(data) / "deployment.json"
    if path.exists():
        return json.loads(path.read_text())
    environment = new_environment()
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([BINARY, "provision"], env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    path.write_text(json.dumps(environment))
    return environment


def of_role(environment, command):
    """What a process of this command is given: the keys of its role instead of the root."""
    derived = subprocess.run(
        [BINARY, "secret", "derive", "--role", command],
        env={**os.environ, "SOUNDOFF_SECRET": environment["SOUNDOFF_SECRET"]}, check=True, capture_output=True, text=True,
    )
    return environment | {"SOUNDOFF_SECRET": derived.stdout.strip()}


class Role:
    """One process. Its first line says where it listens."""

    def __init__(self, environment, *args, log=None):
        self.environment, self.args, self.log = {**os.environ, **of_role(environment, args[0])}, args, log
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [BINARY, *self.args], env=self.environment, stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=with_parent
        )

    def listening(self):
        """Waits until it listens."""
        self.said = self.process.stdout.readline()
        if not self.said:
            raise SystemExit(f"soundoff {' '.join(self.args)} did not start")
        self.internal = re.search(r"internal ([\d.:]+)", self.said)[1]
        public = re.search(r"(?:ws|http)://([\d.:]+)/", self.said)
        self.public = public and public[1]
        return self

    def ready(self):
        """Waits until it says so."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            try:
                urllib.request.urlopen(f"http://{self.internal}/readyz", timeout=2).read()
                return self
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"soundoff {' '.join(self.args)} does not get ready")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()
        return self.listening()

    def metrics(self):
        try:
            return urllib.request.urlopen(f"http://{self.internal}/metrics", timeout=5).read().decode()
        except OSError:
            return ""


class Memcached:
    """Real memcached nodes at the environment's addresses."""

    def __init__(self, environment):
        self.ports = [node.rsplit(":", 1)[1] for node in environment["SOUNDOFF_MEMCACHED"].split(",")]
        self.nodes = [self.node(port) for port in self.ports]

    @staticmethod
    def node(port):
        # As the user who runs this: a process that changes its user loses the signal that ends it with its parent.
        user = pwd.getpwuid(os.getuid()).pw_name
        command = ["memcached", "-l", "127.0.0.1", "-p", port, "-I", "2m", "-u", user]
        return subprocess.Popen(command, preexec_fn=with_parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def flush(self):
        for port in self.ports:
            with socket.create_connection(("127.0.0.1", int(port)), timeout=5) as s:
                s.sendall(b"flush_all\r\n")
                assert s.recv(16) == b"OK\r\n"

    def kill(self, n):
        self.nodes[n].kill()
        self.nodes[n].wait()

    def start(self, n):
        self.nodes[n] = self.node(self.ports[n])

    def restart(self):
        for n in range(len(self.ports)):
            self.kill(n)
            self.start(n)

    def signal(self, number):
        for node in self.nodes:
            node.send_signal(number)

    def stop(self):
        for node in self.nodes:
            node.kill()
            node.wait()


class Balancer:
    """The balancer: connections go to edges in turn, and by path to the User service."""

    def __init__(self, listen, edges, users):
        self.edges, self.users, self.turn = edges, users, itertools.count()
        host, port = listen.rsplit(":", 1)
        self.socket = socket.create_server((host, int(port)), backlog=1024)
        self.address = "%s:%d" % self.socket.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.socket.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def upstream(self, head):
        path = head.split(b" ", 2)[1] if head.count(b" ") >= 2 else b"/"
        if not path.startswith(b"/v1/ws"):
            return socket.create_connection(self.users.public.split(":"), timeout=10)
        for _ in self.edges:
            edge = self.edges[next(self.turn) % len(self.edges)]
            try:
                return socket.create_connection(edge.public.split(":"), timeout=10)
            except OSError:
                continue
        raise ConnectionRefusedError

    def serve(self, client):
        head = b""
        try:
            while b"\r\n\r\n" not in head and len(head) < 65536:
                chunk = client.recv(65536)
                if not chunk:
                    break
                head += chunk
            upstream = self.upstream(head)
            upstream.settimeout(None)
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            upstream.sendall(head)
        except OSError:
            client.close()
            return
        threading.Thread(target=self.pipe, args=(upstream, client), daemon=True).start()
        self.pipe(client, upstream)

    @staticmethod
    def pipe(source, sink):
        try:
            while chunk := source.recv(65536):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Deployment:
    """2 edges, 2 routers, 2 workers, the timelines and the User service, behind a balancer."""

    def __init__(self, environment, listen="127.0.0.1:0", edges=2, around=lambda process, environment: environment):
        """`around` gives each process an environment of its own."""
        self.environment = environment

        def role(name, *args):
            return Role(around(name, environment), *args)

        self.memcached = Memcached(environment)
        internal = ("--internal-listen", "127.0.0.1:0")
        public = ("--listen", "127.0.0.1:0", *internal)
        self.edges = [role(f"edge {n}", "edge", *public) for n in range(edges)]
        self.routers = [role(f"router {n}", "router", *internal) for n in range(2)]
        self.workers = [role(f"workers {n}", "workers", *internal) for n in range(2)]
        self.timeline = role("timeline", "timeline", *internal)
        self.users = role("users", "users", "--dev", *public)
        for role in self.roles():
            role.listening()
        for role in self.roles():
            role.ready()
        self.balancer = Balancer(listen, self.edges, self.users)

    def roles(self):
        return [*self.edges, *self.routers, *self.workers, self.timeline, self.users]

    def metrics(self):
        """Those of all processes, one after the other."""
        return "".join(role.metrics() for role in self.roles())

    def queues(self):
        output = subprocess.run(
            [BINARY, "queues", "--aws", "--json"],
            env={**os.environ, **self.environment}, check=True, capture_output=True, text=True,
        )
        return json.loads(output.stdout)

    def settled(self, patience=120):
        """Waits until every queue is empty; returns the dead letters by queue."""
        begun = time.monotonic()
        while time.monotonic() - begun < patience:
            rows = self.queues()
            if not any(row["visible"] or row["in_flight"] for row in rows):
                return {row["queue"]: row["dead"] for row in rows if row["dead"]}
            time.sleep(0.5)
        raise SystemExit(f"not settled: {[row for row in rows if row['visible'] or row['in_flight']]}")

    def stop(self):
        """Sends SIGTERM to all; returns the worst exit code."""
        for role in self.roles():
            role.process.terminate()
        worst = max(abs(role.process.wait(timeout=PATIENCE)) for role in self.roles())
        self.memcached.stop()
        return worst

    def end(self, faults):
        """Stops all, prints the faults that were found, and ends this process."""
        if code := self.stop():
            faults.append(f"a role ended with {code}")
        for fault in faults:
            print("FAULT", fault)
        raise SystemExit(bool(faults))
