"""Runs on the router's host, for as long as its controller is there: asks HAProxy, reads and replaces files.

    python3 -S -c SOURCE

Frames on both sides: four bytes of length, big-endian, and so many bytes. A question is VERB NUL PATH NUL BODY:

    ask    PATH is a socket, BODY commands that each end with NUL; their answers, each ended with NUL
    read   the bytes of a file, or status ``missing``
    write  replaces a file by BODY, whole or not at all, durable when it is answered

An answer is STATUS NUL BODY; STATUS is ``ok``, ``missing`` or ``error``. The end of input ends it, and so does a long
silence: of a connection that was cut nobody tells. Nothing is left behind. Needs no more than Debian's python3-minimal.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

#: said first: what a login shell has said before is no answer
READY = b"sidestep-router 1\n"
#: seconds for which a socket that nobody listens at is tried again: the master breaks off while it reloads
RELOAD = 3.0
#: seconds for one answer of HAProxy, and of silence after which nobody is there any more
PATIENCE = 8.0
SILENCE = 90.0


def main() -> None:
    """Answer until the end of input."""
    send(READY)
    while True:
        head = exactly(4)
        question = exactly(int.from_bytes(head, "big"))
        try:
            said = answered(question)
        except (OSError, ValueError) as error:
            said = b"error\0" + str(error).encode("utf-8", "replace")
        send(len(said).to_bytes(4, "big") + said)


def answered(question: bytes) -> bytes:
    """The answer to one question. Raises OSError, and ValueError for what is no question."""
    verb, where, body = question.split(b"\0", 2)
    path = os.fsdecode(where)
    if verb == b"ask":
        return b"ok\0" + b"".join(insisted(path, command) + b"\0" for command in body.split(b"\0")[:-1])
    if verb == b"read":
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                return b"ok\0" + file.read()
        except FileNotFoundError:
            return b"missing\0"
    if verb == b"write":
        replace(path, body)
        return b"ok\0"
    raise ValueError("unknown verb")


def insisted(path: str, command: bytes) -> bytes:
    """HAProxy's answer to one command."""
    until = time.monotonic() + RELOAD
    while True:
        try:
            return once(path, command)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def once(path: str, command: bytes) -> bytes:
    """The same over one connection."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(path)
        peer.sendall(command + b"\n")
        peer.shutdown(socket.SHUT_WR)  # the master's socket waits for more otherwise
        answer = b""
        while True:
            data = peer.recv(65536)
            if not data:
                return answer
            answer += data


def replace(path: str, data: bytes) -> None:
    """Beside it first (0600, never through a link), synced, then in its place, and the folder synced."""
    fresh = path + ".new"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)  # noqa: PTH105
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def exactly(size: int) -> bytes:
    """So many bytes of standard input; ends the process where they do not come."""
    found = b""
    while len(found) < size:
        if not select.select([0], [], [], SILENCE)[0]:
            sys.exit()
        data = os.read(0, min(size - len(found), 1 << 20))
        if not data:
            sys.exit()
        found += data
    return found


def send(data: bytes) -> None:
    """All of it to standard output."""
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    main()
