#!/usr/bin/env python3
"""Takes the place of the soundoff binary in tests that use its public port: `up` runs a whole deployment, one role a process.

`workers pause` ends the processes that pull, and `workers resume` starts them again. Every flag of `up` becomes the environment variable of the same name, for the roles to read. Other commands go to the deployment whose
`--data` they name.
"""

import http.server
import os
import pathlib
import signal
import sys
import threading
import time

from deployment import BINARY, Deployment, environment_of


def read(args):
    """Flags by name, and the rest."""
    flags, rest, args = {}, [], list(args)
    while args:
        word = args.pop(0)
        if not word.startswith("--"):
            rest.append(word)
            continue
        name, given, value = word[2:].partition("=")
        if not given:
            value = args.pop(0) if args and not args[0].startswith("--") else ""
        flags.setdefault(name, []).append(value)
    return {name: ",".join(values) for name, values in flags.items()}, rest


def serve_metrics(deployment):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = deployment.metrics().encode()
            self.send_response(200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "127.0.0.1:%d" % server.server_address[1]


def pause_when_asked(deployment, data):
    """Watches a file that asks for a pause, and writes another when it is done."""
    wish, is_so = data / "pause", data / "paused"
    while True:
        if wish.exists() != is_so.exists():
            pulling = [*deployment.routers, *deployment.workers, deployment.timeline]
            if wish.exists():
                for role in pulling:
                    role.process.terminate()
                for role in pulling:
                    role.process.wait()
                is_so.touch()
            else:
                for role in pulling:
                    role.start()
                for role in pulling:
                    role.listening().ready()
                is_so.unlink()
        time.sleep(0.02)


def pause(data, wished):
    wish, is_so = data / "pause", data / "paused"
    wish.touch() if wished else wish.unlink(missing_ok=True)
    while is_so.exists() != wished:
        time.sleep(0.02)
    print("workers", "paused" if wished else "running")


def up(flags):
    data = pathlib.Path(flags.pop("data"))
    environment = environment_of(data)
    for file in ("pause", "paused"):
        (data / file).unlink(missing_ok=True)
    listen, edges = flags.pop("listen"), int(flags.pop("edges", 2))
    environment |= {f"SOUNDOFF_{name.upper().replace('-', '_')}": value or "true" for name, value in flags.items()}
    deployment = Deployment(environment, listen, edges)
    threading.Thread(target=pause_when_asked, args=(deployment, data), daemon=True).start()
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    print("  websocket ", f"ws://{deployment.balancer.address}/v1/ws")
    print("  metrics   ", f"http://{serve_metrics(deployment)}/metrics")
    print("Ctrl-C stops it", flush=True)
    asked.wait()
    sys.exit(deployment.stop())


def main():
    command, *args = sys.argv[1:]
    if command == "up":
        up(read(args)[0])
    at = args.index("--data")
    data = pathlib.Path(args[at + 1])
    if command == "workers":
        return pause(data, wished=args[0] == "pause")
    if command == "queues":
        time.sleep(0.3)  # Tests ask as fast as they can, and each time it is more than a hundred requests to one stand-in.
    environment = environment_of(data)
    args[at : at + 2] = ["--aws"]
    os.execve(BINARY, [BINARY, command, *args], {**os.environ, **environment})


main()
