"""Makes seats by forking: one process, one thread, everything a block needs already imported.

A fork costs milliseconds where a new interpreter costs hundreds. Standard input is a socket on
which the worker sends one end of a new connection for every seat; its end is the end of all seats.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys

from sidestep.backends.embedded import proctree
from sidestep.backends.functions import seat


def main() -> None:
    """Fork seats until the worker is gone, then end whatever they left."""
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor
        os.dup2(nothing.fileno(), 0)
    proctree.become_subreaper()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seat.warm()
    gc.freeze()
    # A wish is heard that much sooner by a block that computes; seats inherit it.
    sys.setswitchinterval(0.001)
    me = os.getpid()
    try:
        while True:
            said, fds, _, _ = socket.recv_fds(control, 64, 1)
            if not said or not fds:
                return
            if os.fork() == 0:
                _sit(fds[0], control, me)
            os.close(fds[0])
    finally:
        if os.getpid() == me:
            proctree.end_orphans()


def _sit(fd: int, control: socket.socket, nursery: int) -> None:
    """Be a seat, and never return."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        control.close()
        proctree.die_with_parent(signal.SIGKILL)
        os.setsid()
        if os.getppid() == nursery:
            seat.sit(socket.socket(fileno=fd))
            status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
