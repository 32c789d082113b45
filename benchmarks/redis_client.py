"""A client of a Redis Cluster as applications are: it follows MOVED and ASK, and keeps an account of every request.

    python -m benchmarks.redis_client PORT NAME RATE KEYS     # ends at the end of its standard input

Half of its requests read, half write keys of its own, ``RATE`` a second at most, one at a time. At the end it prints
one JSON object: the time (``CLOCK_MONOTONIC``) and the seconds of every request, what failed, and which of its keys
do not have what was acknowledged last.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time

from sidestep.backends.redis_cluster.ranges import slot_of

#: redirections that one request may follow
HOPS = 8
SIZE = 200


class Refused(Exception):
    """An answer that is an error and no redirection."""


class Wire:
    """One connection to one node."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def ask(self, *commands: tuple[bytes, ...]) -> str | bytes | None:
        """The answer to the last of these."""
        self._socket.sendall(
            b"".join(
                b"*%d\r\n%s" % (len(words), b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
                for words in commands
            )
        )
        answer: str | bytes | None = None
        for _ in commands:
            answer = self._answer()
        return answer

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self._buffer += data

    def _answer(self) -> str | bytes | None:
        """Errors are text, values bytes."""
        line = self._line()
        if line[:1] == b"-":
            return line[1:].decode()
        if line[:1] != b"$":
            return line[1:]
        size = int(line[1:])
        if size < 0:
            return None
        while len(self._buffer) < size + 2:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return found


class Client:
    """Knows which node has which slot as far as it was told."""

    def __init__(self, port: int) -> None:
        self._wires: dict[int, Wire] = {}
        self._owner: dict[int, int] = {}
        self._first = port
        self.redirected = 0

    def ask(self, *words: bytes, at: int = 1) -> bytes | None:
        """One request about the key that is its second word, or its ``at``-th. Raises Refused, OSError."""
        slot = slot_of(words[at])
        port, asking = self._owner.get(slot, self._first), False
        for _ in range(HOPS):
            answer = self._wire(port).ask((b"ASKING",), words) if asking else self._wire(port).ask(words)
            if not isinstance(answer, str):
                return answer
            code, _, rest = answer.partition(" ")
            asking = code == "ASK"
            if code in {"MOVED", "ASK"}:
                self.redirected += 1
                port = int(rest.rpartition(":")[2])
                if code == "MOVED":
                    self._owner[slot] = port
            elif code == "TRYAGAIN":
                time.sleep(0.001)
            else:
                raise Refused(answer)
        raise Refused("redirected for ever")

    def _wire(self, port: int) -> Wire:
        if port not in self._wires:
            self._wires[port] = Wire(port)
        return self._wires[port]

    def forget(self) -> None:
        """Connect anew: an answer may be under way."""
        self._wires.clear()


def run(port: int, name: str, rate: float, keys: int) -> dict[str, object]:
    """Ask until standard input ends."""
    client, chance = Client(port), random.Random(name)
    acked: dict[bytes, bytes] = {}
    at: list[float] = []
    took: list[float] = []
    errors: list[str] = []
    count, due = 0, time.monotonic()
    for index in range(keys):  # learns who has what before anything is measured
        key = f"{name}:{index}".encode()
        acked[key] = b"0".ljust(SIZE, b".")
        client.ask(b"SET", key, acked[key])
    print("ready", flush=True)
    own = list(acked)
    while True:
        due = max(due + 1 / rate, time.monotonic())
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            break
        key = own[chance.randrange(keys)]
        count += 1
        value = str(count).encode().ljust(SIZE, b".")
        began = time.monotonic()
        try:
            if count % 2:
                if client.ask(b"GET", key) != acked[key]:
                    errors.append(f"{key.decode()}: not what was acknowledged")
            else:
                client.ask(b"SET", key, value)
                acked[key] = value
        except (Refused, OSError) as error:
            errors.append(f"{type(error).__name__}: {error}")
            client.forget()
        at.append(began)
        took.append(time.monotonic() - began)
    wrong = sum(client.ask(b"GET", key) != value for key, value in acked.items())
    return {"at": at, "took": took, "errors": errors, "wrong": wrong, "redirected": client.redirected}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))), flush=True)
