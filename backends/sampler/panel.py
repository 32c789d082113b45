"""The newest numbers of all hosts in columns, decoded a fleet at a time.

Intakes leave the newest line of every host; ``decode`` turns all of them into numbers in
whole-array steps. A host whose line is no record is reported and its intake failed; it
changes nothing of its own row and of no other. Single threaded.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidestep.backends.sampler import panel_digits
from sidestep.backends.sampler import panel_rates as rules
from sidestep.backends.sampler.intake import Intake, wrong
from sidestep.backends.sampler.intake_records import Greeting
from sidestep.backends.sampler.panel_shards import ShardRows
from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS
from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label, scrub

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: the kind of record, its number and its time stand before the values
_HEAD: Final = 3
_WIDTH: Final = len(HOST_COLUMNS)
_FIRST: Final = _HEAD + _WIDTH
#: the skew of a host is the median of so many
_SKEWS: Final = 5
#: numbers above are not exact
_MOST_COUNT: Final = 2.0**53
_MOST_GAPS: Final = 1 << 60
#: samples that a host may send: so many a second for ever, and so many at once after its link was held up
_STEADY: Final = 100.0
_BURST: Final = 8192.0


class _Batch(NamedTuple):
    """Records that are sound: rows of hosts, and their numbers."""

    rows: I64
    seq: I64
    at_ms: I64
    hosts: F64
    shards: F64


class Panel:
    """Columns over hosts and shards; read-only for others, and what they hold is of the newest ``decode``.

    ``seen`` is the monotonic ``clock`` at a host's newest sample, -inf before the first; it
    changes as samples arrive, and falls back to that of the sample before if one turns out to be bad.
    ``rates`` are over all that passed since the host's sample decoded before, by its own clock.
    """

    def __init__(self, hosts: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        count = len(hosts)
        self.hosts: tuple[Label, ...] = tuple(scrub(host) for host in hosts)
        self.clock = clock
        self.looks = 0
        # what intakes write to
        self.lines = [b""] * count
        self.arrived = array("q", bytes(8 * count))
        self.heard = array("d", [-np.inf]) * count
        self._blank = [b""] * count
        self._intakes: list[Intake | None] = [None] * count
        self._renamed: dict[int, tuple[Label, ...]] = {}
        # what others read
        self.seen: F64 = np.frombuffer(self.heard, dtype=np.float64)
        self.seq, self.at_ms = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
        self.values, self.rates = np.full((count, _WIDTH), np.nan), np.full((count, _WIDTH), np.nan)
        self.gaps, self.restarts, self.resets = (np.zeros(count, dtype=np.int64) for _ in range(3))
        self.skew = np.full(count, np.nan)
        self.facts: list[Mapping[str, Label]] = [{} for _ in hosts]
        self.tasks: list[tuple[ScheduledTask, ...]] = [() for _ in hosts]
        self.kinds: list[str] = [""] * count
        self._boots = [""] * count
        #: rows whose facts are of the run before
        self._old_facts: set[int] = set()
        # what goes on from record to record
        self._arrived: I64 = np.frombuffer(self.arrived, dtype=np.int64)
        self._taken = np.full(count, -np.inf)
        #: samples that every host may send now
        self._allowance, self._looked = np.full(count, _BURST), clock()
        self._run_seq = np.full(count, -1, dtype=np.int64)
        #: whether counters of before go on
        self._goes_on = np.zeros(count, dtype=np.bool_)
        self._skews = np.full((count, _SKEWS), np.nan)
        self._skew_count = np.zeros(count, dtype=np.int64)
        self._shards = ShardRows(count)

    # -- shards

    @property
    def shard_names(self) -> tuple[Label, ...]:
        """The shard of every row; one may be on several hosts, in the middle of a move."""
        return self._shards.names

    @property
    def shard_host(self) -> NDArray[np.int32]:
        """(S,) row of the host that reported it."""
        return self._shards.host

    @property
    def shard_values(self) -> F64:
        """(S, SHARD_COLUMNS) as reported, NaN until the first sample after its schema."""
        return self._shards.values

    @property
    def shard_rates(self) -> F64:
        """(S, SHARD_COLUMNS) counters per second, gauges as they are."""
        return self._shards.rates

    @property
    def shard_layout(self) -> int:
        """Rises when the rows changed."""
        return self._shards.layout

    # -- what intakes call

    def intake(self, row: int) -> Intake:
        """A receiver for one more sampler run of that host; the one before is ended."""
        before = self._intakes[row]
        new = self._intakes[row] = Intake(self, self.hosts[row], row)
        if before is not None:
            before.fail(HostError(self.hosts[row], "sample", "another sampler of this host took over"))
        return new

    def greeted(self, row: int, greeting: Greeting) -> None:
        """A run began: in the same boot counters go on, in another one they start afresh."""
        self._drop(row)
        same = greeting.boot == self._boots[row] != "-" and greeting.kind == self.kinds[row]
        self.restarts[row] += bool(self._boots[row])
        self._goes_on[row] &= same
        self._run_seq[row] = -1
        self._old_facts.add(row)
        self._boots[row], self.kinds[row] = greeting.boot, greeting.kind

    def schema(self, row: int, names: tuple[Label, ...]) -> None:
        """Lines of a row hold these shards from now on."""
        self._drop(row)
        self._renamed[row] = names

    def told(self, row: int, facts: Mapping[str, Label]) -> None:
        """Newest facts win; the first of a run replace those of the run before."""
        self.facts[row] = facts if row in self._old_facts else {**self.facts[row], **facts}
        self._old_facts.discard(row)

    def scheduled(self, row: int, tasks: tuple[ScheduledTask, ...]) -> None:
        """Newest tasks of a host."""
        self.tasks[row] = tasks

    def _drop(self, row: int) -> None:
        """The line that waits is of before: forget it, a newer one is coming."""
        if self.arrived[row]:
            self.lines[row] = b""
            self.arrived[row] = 0
            self.heard[row] = self._taken[row]

    # -- decode

    def decode(self, now: float) -> tuple[tuple[int, HostError], ...]:
        """Turn everything that arrived into numbers; ``now`` is the controller's unix time. Returns bad hosts."""
        self.looks += 1
        if self._renamed:
            self._shards.rename(self._renamed)
            self._renamed.clear()
        rows = np.flatnonzero(self._arrived)
        if not len(rows):
            return ()
        lines = self.lines.copy()
        text, arrived = b"".join(lines), self._arrived[rows]
        self.lines[:] = self._blank
        self._arrived[:] = 0
        flooding = self._flooding(rows, arrived)
        batch, trouble = self._numbers(text, rows)
        if len(batch.rows) != len(rows):
            arrived = arrived[np.searchsorted(rows, batch.rows)]
        trouble |= self._take(batch, arrived, now)
        trouble |= dict.fromkeys(flooding, "a flood of samples")
        return tuple(self._refuse(row, message, lines[row]) for row, message in sorted(trouble.items()))

    def _flooding(self, rows: I64, arrived: I64) -> list[int]:
        """Rows that sent more than they may: what nobody asked for would take our time from the other hosts."""
        at = self.clock()
        np.minimum(self._allowance + _STEADY * (at - self._looked), _BURST, out=self._allowance)
        self._looked = at
        self._allowance[rows] -= arrived
        flooding = rows[self._allowance[rows] < 0]
        self._allowance[flooding] = 0.0
        return [int(row) for row in flooding]

    def _numbers(self, text: bytes, rows: I64) -> tuple[_Batch, dict[int, str]]:
        """The records that have the form that their schema says, and what is wrong with the others."""
        numbers = panel_digits.read(text)
        shards = self._shards.counts[rows]
        expected = _FIRST + len(SHARD_COLUMNS) * shards
        good = numbers.sound & (numbers.counts == expected)
        trouble: dict[int, str] = {}
        for place in np.flatnonzero(~good).tolist():
            said = f"{numbers.counts[place] - _HEAD} values, the schema has {expected[place] - _HEAD}"
            trouble[int(rows[place])] = said if numbers.sound[place] else "not a record of values"
        values, counts, rows = numbers.values, numbers.counts, rows[good]
        if trouble:
            values, counts = values[np.repeat(good, counts)], counts[good]
        head, hosts, rest = _divided(values, counts)
        exact = np.asarray(((head < _MOST_COUNT) & (head == np.floor(head))).all(axis=1))
        whole = np.where(exact[:, None], head, -1.0).astype(np.int64)
        batch = _Batch(rows, whole[:, 0], whole[:, 1], hosts, rest)
        if exact.all():
            return batch, trouble
        said = "number or time of the record is not a whole number"
        return self._only(batch, exact), {**trouble, **dict.fromkeys(rows[~exact].tolist(), said)}

    def _only(self, batch: _Batch, good: Mask) -> _Batch:
        shards = np.repeat(good, self._shards.counts[batch.rows])
        rows, seq, at_ms, hosts, rest = batch
        return _Batch(rows[good], seq[good], at_ms[good], hosts[good], rest[shards])

    def _take(self, batch: _Batch, arrived: I64, now: float) -> dict[int, str]:
        """Take the records that are true as far as can be known; what is wrong with the others."""
        rows = batch.rows
        first = self._run_seq[rows] < 0
        order = first | ((batch.seq > self._run_seq[rows]) & (batch.at_ms >= self.at_ms[rows]))
        passed = batch.at_ms - self.at_ms[rows]
        seconds = np.where(self._goes_on[rows] & (passed > 0), passed / 1e3, np.nan)
        rate, reset = rules.rates(self.values[rows], batch.hosts, seconds, rules.HOST_COUNTERS, rules.HOST_SLACK)
        true = ~rules.absurd_hosts(batch.hosts, rate)
        places, of = self._shards.rows(rows)
        shard_rate = self._shard_rates(batch.shards, places, seconds[of])
        bad_shards = rules.absurd_shards(batch.shards, shard_rate)
        if bad_shards.any():
            true[of[bad_shards]] = False
        good = order & true
        if not good.all():
            kept = good[of]
            trouble = self._untrue(batch, order, good)
            batch, places, shard_rate = self._only(batch, good), places[kept], shard_rate[kept]
            first, reset, rate, arrived, rows = first[good], reset[good], rate[good], arrived[good], rows[good]
        else:
            trouble = {}
        missing = np.where(first, 0, batch.seq - self._run_seq[rows] - arrived)
        self.gaps[rows] = np.minimum(self.gaps[rows] + np.maximum(missing, 0), _MOST_GAPS)
        self.resets[rows] += reset
        self.seq[rows] = self._run_seq[rows] = batch.seq
        self.at_ms[rows] = batch.at_ms
        self.values[rows], self.rates[rows] = batch.hosts, rate
        self._shards.values[places], self._shards.rates[places] = batch.shards, shard_rate
        self._goes_on[rows] = True
        self._taken[rows] = self.seen[rows]
        self._compare_clocks(rows, batch.hosts[:, rules.WALL], now)
        return trouble

    def _shard_rates(self, values: F64, places: I64, seconds: F64) -> F64:
        """Rates of shards; a shard that was started again has none across its two processes."""
        if not len(places):
            return np.empty((0, len(SHARD_COLUMNS)))
        before = self._shards.values[places]
        same = (before[:, :2] == values[:, :2]).all(axis=1)
        seconds = np.where(same, seconds, np.nan)
        return rules.rates(before, values, seconds, rules.SHARD_COUNTERS, rules.SHARD_SLACK)[0]

    def _untrue(self, batch: _Batch, order: Mask, good: Mask) -> dict[int, str]:
        trouble = {}
        for place in np.flatnonzero(~good):
            row = int(batch.rows[place])
            trouble[row] = "absurd value" if order[place] else (
                f"out of order: sample {batch.seq[place]} at {batch.at_ms[place]} ms"
                f" after {self._run_seq[row]} at {self.at_ms[row]} ms"
            )  # fmt: skip
        return trouble

    def _compare_clocks(self, rows: I64, wall_ms: F64, now: float) -> None:
        """Keep how far each host's clock was ahead of ours when its sample arrived, and the median of the last."""
        known = np.flatnonzero(~np.isnan(wall_ms))
        rows = rows[known]
        arrival = now - (self.clock() - self.seen[rows])
        self._skews[rows, self._skew_count[rows] % _SKEWS] = wall_ms[known] / 1e3 - arrival
        self._skew_count[rows] += 1
        last = np.sort(self._skews[rows], axis=1)
        count = np.minimum(self._skew_count[rows], _SKEWS)
        each = np.arange(len(rows))
        self.skew[rows] = (last[each, (count - 1) // 2] + last[each, count // 2]) / 2

    def _refuse(self, row: int, message: str, line: bytes) -> tuple[int, HostError]:
        intake = self._intakes[row]
        error = wrong(self.hosts[row], intake.number if intake else 0, message, line.removesuffix(b"\n"))
        self.heard[row] = self._taken[row]
        if intake is not None:
            intake.fail(error)
        return row, error


def _divided(values: F64, counts: I64) -> tuple[F64, F64, F64]:
    """Of records of so many numbers each: (n, 2) number and time, (n, HOST_COLUMNS) and (all, SHARD_COLUMNS)."""
    width = int(counts[0]) if len(counts) else _FIRST
    if (counts == width).all():
        whole = values.reshape(len(counts), width)
        rest = whole[:, _FIRST:]
    else:
        starts = np.cumsum(counts) - counts
        whole = values[starts[:, None] + np.arange(_FIRST)]
        rest = values[np.arange(len(values)) - np.repeat(starts, counts) >= _FIRST]
    return whole[:, 1:_HEAD], whole[:, _HEAD:_FIRST], rest.reshape(-1, len(SHARD_COLUMNS))
