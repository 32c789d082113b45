"""What a worker's process has of ours: a folder, the nursery, the blocks that run, and the tokens seen.

There is one in a process. In a worker that sidestep started, ``engine`` makes it; in a worker of a
Dask cluster that was there before, the first verb does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Self

import msgspec

from sidestep.backends.functions import blocks, frames
from sidestep.backends.functions.setup import Setup, new_signing_key
from sidestep.fleet.errors import SidestepError

if TYPE_CHECKING:
    from sidestep.backends.functions.shelf import Shelf


class Seat:
    """The worker's end of one seat: frames both ways, and signals."""

    def __init__(self, nursery: Nursery) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            nursery.send(theirs.fileno())
        self._socket = ours
        self._turn = threading.Lock()
        self._in: BinaryIO = ours.makefile("rb")
        self.pid = 0

    def say(self, word: blocks.ToSeat) -> None:
        """Send, from any thread. Raises OSError when the seat is gone."""
        with self._turn:
            self._socket.sendall(frames.pack(word))

    def hear(self) -> blocks.FromSeat | None:
        """The next word; None when the seat is gone."""
        try:
            word: blocks.FromSeat | None = frames.read(self._in, blocks.FromSeat)
        except (OSError, SidestepError):
            return None
        return word

    def close(self) -> None:
        """End the seat and its process group."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._in.close()
        self._socket.close()


class Nursery:
    """The process that forks seats; started once, and ends with this process."""

    def __init__(self, log: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        with theirs, log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sidestep.backends.functions.nursery", str(log.parent)],
                stdin=theirs.fileno(),
                stdout=said,
                stderr=said,
                env=environment,
            )
        self._control = ours
        self._turn = threading.Lock()

    def send(self, fd: int) -> None:
        """Give it one end of a seat's connection. Raises SidestepError when it is gone."""
        with self._turn:
            try:
                socket.send_fds(self._control, [b"+"], [fd])
            except OSError as error:
                raise SidestepError(f"the process that starts seats is gone: {error}") from None


class Running:
    """A block that runs here."""

    def __init__(self, job: blocks.Job, seat: Seat) -> None:
        self.job, self.seat = job, seat
        self.began = time.monotonic()
        self.capsule, self.kept_at, self.fresh = b"", 0.0, 0
        self.computes = False
        self.unsuited, self.failed, self.writing = "", "", False
        #: how it ends, for whoever had it stopped and waits
        self.outcome: Future[blocks.Outcome | None] = Future()
        self.awaited = False
        #: set when nobody wants anything of it any more
        self.let_go = threading.Event()


class Coming:
    """A block that is to come: the seat that is ready for a program, and whose capsules are believed."""

    def __init__(self, program: tuple[str, str, str], seat: Seat, trusted: dict[str, bytes]) -> None:
        self.program, self.seat, self.trusted = program, seat, trusted
        #: the capsule that the seat knows of
        self.sealed = b""
        #: set once the last one came from where the block stood
        self.came = asyncio.Event()


class Place:
    """See the module."""

    _here: ClassVar[Place | None] = None
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, folder: Path, name: str, signing: bytes) -> None:
        self.folder, self.name, self.signing = folder, name, signing
        self.nursery = Nursery(folder / f"nursery-{os.getpid()}.log")
        self.running: dict[str, Running] = {}
        #: blocks that are to come
        self._ready: dict[str, Coming] = {}
        #: by block and token: how executions end that were begun without a task of their own
        self.begun: dict[tuple[str, int], Future[blocks.Outcome]] = {}
        self._tokens: dict[str, int] = {}
        self._turn = threading.Lock()

    @classmethod
    def take(cls, setup: Setup) -> Self:
        """Make this process's place as the agent says."""
        made = cls(Path(setup.folder), setup.name, setup.signing)
        Place._here = made
        return made

    @classmethod
    def here(cls) -> Place:
        """This process's place; made now where no agent has."""
        with Place._making:
            if Place._here is None:
                folder = Path(tempfile.mkdtemp(prefix="sidestep-functions-"))
                Place._here = Place(folder, socket.gethostname(), new_signing_key())
            return Place._here

    @property
    def sources(self) -> Path:
        """Where source files are, by digest."""
        return self.folder / "sources"

    @cached_property
    def shelf(self) -> Shelf:
        """Chunks of capsules, by name."""
        # Not before it is needed: schedulers have none, and it takes numpy.
        from sidestep.backends.functions.shelf import Shelf  # noqa: PLC0415

        return Shelf(self.folder / "chunks")

    def fence(self, block: str, token: int) -> bool:
        """Take a token if it is newer than all that were seen for the block; older executions are then ended."""
        with self._turn:
            if token <= self._tokens.get(block, 0):
                return False
            self._tokens[block] = token
            for key in [one for one in self.begun if one[0] == block and one[1] < token]:
                del self.begun[key]
        former = self.running.get(block)
        if former is not None:
            former.let_go.set()
            former.seat.close()
        return True

    def expect(self, word: blocks.Prepare, seat: Seat) -> None:
        """Have a seat ready for a block that is to come; one that was ready before is ended."""
        self.forget(word.block)
        with self._turn:
            self._ready[word.block] = Coming((word.source, word.module, word.function), seat, word.trusted)

    def coming(self, block: str) -> Coming | None:
        """What is ready for a block that is to come."""
        with self._turn:
            return self._ready.get(block)

    def seat(self, job: blocks.Job) -> Seat:
        """The seat that is ready for a block's program, else a new one. Raises SidestepError."""
        with self._turn:
            coming = self._ready.pop(job.block, None)
        if job.capsule and (coming is None or coming.sealed != job.capsule):
            self.shelf.settle()
        if coming is not None and coming.program == (job.source, job.module, job.function):
            return coming.seat
        if coming is not None:
            coming.seat.close()
        return Seat(self.nursery)

    def forget(self, block: str) -> None:
        """End the seat that is ready for a block."""
        with self._turn:
            coming = self._ready.pop(block, None)
        if coming is not None:
            coming.seat.close()

    def current(self, block: str, token: int) -> Running | None:
        """The block's execution, if it is that of the token."""
        found = self.running.get(block)
        return found if found is not None and found.job.token == token else None

    def status(self) -> list[blocks.BlockStatus]:
        """What runs here now."""
        return [
            blocks.BlockStatus(
                block=one.job.block,
                token=one.job.token,
                seconds=time.monotonic() - one.began,
                cpu_s=_cpu(one.seat.pid),
                capsule=one.capsule,
                age=max(0.0, time.time() - one.kept_at) if one.kept_at else 0.0,
                fresh=one.fresh,
                unsuited=one.unsuited,
                failed=one.failed,
                writing=one.writing,
            )
            for one in list(self.running.values())
            if one.computes
        ]


def _cpu(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def said(value: object) -> bytes:
    """An answer as msgpack."""
    return msgspec.msgpack.encode(value)
