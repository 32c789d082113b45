"""A small stateful service for the tests: counts, and can save, load, refuse and serve again.

``tally.py serve`` listens on ADDRESS:PORT; every other word is sent there as a request. With
``serve --files`` the count is kept in STATE, without it only in memory. Fresh processes with
``--closed`` refuse work until ``resume``. Nothing but what Debian's python3-minimal has.
"""

import os
import pathlib
import socket
import sys

WHERE = (os.environ.get("ADDRESS", "127.0.0.1"), int(os.environ.get("PORT", "0")))


class Server:
    count = 0
    serving = True
    kept = None

    def run(self):
        with socket.socket() as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(WHERE)
            door.listen(64)
            print("serving on", WHERE, flush=True)
            while True:
                link, _ = door.accept()
                with link:
                    self.handle(link)

    def handle(self, link):
        try:
            word, _, rest = link.makefile().readline().strip().partition(" ")
            link.sendall((self.answer(word, rest) + "\n").encode())
        except OSError as error:
            print("lost a client:", error, flush=True)

    def answer(self, word, rest):
        if word == "add":
            if not self.serving:
                return "refused"
            self.count += int(rest or 1)
            if self.kept is not None:
                self.kept.write_text(str(self.count))
        elif word == "load":
            self.count = int(rest)
        elif word in ("quiesce", "resume"):
            self.serving = word == "resume"
        elif word == "ready" and not self.serving:
            return "refused"
        elif word == "who":
            return f"{os.environ['SHARD']} {os.environ['TOKEN']} {os.getpid()}"
        return str(self.count)


def ask(text):
    with socket.create_connection(WHERE, timeout=5) as link:
        link.sendall(text.encode() + b"\n")
        return link.makefile().readline().strip()


def main(word, *options):
    if word == "serve":
        server = Server()
        server.serving = "--closed" not in options
        if "--files" in options:
            server.kept = pathlib.Path(os.environ["STATE"], "count")
            if server.kept.exists():
                server.count = int(server.kept.read_text())
        server.run()
    text = f"load {sys.stdin.read().strip()}" if word == "load" else word
    answer = ask(text)
    if answer == "refused":
        sys.exit("refused")
    print(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
