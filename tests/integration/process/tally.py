"""A small stateful service for the tests: counts, and can save, load, refuse and serve again.

``tally.py serve`` listens on ADDRESS:PORT; every other word is sent there as a request. With
``serve --files`` the count is kept in STATE, without it only in memory. Fresh processes with
``--closed`` refuse work until ``resume``.
"""

import os
import pathlib
import socket
import socketserver
import sys

WHERE = (os.environ.get("ADDRESS", "127.0.0.1"), int(os.environ.get("PORT", "0")))


class Server(socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 64
    count = 0
    serving = True
    kept = None


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        word, _, rest = self.rfile.readline().decode().strip().partition(" ")
        self.wfile.write((self.answer(word, rest) + "\n").encode())

    def answer(self, word, rest):
        server = self.server
        if word == "add":
            if not server.serving:
                return "refused"
            server.count += int(rest or 1)
            if server.kept is not None:
                server.kept.write_text(str(server.count))
        elif word == "load":
            server.count = int(rest)
        elif word in ("quiesce", "resume"):
            server.serving = word == "resume"
        elif word == "ready" and not server.serving:
            return "refused"
        elif word == "who":
            return f"{os.environ['SHARD']} {os.environ['TOKEN']} {os.getpid()}"
        return str(server.count)


def ask(text):
    with socket.create_connection(WHERE, timeout=5) as link:
        link.sendall(text.encode() + b"\n")
        return link.makefile().readline().strip()


def main(word, *options):
    if word == "serve":
        server = Server(WHERE, Handler)
        server.serving = "--closed" not in options
        if "--files" in options:
            server.kept = pathlib.Path(os.environ["STATE"], "count")
            if server.kept.exists():
                server.count = int(server.kept.read_text())
        print("serving on", WHERE, flush=True)
        server.serve_forever()
    text = f"load {sys.stdin.read().strip()}" if word == "load" else word
    answer = ask(text)
    if answer == "refused":
        sys.exit("refused")
    print(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
