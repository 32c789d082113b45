"""What the worker does with rows: learn, forecast, and answer with what is to be served.

All series are rows: six of every host, host by host, then four of every shard. The model is
a core of arrays; what stands beside it is in ``beside``.
"""

from __future__ import annotations

import time as clocks
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting import wire
from sidestep.forecasting.beside import Beside
from sidestep.forecasting.calibrate import ladder
from sidestep.forecasting.cores import Core, PeakCore
from sidestep.forecasting.dense import core_of
from sidestep.forecasting.horizon import grid_step, knots_of, steps_ahead
from sidestep.forecasting.odds import peaks_of, raised
from sidestep.forecasting.panel import Laid, Panel
from sidestep.forecasting.recent import matrix, series_of, vector

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

#: seconds of the processor that learning the past may take, and the series and steps that it is timed with
PRIMING: Final = 2.2
#: numbers that a model is asked for at once
AT_ONCE: Final = 1 << 21
#: so many numbers are always learned; a step costs as much as so many of them, however few series there are
SMALL: Final = 400_000
STEP_COSTS: Final = 280
_TRIAL: Final = 4000
_TRIALS: Final = 6
#: a core that has seen little is faster than it will be, and so is one that fits the processor's cache
_SLOWER: Final = 1.2
#: but so many steps are learned that a forecast counts, unless it takes more than these to count
_AT_LEAST: Final = 40


class Service:
    """The configured model over one panel of hosts and shards, and what is kept beside it."""

    def __init__(self, spec: OracleSpec, horizon: float) -> None:
        """Raises UsageError for a model that does not exist."""
        self.spec = spec
        self.step = grid_step(spec, horizon, 0.0)
        self.steps = steps_ahead(horizon, self.step)
        self.names = wire.Names()
        self._season = spec.season / self.step if spec.season > 0 else 0.0
        self._core = self._made(0)
        self._panel = Panel(self.step)
        self._beside = Beside(
            spec.model, horizon, self.step, self.steps, self._season, peaks=isinstance(self._core, PeakCore)
        )
        self._knots = knots_of(np.asarray(getattr(self._core, "horizons", ladder(self.steps))), self.steps)
        #: steps ahead and levels of what was found: those that are answered, and those that are scored
        self._ahead = np.union1d(self._knots, self._beside.ledger.horizons)
        self._levels = _union(LEVELS, self._beside.ledger.levels)
        self._found: F32 | None = None
        self._peaks: F32 = np.zeros((0, 0, 0), np.float32)
        self._version = 0
        #: the newest answer's row, and the version that it brought
        self._answered = (-1, -1)
        self._expected = np.zeros(0, np.float32)
        self._last = np.zeros(0, np.float32)
        self._valid = np.zeros(0, np.float32)

    # -- learning

    def learn(self, row: wire.Row) -> None:
        """Add a row to the panel. Raises ProtocolError if its arrays do not fit its names."""
        if row.names is not None:
            self._align(row.names)
        closed = self._panel.add(row.time, vector(row, self.names))
        end = self._panel.closed_at
        for back, step in zip(range(len(closed) - 1, -1, -1), closed, strict=True):
            self._learn_step(step.astype(np.float32), end - back * self.step, newest=not back)

    def prime(self, past: wire.Past) -> int:
        """Learn the newest of the past, as much as there is time for; how many steps.

        Raises ProtocolError if its arrays do not fit, ValueError if late.
        """
        values = matrix(past)
        times = np.frombuffer(past.times, "<f8")
        if not len(times):
            return 0
        self._align(past.names)
        laid = self._panel.prime(past.step, times, values)
        count = min(laid.bins, self._affordable(laid))
        rows = [row.copy() for row in laid.rows(count)]
        del values, laid  # most of it may be more than there is time for
        for row in rows:
            self._core.observe(row)
            self._beside.past(row)
            self._count(row)
        self._found = None
        return count

    def know(self, request: wire.Know) -> wire.Done:
        """Take occasions in place of those known before."""
        self._beside.know(request)
        self._found = None
        return wire.Done(self._beside.guard.notes())

    def learned(self) -> wire.Learned:
        """What occasions do to demand, for a worker that comes after this one."""
        return wire.Learned(self._beside.learned())

    def adopt(self, request: wire.Adopt) -> wire.Done:
        """Take champions and their curves in place of those before."""
        refused = self._beside.adopt(request.adoption, self._core)
        self._found = None
        return wire.Done((*refused, *self._beside.guard.notes()))

    def scores(self) -> wire.Scored:
        """The account of every series, as of the newest step."""
        return wire.Scored(self._beside.board(self._panel.closed_at))

    def _made(self, series: int) -> Core:
        return core_of(self.spec.model, self._season, self.steps, series)

    def _affordable(self, laid: Laid) -> int:
        """How many steps can be learned in the time that there is: a few are, in a core that is thrown away."""
        series = self.names.series
        if laid.bins * (series + STEP_COSTS) <= SMALL:
            return laid.bins
        small = min(series, _TRIAL)
        core, spent = self._made(small), []
        for row in laid.rows(_TRIALS):
            begin = clocks.process_time()
            core.observe(row[:small])
            spent.append(clocks.process_time() - begin)
        # the first one loads what is loaded once
        each = float(np.median(spent[1:] or spent)) * series / small * _SLOWER
        fits = int(PRIMING / max(each * (_SLOWER if series > small else 1.0), 1e-9))
        return max(1, min(self.spec.min_steps, _AT_LEAST), fits)

    def _align(self, names: wire.Names) -> None:
        empty = not self._panel.names
        rows = self._panel.align(series_of(names))
        before, self.names = self.names, names
        known = {name: at for at, name in enumerate(before.hosts)}
        kept = np.array([known.get(name, -1) for name in names.hosts], dtype=np.int64)
        self._beside.align(names, rows, kept)
        if rows is None:
            return
        if empty:
            self._core = self._made(len(rows))
        else:
            self._core.select(rows)
        self._valid = _taken(self._valid, kept, 0.0)
        self._last = _taken(self._last, rows, np.nan)
        self._expected = _taken(self._expected, rows, np.nan)
        self._found = None

    def _learn_step(self, values: F32, time: float, *, newest: bool) -> None:
        """One whole step of the grid: it settles what was said about it, and the model learns it."""
        self._beside.came(time, values, self._expected)
        self._found = None  # as large as all that learning takes meanwhile
        self._core.observe(values)
        self._count(values)
        # A hole of many steps is not forecast from within: what would have been said there is not scored.
        if newest:
            self._say(time)
        else:
            self._expected = np.full_like(self._expected, np.nan)
        self._beside.settle(values, self._last, self._found, self._ahead, self._levels)
        self._beside.settle_peaks(values, self._core, newest=newest)

    def _count(self, values: F32) -> None:
        known = np.isfinite(values)
        self._valid += known[self._beside.cpu]
        self._last = np.where(known, values, self._last)

    # -- saying

    def _say(self, time: float) -> None:
        """Forecast from what is known now, for the answer and for the accounts alike."""
        found = self._forecast()
        # the model's own, before anything else is put on it
        self._expected = found[:, 0, self._levels.index(0.5)].copy()
        self._beside.lift(found, time, self._ahead, self._levels)
        self._found = found
        windows, hosts = self._beside.contentions.windows, len(self.names.hosts)
        none = np.zeros((0, 0, 0), np.float32)
        peaks = self._beside.guard.run("peaks", lambda: peaks_of(self._core, windows, LEVELS, hosts), none)
        columns = [self._levels.index(level) for level in LEVELS]
        self._peaks = raised(self._beside.lift_peaks(peaks), windows, found, self._ahead, columns)
        self._version += 1

    def _forecast(self) -> F32:
        """(S, A, L), a few steps ahead at a time: of a large fleet all at once would be the largest thing in memory."""
        series, ahead, levels = self.names.series, self._ahead, self._levels
        if getattr(self._core, "in_parts", False):
            return np.asarray(self._core.forecast(ahead, levels), np.float32)
        found = np.empty((series, len(ahead), len(levels)), np.float32)
        some = max(1, AT_ONCE // max(1, series * len(levels)))
        for begin in range(0, len(ahead), some):
            found[:, begin : begin + some] = self._core.forecast(ahead[begin : begin + some], levels)
        return found

    def answer(self, ask: wire.Ask) -> wire.Answer:
        """Learn the rows and forecast. Raises ProtocolError if a row does not fit its names."""
        if not ask.rows:
            raise ProtocolError("the oracle was asked about no row")
        for row in ask.rows:
            self.learn(row)
        number, time, beside = ask.rows[-1].number, self._panel.closed_at, self._beside
        levels = _union(LEVELS, ask.levels, beside.ledger.levels)
        if self._found is None or levels != self._levels:
            self._levels = levels
            self._say(time)
        assert self._found is not None
        fallback = beside.judge()
        chances = beside.chances(ask, self._found, self._peaks, self._ahead, self.steps, self._levels)
        reactive = beside.reactive()
        same = not fallback and self._answered == (ask.have, self._version)
        self._answered = (number, -1 if fallback else self._version)
        curves, peaks = (wire.EMPTY, wire.EMPTY), wire.EMPTY
        if not same and not fallback:
            curves, peaks = self._curves(ask.levels), wire.to_view(self._peaks)
        return wire.Answer(
            number=number,
            model="persistence" if fallback else self.spec.model,
            confidence=self._confidence(),
            fallback=fallback,
            steps=self.steps,
            knots=tuple(self._knots.tolist()),
            same=same,
            hosts=curves[0],
            shards=curves[1],
            windows=beside.contentions.windows if len(self._peaks) else (),
            peaks=peaks,
            chance=wire.to_bytes(chances.chance) if chances else b"",
            proven=chances.proven.astype(np.uint8).tobytes() if chances else b"",
            reactive=reactive.astype(np.uint8).tobytes() if reactive is not None else b"",
            accounts=beside.accounts(),
            served=beside.served(time),
            notes=beside.guard.notes(),
        )

    def _curves(self, levels: tuple[float, ...]) -> tuple[memoryview, memoryview]:
        """Of hosts and of shards, at the knots."""
        assert self._found is not None
        columns = [self._levels.index(level) for level in levels]
        knots = np.searchsorted(self._ahead, self._knots)
        chosen = self._found
        if len(knots) != chosen.shape[1]:
            chosen = chosen[:, knots]
        if len(columns) != chosen.shape[2]:
            chosen = picked(chosen, columns)
        count = len(self.names.hosts) * wire.HOST_WIDTH
        return wire.to_view(chosen[:count]), wire.to_view(chosen[count:])

    def _confidence(self) -> str:
        """ "ok" once half of the hosts have enough valid steps."""
        enough = len(self._valid) > 0 and float(np.median(self._valid)) >= self.spec.min_steps
        return "ok" if enough else "insufficient"


def _union(*levels: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted({0.5, *(level for each in levels for level in each)}))


def picked(values: F32, columns: list[int]) -> F32:
    """Some of the last axis, copied in runs: several times faster than an index of columns."""
    found = np.empty((*values.shape[:-1], len(columns)), values.dtype)
    begin = 0
    for end in range(1, len(columns) + 1):
        if end == len(columns) or columns[end] != columns[end - 1] + 1:
            found[..., begin:end] = values[..., columns[begin] : columns[end - 1] + 1]
            begin = end
    return found


def _taken(values: F32, rows: I64, fresh: float) -> F32:
    """``values`` by rows, ``fresh`` for new ones."""
    return np.append(values, np.float32(fresh))[rows]
