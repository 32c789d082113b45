"""What one run of a sampler says, straight from where it arrives: frames lines, keeps the newest sample.

The rare records are read at once. Samples are not: the newest line waits in the panel, which
decodes a whole fleet together. A host can hold one line there and one unfinished line here, so
its bytes are bounded however much it talks.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from sidestep.backends.sampler import intake_records as records
from sidestep.backends.sampler.intake_records import Greeting
from sidestep.backends.sampler.protocol import MAX_LINE
from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label

#: lines that a host's shell may print before the sampler speaks; the next one counts as its own
NOISE: Final = 64
#: of standard error, the last part is kept
MAX_STDERR: Final = 16 << 10
#: work between two decodes: for every line so much and for every byte of a rare record one, or it is a flood
LINE_COST: Final = 256
MOST_WORK: Final = 4 << 20
#: how much of an offending line an error shows
TAIL: Final = 400
HINT: Final = "is something writing to the output of non-interactive shells on that host?"


class Desk(Protocol):
    """Where intakes leave what they read: the panel, which holds a row for every host."""

    clock: Callable[[], float]
    #: how often it has decoded
    looks: int
    #: newest line of every row, b"" when it is decoded, and how many arrived since
    lines: list[bytes]
    arrived: array[int]
    #: when the newest one arrived
    heard: array[float]

    def greeted(self, row: int, greeting: Greeting) -> None:
        """A sampler run began."""

    def schema(self, row: int, names: tuple[Label, ...]) -> None:
        """From now on its lines hold these shards."""

    def told(self, row: int, facts: Mapping[str, Label]) -> None:
        """Facts of the host."""

    def scheduled(self, row: int, tasks: tuple[ScheduledTask, ...]) -> None:
        """Tasks of the host."""


class Intake:
    """Implements ``Receiver`` for one sampler run of one host; made by ``Panel.intake``."""

    __slots__ = (
        "_desk",
        "_ended",
        "_error",
        "_finished",
        "_greeting",
        "_host",
        "_lines",
        "_looks",
        "_named",
        "_number",
        "_plain",
        "_row",
        "_schema",
        "_tail",
        "_work",
        "stderr",
    )

    def __init__(self, desk: Desk, host: str, row: int) -> None:
        self._desk, self._host, self._row = desk, host, row
        self._lines = desk.lines
        #: whether a chunk may be one whole sample: a schema is known and no line is unfinished
        self._plain = False
        self._tail = bytearray()
        self._number = 0
        self._looks = self._work = 0
        self._greeting: Greeting | None = None
        self._schema: bytes | None = None
        self._error: HostError | None = None
        self._finished = False
        #: what those who wait for the greeting, and for the end, share; made when somebody does
        self._named: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self.stderr = b""

    # -- Receiver

    def data(self, data: bytes) -> None:
        """Take bytes of standard output, in order, cut anywhere. Never raises; bad ones fail the intake."""
        if self._plain and data.startswith(b"V ") and data.find(b"\n") + 1 == len(data) <= MAX_LINE:
            desk, row = self._desk, self._row
            self._lines[row] = data
            desk.arrived[row] += 1
            desk.heard[row] = desk.clock()
            self._number += 1
        elif not self._finished:
            self._any(data)

    def end(self, error: HostError | None, stderr: bytes) -> None:
        """Take how the stream ended; None when the sampler ended by itself."""
        self.stderr = stderr[-MAX_STDERR:]
        if error is None and self._greeting is None:
            error = HostError(self._host, "sample", "the command ended without a word of the sampler", tail=stderr)
        self._finish(error)

    # -- who follows

    async def begun(self) -> bool:
        """Wait for the greeting: True when it came, False when the stream ended or failed without one."""
        if self._greeting is None and not self._finished:
            self._named = self._named or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._named)
        return self._greeting is not None

    async def ended(self) -> None:
        """Return when the sampler ended by itself. Raises HostError or HostUnreachable when it ended otherwise."""
        if not self._finished:
            self._ended = self._ended or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)
        if self._error is not None:
            raise self._error

    def fail(self, error: HostError) -> None:
        """End it here: nothing more is taken. The first error stays."""
        self._finish(error)

    @property
    def error(self) -> HostError | None:
        """Why it failed, if it did."""
        return self._error

    @property
    def number(self) -> int:
        """The number of the newest line, from 1."""
        return self._number

    # -- lines

    def _finish(self, error: HostError | None) -> None:
        if self._finished:
            return
        self._finished, self._plain, self._error = True, False, error
        self._tail = bytearray()
        _wake(self._named)
        _wake(self._ended)

    def _any(self, data: bytes) -> None:
        """Take bytes that are not just one sample."""
        self._plain = False
        tail = self._tail
        if b"\n" not in data:
            tail += data
        else:
            lines = data.split(b"\n")
            if tail:
                lines[0] = bytes(tail) + lines[0]
            self._tail = tail = bytearray(lines.pop())
            for line in lines:
                self._number += 1
                self._line(line)
                if self._finished:
                    return
        if len(tail) >= MAX_LINE:
            self._number += 1
            self._wrong(f"line of more than {MAX_LINE} bytes", bytes(tail[:TAIL]))
        self._plain = self._schema is not None and not self._tail and not self._finished

    def _line(self, line: bytes) -> None:
        if len(line) >= MAX_LINE:
            self._wrong(f"line of more than {MAX_LINE} bytes", line)
            return
        try:
            self._spend(LINE_COST if line.startswith(b"V ") else LINE_COST + len(line))
            if self._greeting is None:
                self._before(line)
            elif line.startswith(b"V "):
                self._sample(line)
            else:
                self._rare(line)
        except ValueError as error:
            self._wrong(str(error), line)

    def _spend(self, work: int) -> None:
        """Bound what a host's lines may cost us: tiny ones without end would keep everybody waiting."""
        if self._looks != self._desk.looks:
            self._looks, self._work = self._desk.looks, 0
        self._work += work
        if self._work > MOST_WORK:
            raise ValueError("a flood of lines")

    def _before(self, line: bytes) -> None:
        """Lines until the greeting; a shell may say something first."""
        if not records.speaks(line):
            if self._number > NOISE:
                raise ValueError(f"not a greeting, after {NOISE} lines that were none")
        elif line[:1] == b"E":
            self._trouble(line)
        else:
            self._greeting = records.greeting(line)
            self._desk.greeted(self._row, self._greeting)
            _wake(self._named)
            self._named = None

    def _sample(self, line: bytes) -> None:
        if self._schema is None:
            raise ValueError("values before their schema")
        desk, row = self._desk, self._row
        self._lines[row] = line + b"\n"
        desk.arrived[row] += 1
        desk.heard[row] = desk.clock()

    def _rare(self, line: bytes) -> None:
        kind = line[:1]
        if kind == b"K":
            if line != self._schema:
                self._desk.schema(self._row, records.schema(line))
                self._schema = line
        elif kind == b"F":
            self._desk.told(self._row, records.facts(line))
        elif kind == b"T":
            self._desk.scheduled(self._row, records.tasks(line))
        elif kind == b"E":
            self._trouble(line)
        else:
            raise ValueError("no greeting was expected here" if records.speaks(line) else "unknown record")

    def _trouble(self, line: bytes) -> None:
        self._finish(HostError(self._host, "sample", records.trouble(line)))

    def _wrong(self, message: str, line: bytes) -> None:
        self._finish(wrong(self._host, self._number, message, line))


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def wrong(host: str, number: int, message: str, line: bytes) -> HostError:
    """The error for a line that is no record."""
    return HostError(host, "sample", f"line {number}: {message}", tail=line[:TAIL], hint=HINT)
