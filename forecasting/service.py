"""What the worker does with rows: learn, forecast, keep account, and choose what to serve.

All series are rows: six of every host, host by host, then four of every shard. The model is
a core of arrays; calendar, accounts, champions and chances stand beside it, and one that
fails is left out of the answer, which is said once.
"""

from __future__ import annotations

import time as clocks
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import OracleSpec
from sidestep.fleet.resources import CPU, PLANNED
from sidestep.forecasting import wire
from sidestep.forecasting.accounting import Ledger
from sidestep.forecasting.calendar import Calendar
from sidestep.forecasting.calibrate import ladder
from sidestep.forecasting.champions import Champions
from sidestep.forecasting.cores import Core
from sidestep.forecasting.dense import core_of
from sidestep.forecasting.guard import Guard
from sidestep.forecasting.horizon import grid_step, knots_of, steps_ahead
from sidestep.forecasting.odds import Chances, Contentions, peaks_of, planned
from sidestep.forecasting.panel import Laid, Panel
from sidestep.forecasting.recent import matrix, series_of, vector

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

#: persistence is served below the first skill, and the model again above the second
WORSE: Final = -0.15
BETTER: Final = -0.02
#: over how many steps the farthest horizon must have been scored before skill decides anything: a model
#: that waits for its first season, or for a ramp to end, is not judged on half a story
ENOUGH: Final = 120.0
#: seconds that learning the past may take, and the series and steps that it is timed with
PRIMING: Final = 2.5
_TRIAL: Final = 4000
_TRIALS: Final = 8


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
        self._guard = Guard()
        self._ledger = Ledger(0, self.steps)
        self._calendar = Calendar(self.step)
        self._champions = Champions(horizon)
        self._contentions = Contentions(self.steps)
        self._knots = knots_of(np.asarray(getattr(self._core, "horizons", ladder(self.steps))), self.steps)
        #: steps ahead and levels of what was found: those that are answered, and those that are scored
        self._ahead = np.union1d(self._knots, self._ledger.horizons)
        self._levels = _union(LEVELS, self._ledger.levels)
        self._found: F32 | None = None
        self._peaks: F32 = np.zeros((0, 0, 0), np.float32)
        self._version = 0
        #: the newest answer's row, and the version that it brought
        self._answered = (-1, -1)
        self._expected = np.zeros(0, np.float32)
        self._last = np.zeros(0, np.float32)
        self._valid = np.zeros(0, np.float32)
        self._demoted = False

    # -- learning

    def learn(self, row: wire.Row) -> None:
        """Add a row to the panel. Raises ProtocolError if its arrays do not fit its names."""
        if row.names is not None:
            self._align(row.names)
        values = vector(row, self.names)
        closed = self._panel.add(row.time, values)
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
        cpu = self._cpu()
        for row in laid.rows(count):
            self._core.observe(row)
            known = np.isfinite(row)
            self._last[known] = row[known]
            self._valid += known[cpu]
        self._found = None
        return count

    def _affordable(self, laid: Laid) -> int:
        """How many steps can be learned in the time that there is: a few are, in a core that is thrown away."""
        series = self.names.series
        small = min(series, _TRIAL)
        core, rows = self._made(small), list(laid.rows(_TRIALS))
        begin = clocks.monotonic()
        for row in rows:
            core.observe(row[:small])
        spent = (clocks.monotonic() - begin) * series / max(1, small)
        return max(1, int(PRIMING * len(rows) / max(spent, 1e-9)))

    def know(self, request: wire.Know) -> wire.Done:
        """Take occasions in place of those known before."""
        self._guard.run("calendar", lambda: self._calendar.know(request.occasions), None)
        self._found = None
        return wire.Done(self._guard.notes())

    def adopt(self, request: wire.Adopt) -> wire.Done:
        """Take champions and their curves in place of those before."""
        adoption = request.adoption
        self._guard.run("trainer's curves", lambda: self._champions.adopt(adoption, self.names), None)
        retune = getattr(self._core, "adopt", None)
        if adoption.weights and retune is not None:
            self._guard.run("trainer's weights", lambda: retune(adoption.weights), None)
        self._found = None
        return wire.Done(self._guard.notes())

    def _made(self, series: int) -> Core:
        return core_of(self.spec.model, self._season, self.steps, series)

    def _align(self, names: wire.Names) -> None:
        empty = not self._panel.names
        rows = self._panel.align(series_of(names))
        before, self.names = self.names, names
        self._guard.run("calendar", lambda: self._calendar.align(names.hosts, names.shards, names.apps), None)
        if rows is None:
            return
        if empty:
            self._core = self._made(len(rows))
        else:
            self._core.select(rows)
        known = {name: at for at, name in enumerate(before.hosts)}
        kept = np.array([known.get(name, -1) for name in names.hosts], dtype=np.int64)
        self._valid = _taken(self._valid, kept, 0.0)
        self._last = _taken(self._last, rows, np.nan)
        self._expected = _taken(self._expected, rows, np.nan)
        self._guard.run("accounts", lambda: self._ledger.select(rows), None)
        self._guard.run("chances", lambda: self._contentions.align(kept), None)
        self._guard.run("trainer's curves", lambda: self._champions.align(names), None)
        self._found = None

    def _learn_step(self, values: F32, time: float, *, newest: bool) -> None:
        """One whole step of the grid: it settles what was said about it, and the model learns it."""
        self._guard.run("calendar", lambda: self._calendar.observe(time, values, self._expected), None)
        self._guard.run("chances", lambda: self._contentions.settle(values), None)
        self._core.observe(values)
        known = np.isfinite(values)
        self._valid += known[self._cpu()]
        self._last = np.where(known, values, self._last)
        # A hole of many steps is not forecast from within: what would have been said there is not scored.
        if newest:
            self._say(time)
        else:
            self._found, self._expected = None, np.full_like(self._expected, np.nan)
        self._guard.run("accounts", lambda: self._settle(values), None)

    def _settle(self, truth: F32) -> None:
        ledger = self._ledger
        plain = np.broadcast_to(self._last[:, None], (len(truth), len(ledger.horizons)))
        said = np.full((*plain.shape, len(ledger.levels)), np.nan, np.float32)
        if self._found is not None:
            ahead, columns = np.searchsorted(self._ahead, ledger.horizons), self._columns(ledger.levels)
            for at in np.flatnonzero(ledger.wants()):
                said[:, at] = self._found[:, ahead[at]][:, columns]
        ledger.settle(truth, said, plain)

    # -- saying

    def _say(self, time: float) -> None:
        """Forecast from what is known now, for the answer and for the accounts alike."""
        found = self._core.forecast(self._ahead, self._levels).astype(np.float32)
        # the model's own, before anything else is put on it
        self._expected = found[:, 0, self._levels.index(0.5)].copy()
        self._guard.run("calendar", lambda: self._uplift(found, time), None)
        step, ahead, levels = self.step, self._ahead, self._levels
        self._guard.run("trainer's curves", lambda: self._champions.apply(found, time, step, ahead, levels), None)
        self._found = found
        hosts = len(self.names.hosts)
        none = np.zeros((0, 0, 0), np.float32)
        self._peaks = self._guard.run(
            "peaks", lambda: peaks_of(self._core, self._contentions.windows, LEVELS, hosts), none
        )
        self._version += 1

    def _uplift(self, found: F32, time: float) -> None:
        uplift = self._calendar.uplift(time, self._ahead)
        if uplift is None:
            return
        own = found[uplift.rows]
        middle = own[:, :, self._levels.index(0.5), None]
        # independent errors add in squares, each side on its own
        z = np.array([NormalDist().inv_cdf(level) for level in self._levels])
        away = np.hypot(own - middle, z * uplift.spread[:, :, None])
        found[uplift.rows] = np.maximum(middle + uplift.mean[:, :, None] + np.sign(z) * away, 0.0)

    def answer(self, ask: wire.Ask) -> wire.Answer:
        """Learn the rows and forecast. Raises ProtocolError if a row does not fit its names."""
        for row in ask.rows:
            self.learn(row)
        if not ask.rows:
            raise ProtocolError("the oracle was asked about no row")
        number = ask.rows[-1].number
        levels = _union(ask.levels, self._ledger.levels)
        time = self._panel.closed_at
        if self._found is None or levels != self._levels:
            self._levels = levels
            self._say(time)
        fallback = self._judge()
        hosts = len(self.names.hosts)
        chances = self._chances(ask, hosts)
        reactive = self._guard.run("accounts", lambda: self._reactive(chances), None)
        same = not fallback and self._answered == (ask.have, self._version)
        self._answered = (number, -1 if fallback else self._version)
        curves, peaks = (b"", b""), b""
        if not same and not fallback:
            curves, peaks = self._curves(ask.levels), wire.to_bytes(self._peaks)
        cpu = self._cpu()
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
            windows=self._contentions.windows if len(self._peaks) else (),
            peaks=peaks,
            chance=wire.to_bytes(chances.chance) if chances else b"",
            proven=chances.proven.astype(np.uint8).tobytes() if chances else b"",
            reactive=reactive.astype(np.uint8).tobytes() if reactive is not None else b"",
            accounts=self._guard.run("accounts", lambda: self._ledger.fleet(self.spec.model, cpu), ()),
            served=self._guard.run("trainer's curves", lambda: self._champions.served(time), ()),
            notes=self._guard.notes(),
        )

    def _curves(self, levels: tuple[float, ...]) -> tuple[bytes, bytes]:
        """Of hosts and of shards, at the knots."""
        assert self._found is not None
        columns = self._columns(levels)
        knots = np.searchsorted(self._ahead, self._knots)
        chosen = self._found
        if len(knots) != chosen.shape[1]:
            chosen = chosen[:, knots]
        if len(columns) != chosen.shape[2]:
            chosen = picked(chosen, columns)
        count = len(self.names.hosts) * wire.HOST_WIDTH
        return wire.to_bytes(chosen[:count]), wire.to_bytes(chosen[count:])

    def _chances(self, ask: wire.Ask, hosts: int) -> Chances | None:
        if not ask.limits or not hosts:
            return None
        limits = wire.from_bytes(ask.limits, (hosts, PLANNED), "limits")
        return self._guard.run("chances", lambda: self._chance(limits, ask), None)

    def _chance(self, limits: F32, ask: wire.Ask) -> Chances:
        assert self._found is not None
        self._contentions.ask(limits, ask.window, ask.duration)
        own = self._found[: len(limits) * wire.HOST_WIDTH][:, :, self._columns(ask.levels)]
        return self._contentions.say(own, self._peaks, tuple(self._ahead.tolist()), self.steps, ask.levels)

    def _reactive(self, chances: Chances | None) -> NDArray[np.bool_]:
        """(H * PLANNED,) series of which only what is measured counts; never those whose chances are proven."""
        hosts = len(self.names.hosts)
        found = planned(self._ledger.reactive(), hosts)
        return found & ~chances.proven if chances is not None else found

    def _judge(self) -> str:
        """ "" or why persistence is served instead of the model."""
        if self.spec.model == "persistence":
            return ""
        cpu, nothing = self._cpu(), (0.0, float("nan"))
        depth, skill = self._guard.run("accounts", lambda: (self._ledger.depth(cpu), self._ledger.skill(cpu)), nothing)
        if depth < ENOUGH:
            return ""
        self._demoted = skill < (BETTER if self._demoted else WORSE)
        return f"{self.spec.model} is worse than persistence (skill {skill:.2f})" if self._demoted else ""

    def _confidence(self) -> str:
        """ "ok" once half of the hosts have enough valid steps."""
        enough = len(self._valid) > 0 and float(np.median(self._valid)) >= self.spec.min_steps
        return "ok" if enough else "insufficient"

    def scores(self) -> wire.Scored:
        """The account of every series."""
        scores = self._ledger.scores()
        columns = {
            name: wire.to_bytes(getattr(scores, name))
            for name in ("n", "skill", "coverage80", "coverage95", "pinball", "error", "bias")
        }
        return wire.Scored(
            names=self.names,
            step=self.step,
            horizons=tuple(scores.horizons.tolist()),
            columns=columns,
            forecastability=wire.to_bytes(self._ledger.forecastability()),
        )

    def _cpu(self) -> slice:
        """The rows of hosts' cpu."""
        return slice(CPU, len(self.names.hosts) * wire.HOST_WIDTH, wire.HOST_WIDTH)

    def _columns(self, levels: tuple[float, ...]) -> list[int]:
        return [self._levels.index(level) for level in levels]


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
