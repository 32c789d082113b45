"""A client of one shard that never stops asking: how long nobody answered is what its users saw.

``python -m benchmarks.executor_probe ADDRESS PORT ADDRESS PORT`` asks whichever of the two places
answered last, and the other one when that does not. For every line on standard input it prints
the longest time (ms) between two answers since the line before, and begins anew.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from typing import Final

#: seconds between two requests, and until an answer is given up
PAUSE: Final = 0.001
PATIENCE: Final = 0.02

Place = tuple[str, int]


class Line:
    """A connection to one place, made again when it is lost."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._sock: socket.socket | None = None

    def ask(self) -> bool:
        """Whether a request was counted. Never raises."""
        try:
            if self._sock is None:
                self._sock = socket.create_connection(self._place, PATIENCE)
                self._sock.settimeout(PATIENCE)
            self._sock.sendall(b"INC r key\n")
            if self._sock.recv(4096).startswith(b"OK"):
                return True
        except OSError:
            pass
        self.close()
        return False

    def close(self) -> None:
        """Forget the connection: an answer that comes late must not count for a later request."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
        self._sock = None


def watch(places: tuple[Place, Place]) -> None:
    """Ask until standard input ends."""
    lines = [Line(place) for place in places]
    at, last, worst = 0, time.perf_counter(), 0.0
    while True:
        if select.select([sys.stdin], [], [], PAUSE)[0]:
            if not sys.stdin.readline():
                return
            print(worst * 1e3, flush=True)
            last, worst = time.perf_counter(), 0.0
        if lines[at].ask():
            now = time.perf_counter()
            last, worst = now, max(worst, now - last)
        else:
            at = 1 - at


if __name__ == "__main__":
    words = sys.argv[1:]
    watch(((words[0], int(words[1])), (words[2], int(words[3]))))
