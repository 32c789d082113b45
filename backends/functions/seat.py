"""A seat: the process whose main thread computes one block, or one shard, and nothing else.

The function's source is imported here and nowhere else. What the block says goes back as frames;
the seat's end, however it comes, is seen by the worker as the end of the connection.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from sidestep.backends.functions import blocks, frames
from sidestep.backends.functions.computing import Ahead, Computation
from sidestep.sharding.capsules.platform import fingerprint
from sidestep.sharding.execute.contract import run_shard


def warm() -> None:
    """Import what every block needs, once, before seats are forked."""
    for name in ("numpy", "numpy.random", "cryptography.hazmat.primitives.asymmetric.ed25519"):
        importlib.import_module(name)
    fingerprint()


class Line:
    """The seat's end of its connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._turn = threading.Lock()
        self._in: BinaryIO = connection.makefile("rb")

    def say(self, word: blocks.FromSeat) -> None:
        """Send; a worker that is gone takes the seat with it anyway."""
        with self._turn:
            self._socket.sendall(frames.pack(word))

    def hear(self) -> blocks.ToSeat | None:
        """The next word."""
        word: blocks.ToSeat | None = frames.read(self._in, blocks.ToSeat)
        return word


def sit(connection: socket.socket) -> None:
    """Do the one thing that the first word asks for."""
    line, folder = Line(connection), Path(sys.argv[1])
    word = line.hear()
    ahead: Ahead | None = None
    if isinstance(word, blocks.Prepare):
        try:
            ahead = Ahead(word, folder)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the block is then begun without
            line.say(blocks.Prepared(os.getpid(), f"{type(error).__name__}: {error}"[:500]))
            return
        line.say(blocks.Prepared(os.getpid()))
        while isinstance(word := line.hear(), blocks.Arrive):
            ahead.arrive(word)
    if isinstance(word, blocks.Shard):
        line.say(blocks.Began(os.getpid()))
        line.say(_shard(word))
    elif isinstance(word, blocks.Job):
        line.say(Computation(word, line, folder, ahead).run())


def _shard(word: blocks.Shard) -> blocks.ShardResult:
    try:
        return blocks.ShardResult(run_shard(word.payload))
    except Exception as error:  # noqa: BLE001 - the block falls back
        return blocks.ShardResult(error=f"{type(error).__name__}: {error}"[:500])
