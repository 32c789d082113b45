"""Runs on hosts: makes sure that a pool's supervisor runs, then carries lines between it and standard input."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time


def main(folder: str, patience: float) -> None:
    """Connect, starting the supervisor if nobody answers, and carry until either side ends."""
    os.chdir(folder)
    path, until, started = "control.sock", time.time() + patience, None
    while True:
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(path)
            break
        except OSError as error:
            peer.close()
            if started is None or (started.poll() is not None and time.time() < until - patience / 2):
                with open(os.path.join(folder, "log"), "ab") as log:
                    started = subprocess.Popen(
                        [sys.executable, os.path.join(folder, "supervisor.py")],
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        close_fds=True,
                    )
            if started is not None and started.poll():
                give_up(folder, "ended with status %d" % started.returncode)
            if time.time() > until:
                give_up(folder, "does not answer: %s" % error)
            time.sleep(0.02)
    carry(peer)


def give_up(folder: str, why: str) -> None:
    """Say why there is no supervisor, with the last line of its log, as an answer to nobody in particular."""
    with open(os.path.join(folder, "log"), errors="replace") as log:
        lines = log.read()[-2000:].strip().splitlines() or [""]
    text = "the supervisor of %s %s: %s" % (folder, why, lines[-1])
    # by hand: where the supervisor cannot run, json may be what is missing
    plain = "".join(each if each.isprintable() and each.isascii() and each not in '"\\\\' else "'" for each in text)
    write(b'{"n": 0, "error": "%s"}\n' % plain.encode())
    sys.exit(text)


def carry(peer: socket.socket) -> None:
    """Both ways, until one of them ends."""
    chosen = selectors.DefaultSelector()
    chosen.register(0, selectors.EVENT_READ, lambda: (os.read(0, 65536), peer.sendall))
    chosen.register(peer, selectors.EVENT_READ, lambda: (peer.recv(65536), write))
    while True:
        for key, _ in chosen.select():
            data, put = key.data()
            if not data:
                return
            put(data)


def write(data: bytes) -> None:
    """Everything to standard output."""
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main(os.path.dirname(os.path.abspath(__file__)), float(sys.argv[1]))
