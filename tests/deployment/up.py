#!/usr/bin/env python3
"""Stands in for the soundoff binary in the tests that speak to its public face: `up` runs a whole deployment, one role a process.

Every flag of `up` becomes the environment variable of the same name, for the roles to read. Other commands go to the deployment whose
`--data` they name.
"""

import http.server
import os
import signal
import sys
import threading

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


def up(flags):
    environment = environment_of(flags.pop("data"))
    listen, edges = flags.pop("listen"), int(flags.pop("edges", 2))
    environment |= {f"SOUNDOFF_{name.upper().replace('-', '_')}": value or "true" for name, value in flags.items()}
    deployment = Deployment(environment, listen, edges)
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
    data = args.index("--data")
    environment = environment_of(args[data + 1])
    args[data : data + 2] = ["--aws"]
    os.execve(BINARY, [BINARY, command, *args], {**os.environ, **environment})


main()
