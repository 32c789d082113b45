"""A key-value counter over HTTP: a shard behind HAProxy. Standard library only, one file, one thread.

    python3 -S -I http_counter.py serve [--standby] [--padding BYTES]
    python3 -S -I http_counter.py save|load|drop|quiesce|resume|ready

It serves at $ADDRESS:$PORT as shard $SHARD under the fencing token $TOKEN:

    GET /APP/KEY/inc    200 "<shard> <token> <value>"    counted; 503 while quiesced: not counted, and never will be
    GET /APP/KEY        200 "<shard> <token> <value>"

The other verbs are clients of that address, as ``counter.py`` has them. With LO and HI in the environment they are
about keys whose slot (CRC-32 of the key, lowest 16 bits) is in LO <= slot < HI only: ``save`` writes those, ``load``
puts them beside what is there, ``drop`` removes them.
"""

import os
import select
import socket
import sys
import zlib

PATIENCE = 10.0
LONGEST = 1 << 28


def slot(key: str) -> int:
    """The slot of a key."""
    return zlib.crc32(key.encode()) & 65535


class Counter:
    """The state, and what each request does to it."""

    def __init__(self, shard: str, token: str, standby: bool, padding: int) -> None:
        self.shard, self.token, self.quiesced = shard, token, standby
        self.counts: dict[str, int] = {}
        self.padding = "x" * padding

    def answer(self, path: str, body: bytes) -> "tuple[int, bytes]":
        """Status and body for a request."""
        words = path.strip("/").split("/")
        if words[0] == "_":
            return self.control(words[1], words[2:], body)
        key = words[1] if len(words) > 1 else ""
        if self.quiesced:
            return 503, b"quiesced\n"
        if words[2:] == ["inc"]:
            self.counts[key] = self.counts.get(key, 0) + 1
        return 200, f"{self.shard} {self.token} {self.counts.get(key, 0)}\n".encode()

    def control(self, verb: str, words: "list[str]", body: bytes) -> "tuple[int, bytes]":
        """Answer a hook."""
        import json  # noqa: PLC0415 - only hooks pay for it

        lo, hi = (int(word) for word in words) if words else (0, 65536)
        if verb == "save":
            counts = {key: n for key, n in self.counts.items() if lo <= slot(key) < hi}
            state = {"counts": counts, "padding": self.padding}
            return 200, json.dumps(state, sort_keys=True, separators=(",", ":")).encode()
        if verb == "load":
            if not self.quiesced:
                return 409, b"a serving shard takes no state\n"
            state = json.loads(body)
            kept = {key: n for key, n in self.counts.items() if words and not lo <= slot(key) < hi}
            self.counts = {**kept, **{str(key): int(n) for key, n in state["counts"].items()}}
            self.padding = str(state["padding"])
        elif verb == "drop":
            self.counts = {key: n for key, n in self.counts.items() if not lo <= slot(key) < hi}
        elif verb in ("quiesce", "resume"):
            self.quiesced = verb == "quiesce"
        elif verb != "ready":
            return 404, b"unknown verb\n"
        elif self.quiesced:
            return 503, b"quiesced\n"
        return 200, b"done\n"


class Connection:
    """One client: what it has sent and has not been answered yet."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer, self.unread = peer, bytearray()
        peer.settimeout(PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self, counter: Counter) -> bool:
        """Take what has come and answer it; False at the end."""
        try:
            data = self.peer.recv(1 << 16)
            self.unread += data
            replies = b""
            while (reply := self.reply(counter)) is not None:
                replies += reply
            if replies:
                self.peer.sendall(replies)
        except (OSError, ValueError, LookupError):
            return False
        return bool(data) and len(self.unread) < LONGEST

    def reply(self, counter: Counter) -> "bytes | None":
        """The answer to the first whole request; None if there is none yet."""
        end = self.unread.find(b"\r\n\r\n")
        if end < 0:
            return None
        lines = self.unread[:end].decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(":", 1) for line in lines[1:])
        size = int(fields.get("content-length", "0"))
        if len(self.unread) < end + 4 + size:
            return None
        body = bytes(self.unread[end + 4 : end + 4 + size])
        del self.unread[: end + 4 + size]
        status, text = counter.answer(lines[0].split()[1], body)
        return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n" % (
            status, b"OK" if status == 200 else b"No", len(text)
        ) + text  # fmt: skip


def serve(counter: Counter, listener: socket.socket) -> None:
    """Serve for ever."""
    clients: dict[socket.socket, Connection] = {}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    by_number = {listener.fileno(): listener}
    while True:
        for number, _ in poll.poll():
            ready = by_number[number]
            if ready is listener:
                peer, _ = listener.accept()
                clients[peer] = Connection(peer)
                by_number[peer.fileno()] = peer
                poll.register(peer, select.POLLIN)
            elif not clients[ready].receive(counter):
                poll.unregister(number)
                del by_number[number], clients[ready]
                ready.close()


def endpoint() -> "tuple[str, int]":
    """Where the shard listens, from the environment."""
    return os.environ["ADDRESS"], int(os.environ["PORT"])


def ask(verb: str, body: bytes = b"") -> bytes:
    """Do one hook."""
    words = [os.environ[name] for name in ("LO", "HI") if os.environ.get(name)]
    path = "/".join(["", "_", verb, *words])
    with socket.create_connection(endpoint(), PATIENCE) as peer, peer.makefile("rb") as answers:
        peer.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        status = answers.readline().split()
        size = 0
        while (line := answers.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        text = answers.read(size)
    if status[1:2] != [b"200"] or len(text) != size:
        sys.exit(f"http_counter: {verb}: {text.decode('utf-8', 'replace')}")
    return text


def option(name: str, default: str) -> str:
    """The value of ``--name VALUE``."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv[:-1] else default


def main() -> int:
    """Serve, or be the client that a hook needs."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "serve":
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(endpoint())
            listener.listen(512)
            shard, token = os.environ.get("SHARD", ""), os.environ.get("TOKEN", "0")
            serve(Counter(shard, token, "--standby" in sys.argv, int(option("--padding", "4096"))), listener)
    elif verb == "save":
        sys.stdout.buffer.write(ask(verb))
    elif verb == "load":
        ask(verb, sys.stdin.buffer.read())
    elif verb in ("drop", "quiesce", "resume", "ready"):
        ask(verb)
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
