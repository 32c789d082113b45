"""A slow, plain reading of protocol 2, one host and one number at a time: what the panel must agree with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS

NAN = math.nan
SLACK = 50_000.0
Numbers = list[float]


@dataclass
class Shard:
    """A shard's newest numbers."""

    values: Numbers = field(default_factory=lambda: [NAN] * len(SHARD_COLUMNS))
    rates: Numbers = field(default_factory=lambda: [NAN] * len(SHARD_COLUMNS))


@dataclass
class Host:
    """A host's newest numbers; ``line`` takes whole lines that are sound, ``decode`` the newest sample."""

    values: Numbers = field(default_factory=lambda: [NAN] * len(HOST_COLUMNS))
    rates: Numbers = field(default_factory=lambda: [NAN] * len(HOST_COLUMNS))
    shards: dict[str, Shard] = field(default_factory=dict)
    seq: int = -1
    at_ms: int = -1
    gaps: int = 0
    restarts: int = 0
    resets: int = 0
    boot: str = ""
    run_seq: int = -1
    goes_on: bool = False
    names: tuple[str, ...] = ()
    waiting: list[str] = field(default_factory=list)
    count: int = 0

    def line(self, line: str) -> None:
        words = line.split(" ")
        if words[0] == "H2":
            self.waiting = []
            self.restarts += self.boot != ""
            self.goes_on = self.goes_on and words[5] == self.boot != "-"
            self.boot, self.run_seq = words[5], -1
        elif words[0] == "K":
            names = tuple(words[3].split(",")) if words[3] != "-" else ()
            # a run that repeats its own schema changes nothing; here every schema is a new one
            self.waiting, self.names = [], names
        elif words[0] == "V":
            self.waiting.append(line)

    def decode(self) -> None:
        self.shards = {name: self.shards.get(name, Shard()) for name in self.names}
        if not self.waiting:
            return
        arrived, words = len(self.waiting), self.waiting[-1].split(" ")
        self.waiting = []
        seq, at_ms = int(words[1]), int(words[2])
        numbers = [NAN if word == "-" else float(word) for word in words[3:]]
        if self.run_seq >= 0:
            self.gaps += max(0, seq - self.run_seq - arrived)
        seconds = (at_ms - self.at_ms) / 1000 if self.goes_on and at_ms > self.at_ms else NAN
        values, rest = numbers[: len(HOST_COLUMNS)], numbers[len(HOST_COLUMNS) :]
        fell = False
        for column, (name, kind) in enumerate(HOST_COLUMNS):
            rate, reset = _rate(name, kind, self.values[column], values[column], seconds)
            self.rates[column], fell = rate, fell or reset
        self.values = values
        self.resets += fell
        for place, name in enumerate(self.names):
            new = rest[place * len(SHARD_COLUMNS) : (place + 1) * len(SHARD_COLUMNS)]
            old = self.shards[name].values
            passed = seconds if old[:2] == new[:2] else NAN
            rates = [_rate(column, kind, old[i], new[i], passed)[0] for i, (column, kind) in enumerate(SHARD_COLUMNS)]
            self.shards[name] = Shard(new, rates)
        self.seq = self.run_seq = seq
        self.at_ms, self.goes_on = at_ms, True


def _rate(name: str, kind: str, before: float, now: float, seconds: float) -> tuple[float, bool]:
    """The rate of one column, and whether its counter was reset."""
    if kind == "gauge":
        return now, False
    growth = now - before
    if growth < 0:
        if name.startswith("cpu") and growth >= -SLACK:
            growth = 0.0
        else:
            return NAN, not math.isnan(seconds)
    return growth / seconds, False
