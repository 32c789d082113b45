"""What is to be moved, and the journal of it: a file a job, one JSON line a step, written before the step.

The first line, the whole intent, is synced to disk before anything is asked of a node. The others are written but
not synced: they outlive a ``kill -9`` of us, and after a power loss the nodes themselves still say which slots are
half moved. A last line that is torn is not there.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from sidestep.backends.redis_cluster.ranges import read, written
from sidestep.fleet.errors import SidestepError

Step = Literal["intent", "open", "carry", "commit", "tell", "done", "recover", "end"]
#: in the order in which a slot goes through them
STEPS: Final[tuple[Step, ...]] = ("open", "carry", "commit", "tell", "done")


class Leg(Struct, frozen=True):
    """Slots that go from one master to another; both by id. ``heirs`` may take the target's place: its replicas."""

    source: str
    target: str
    slots: tuple[int, ...]
    heirs: tuple[str, ...] = ()


class Job(Struct, frozen=True, kw_only=True):
    """A whole move: its legs, why, and when it was begun (seconds since 1970)."""

    id: str
    legs: tuple[Leg, ...]
    why: str = ""
    at: float = 0.0

    def intents(self) -> dict[int, tuple[str, ...]]:
        """Where each slot is to be: the target, or who has taken its place."""
        return {slot: (leg.target, *leg.heirs) for leg in self.legs for slot in leg.slots}


class Line(Struct, frozen=True, omit_defaults=True):
    """One line of the file. ``slots`` as in ``0-99,200``."""

    step: Step
    at: float
    source: str = ""
    target: str = ""
    slots: str = ""
    why: str = ""
    heirs: tuple[str, ...] = ()


def job(legs: Iterable[Leg], why: str) -> Job:
    """A new job of these legs, without empty ones."""
    now = time.time()
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"
    return Job(id=name, legs=tuple(leg for leg in legs if leg.slots), why=why, at=now)


class Ledger:
    """The journal of one job; ``step`` is called before each step of a group of slots."""

    def __init__(self, folder: Path, what: Job) -> None:
        self.job = what
        self._path = folder / f"{what.id}.jsonl"
        self._handle = -1

    def begin(self) -> None:
        """Write the intent down, durably, unless it is there. Raises SidestepError."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._handle = os.open(self._path, flags, 0o600)
            if os.fstat(self._handle).st_size:
                os.write(self._handle, b"\n")  # ends a line that is torn
                self._write("recover")
                return
            intents = [
                Line("intent", self.job.at, leg.source, leg.target, written(leg.slots), self.job.why, leg.heirs)
                for leg in self.job.legs
            ]
            os.write(self._handle, b"".join(msgspec.json.encode(line) + b"\n" for line in intents))
            os.fsync(self._handle)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._unwritten(error) from error

    def step(self, step: Step, leg: Leg, slots: Sequence[int]) -> None:
        """Write down that this step of these slots begins. Raises SidestepError: then it must not."""
        try:
            self._write(step, leg, slots)
        except OSError as error:
            raise self._unwritten(error) from error

    def end(self, why: str = "") -> None:
        """All of it is done, or was given up for that reason."""
        try:
            self._write("end", why=why)
            os.fsync(self._handle)
        except OSError as error:
            raise self._unwritten(error) from error

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _write(self, step: Step, leg: Leg | None = None, slots: Iterable[int] = (), *, why: str = "") -> None:
        source, target = (leg.source, leg.target) if leg else ("", "")
        line = Line(step, time.time(), source, target, written(slots), why)
        os.write(self._handle, msgspec.json.encode(line) + b"\n")

    def _unwritten(self, error: OSError) -> SidestepError:
        return SidestepError(f"{self._path}: the journal cannot be written: {error.strerror}", hint="make room there")


def unfinished(folder: Path) -> tuple[Job, ...]:
    """Jobs that were begun and not ended, the oldest first. Raises SidestepError for a file that is none of ours."""
    found: list[Job] = []
    for path in sorted(folder.glob("*.jsonl")):
        lines = _lines(path)
        if not lines or any(line.step == "end" for line in lines):
            continue
        legs = [
            Leg(line.source, line.target, read(line.slots) if line.slots else (), line.heirs)
            for line in lines
            if line.step == "intent"
        ]
        if legs:
            found.append(Job(id=path.stem, legs=tuple(legs), why=lines[0].why, at=lines[0].at))
    return tuple(found)


def _lines(path: Path) -> list[Line]:
    try:
        raw = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SidestepError(f"{path}: cannot be read: {error.strerror}") from error
    found: list[Line] = []
    for number, text in enumerate(raw, 1):
        try:
            if text:
                found.append(msgspec.json.decode(text, type=Line))
        except msgspec.DecodeError as error:
            if number < len(raw) and not _torn(raw, number):
                raise SidestepError(f"{path}:{number}: not a line of this journal: {error}") from error
    return found


def _torn(raw: Sequence[bytes], number: int) -> bool:
    """Whether that line was the last one when we were killed: what follows it is a new beginning, or nothing."""
    rest = [text for text in raw[number:] if text]
    return not rest or b'"recover"' in rest[0]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else moves slots by this folder meanwhile. Raises SidestepError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SidestepError("another sidestep moves slots now", hint="wait until it is done") from None
        yield
    finally:
        os.close(handle)
