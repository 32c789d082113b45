"""Protocol 1 of the host sampler: from lines of text to samples, without I/O.

Counters arrive as totals, so a lost or repeated line heals by itself; rates are made here,
with the host's own clock. A counter that goes back gives NaN for one sample, never a rate.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Final

from msgspec import Struct

from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.resources import DIMENSIONS

VERSION: Final = 1
MAX_LINE: Final = 256 * 1024
HOST_TOKENS: Final = 9
SHARD_TOKENS: Final = 5
_HELLO: Final = re.compile(rb"H(\d{1,6}) (\d{1,10}) (\S{1,200}) (\d{1,6}) ([a-z]{1,20})")
_SCHEMA: Final = re.compile(rb"K (\d{1,4}) (-|[A-Za-z0-9._,-]+)")
_VALUES: Final = re.compile(rb"V (\d{1,18}) (\d{1,18})((?: (?:-|\d{1,20}(?:\.\d{1,6})?))*)")
_TROUBLE: Final = re.compile(rb"E ([a-z]{1,20})(?: (.*))?", re.DOTALL)
_NS: Final = 1e9
#: an ended process is counted in ticks where it was waited for: totals may fall by so much
_SLACK: Final = 0.05 * _NS
#: above these a record is wrong, whatever the machine
_MOST_CORES: Final = 1e5
_MOST_BYTES: Final = 2.0**60
_MOST_RATE: Final = 1e13
_MOST_INT: Final = 2.0**63
NAN: Final = math.nan


class ShardSample(Struct, frozen=True):
    """One shard on one host: cores, bytes; ``pid`` 0 when its process is gone; NaN is unknown."""

    shard: Label
    cpu: float
    memory: float
    pid: int
    token: int
    running: bool


class HostSample(Struct, frozen=True):
    """One sample of a host: ``use`` in the order and units of ``resources.DIMENSIONS``.

    ``at`` is the host's monotonic clock in seconds, ``pressure`` PSI some avg10 of cpu,
    memory and io in percent; NaN is unknown.
    """

    host: Label
    seq: int
    at: float
    use: tuple[float, ...]
    pressure: tuple[float, float, float]
    shards: tuple[ShardSample, ...]


class Decoder:
    """Reads the records of one connection, in order. Raises HostError for what is none."""

    def __init__(self, host: str) -> None:
        self._host = scrub(host)
        self._number = 0
        self._greeted = False
        self._shards: tuple[Label, ...] | None = None
        self._seq = -1
        self._at_ms = -1
        self._before: list[float] = []
        self._shards_before: dict[Label, tuple[float, float]] = {}

    def feed(self, line: bytes) -> HostSample | None:
        """Take one line, with or without its newline; the sample if it was one."""
        self._number += 1
        if len(line) > MAX_LINE:
            raise self._wrong(f"line of {len(line)} bytes; at most {MAX_LINE} are allowed", line[:200])
        text = line.removesuffix(b"\n")
        kind = text[:1]
        if kind == b"E":
            self._trouble(text)
        if kind == b"H" or not self._greeted:
            self._hello(text)
        elif kind == b"K":
            self._schema(text)
        elif kind == b"V":
            return self._values(text)
        else:
            raise self._wrong("unknown record", text)
        return None

    def _hello(self, text: bytes) -> None:
        found = _HELLO.fullmatch(text)
        if found is None or self._greeted:
            raise self._wrong("no greeting was expected here" if self._greeted else "not a greeting", text)
        if int(found[1]) != VERSION:
            raise self._wrong(f"protocol version {int(found[1])}; this is version {VERSION}", text)
        self._greeted = True

    def _schema(self, text: bytes) -> None:
        found = _SCHEMA.fullmatch(text)
        if found is None or int(found[1]) != HOST_TOKENS:
            raise self._wrong(f"not a schema of {HOST_TOKENS} host values", text)
        names = [] if found[2] == b"-" else [scrub(name) for name in found[2].split(b",")]
        if any(not name or a >= name for a, name in pairwise(["", *names])):
            raise self._wrong("shard names are not sorted, or one is empty or repeated", text)
        self._shards = tuple(names)

    def _trouble(self, text: bytes) -> None:
        found = _TROUBLE.fullmatch(text)
        if found is None:
            raise self._wrong("not an error record", text)
        raise HostError(
            self._host, "sample", f"the sampler gave up ({scrub(found[1])}): {scrub(found[2] or b'no reason given')}"
        )

    def _values(self, text: bytes) -> HostSample:
        found = _VALUES.fullmatch(text)
        if found is None:
            raise self._wrong("not a record of values", text)
        if self._shards is None:
            raise self._wrong("values before their schema", text)
        seq, at_ms = int(found[1]), int(found[2])
        if seq <= self._seq or at_ms < self._at_ms:
            raise self._wrong(f"out of order: sample {seq} at {at_ms} ms after {self._seq} at {self._at_ms} ms", text)
        tokens = [NAN if token == b"-" else float(token) for token in found[3].split()]
        expected = HOST_TOKENS + SHARD_TOKENS * len(self._shards)
        if len(tokens) != expected:
            raise self._wrong(f"{len(tokens)} values, the schema has {expected}", text)
        seconds = (at_ms - self._at_ms) / 1000 if self._at_ms >= 0 else NAN
        use = self._use(tokens[:HOST_TOKENS], seconds, text)
        pressure = tokens[6], tokens[7], tokens[8]
        if any(p > 100 for p in pressure):
            raise self._wrong("pressure above 100 %", text)
        shards = tuple(
            self._shard(name, tokens[start : start + SHARD_TOKENS], seconds, text)
            for name, start in zip(self._shards, range(HOST_TOKENS, expected, SHARD_TOKENS), strict=True)
        )
        self._seq, self._at_ms, self._before = seq, at_ms, tokens[:HOST_TOKENS]
        self._shards_before = {
            s.shard: (tokens[HOST_TOKENS + SHARD_TOKENS * i + 2], s.pid) for i, s in enumerate(shards)
        }
        return HostSample(self._host, seq, at_ms / 1000, use, pressure, shards)

    def _use(self, now: list[float], seconds: float, text: bytes) -> tuple[float, ...]:
        before = self._before or [NAN] * HOST_TOKENS
        cpu = _rate(before[0], now[0], seconds, _SLACK) / _NS
        rates = [_rate(a, b, seconds, 0.0) for a, b in zip(before[2:6], now[2:6], strict=True)]
        if cpu > _MOST_CORES or now[1] > _MOST_BYTES or any(rate > _MOST_RATE for rate in rates):
            raise self._wrong("absurd value", text)
        use = (cpu, now[1], *rates)
        assert len(use) == len(DIMENSIONS)
        return use

    def _shard(self, name: Label, tokens: list[float], seconds: float, text: bytes) -> ShardSample:
        pid, token, cpu_ns, memory, running = tokens
        if not (pid < _MOST_INT and token < _MOST_INT and running in (0.0, 1.0)) or memory > _MOST_BYTES:
            raise self._wrong(f"absurd value of shard {name}", text)
        before, pid_before = self._shards_before.get(name, (NAN, 0.0))
        cpu = _rate(before, cpu_ns, seconds, _SLACK) / _NS if pid == pid_before else NAN
        if cpu > _MOST_CORES:
            raise self._wrong(f"absurd value of shard {name}", text)
        return ShardSample(name, cpu, memory, int(pid), int(token), running == 1.0)

    def _wrong(self, message: str, text: bytes) -> HostError:
        return HostError(
            self._host,
            "sample",
            f"line {self._number}: {message}",
            tail=text[:400],
            hint="is something writing to the output of non-interactive shells on that host?",
        )


def _rate(before: float, now: float, seconds: float, slack: float) -> float:
    """Growth per second; NaN when unknown, when no time passed, or when the counter was reset."""
    if not seconds > 0 or math.isnan(before) or now < before - slack:
        return NAN
    return max(0.0, now - before) / seconds
