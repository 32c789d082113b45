"""What stands beside the model in the worker: calendar, champions, accounts and chances, each on its own.

The model's forecast goes through them and they learn from what came. One that fails is left
out from then on: the answer goes out without it, and says so once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.accuracy import AccuracyBoard
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.forecast_types import Account
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import CPU, PLANNED
from sidestep.forecasting import wire
from sidestep.forecasting.accounting import Ledger, PeakLedger
from sidestep.forecasting.accounting.board import board
from sidestep.forecasting.calendar import Calendar, Uplift
from sidestep.forecasting.champions import Champions
from sidestep.forecasting.cores import Core, PeakCore
from sidestep.forecasting.guard import Guard
from sidestep.forecasting.odds import Chances, Contentions, planned
from sidestep.forecasting.training.messages import Adoption

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: persistence is served below the first skill, and the model again above the second
WORSE: Final = -0.15
BETTER: Final = -0.02
#: over how many steps the farthest horizon must have been scored before skill decides anything: a model
#: that waits for its first season, or for a ramp to end, is not judged on half a story
ENOUGH: Final = 120.0
_CALENDAR, _CURVES, _WEIGHTS = "calendar", "trainer's curves", "trainer's weights"
_ACCOUNTS, _PEAKS, _CHANCES = "accounts", "accounts of peaks", "chances"


class Beside:
    """The parts of one panel; rows are hosts' series, then shards'. ``horizon`` and ``step`` are seconds."""

    def __init__(self, model: str, horizon: float, step: float, steps: int, season: float, *, peaks: bool) -> None:
        self.guard = Guard()
        self.contentions = Contentions(steps, season)
        self.ledger = Ledger(0, steps)
        self._peaks = PeakLedger(0, self.contentions.windows) if peaks else None
        self._model, self._step = model, step
        self._names = wire.Names()
        self._calendar = Calendar(step)
        #: what it put on the newest forecast, and at which steps ahead
        self._lifted: tuple[Uplift, I64] | None = None
        #: the host of each shard
        self._homes: dict[str, str] = {}
        self._champions = Champions(horizon)
        self._foreseen: Flags = np.zeros(0, np.bool_)
        self._demoted = False

    @property
    def cpu(self) -> slice:
        """The rows of hosts' cpu."""
        return slice(CPU, len(self._names.hosts) * wire.HOST_WIDTH, wire.HOST_WIDTH)

    # -- what is told

    def align(self, names: wire.Names, rows: I64 | None, kept: I64) -> None:
        """Take these series from now on; the old row of each (None: all the same), and of each host, -1 for new."""
        self._names = names
        self.guard.run(_CALENDAR, self._align_calendar, None)
        if rows is None:
            return
        self.guard.run(_ACCOUNTS, lambda: self.ledger.select(rows), None)
        own = rows[: len(names.hosts) * wire.HOST_WIDTH]
        if self._peaks is not None:
            peaks = self._peaks
            self.guard.run(_PEAKS, lambda: peaks.select(own), None)
        self.guard.run(_CHANCES, lambda: self.contentions.align(kept), None)
        self.guard.run(_CURVES, lambda: self._champions.align(names), None)
        self._foreseen = np.zeros(len(rows), np.bool_)

    def know(self, request: wire.Know) -> None:
        """Take occasions in place of those known before, where shards are, and what another worker learned."""
        self.guard.run(_CALENDAR, lambda: self._know(request), None)

    def _know(self, request: wire.Know) -> None:
        self._homes = request.homes
        if request.learned:
            # what cannot be read, or was learned at another step, is learned anew
            with suppress(ValueError):
                self._calendar.recall(request.learned)
        self._align_calendar()
        self._calendar.know(request.occasions)

    def _align_calendar(self) -> None:
        names, homes = self._names, None
        if self._homes:
            row = {name: at for at, name in enumerate(names.hosts)}
            homes = np.array([row.get(self._homes.get(shard, ""), -1) for shard in names.shards], dtype=np.int64)
        self._calendar.align(names.hosts, names.shards, names.apps, homes)

    def learned(self) -> bytes:
        """What occasions do to demand, as far as it was learned; empty if that part failed."""
        return self.guard.run(_CALENDAR, self._calendar.learned, b"")

    def adopt(self, adoption: Adoption, core: Core) -> tuple[str, ...]:
        """Take champions, their curves, and a tuned network for a core that can have one; what was refused, and why."""
        refused = [self._taken(_CURVES, lambda: self._champions.adopt(adoption, self._names))]
        retune = getattr(core, "adopt", None)
        if adoption.weights and retune is not None:
            refused.append(self._taken(_WEIGHTS, lambda: retune(adoption.weights)))
        return tuple(each for each in refused if each)

    def _taken(self, part: str, work: Callable[[], None]) -> str:
        """ "" or why what was sent does not fit: then all stays as it was, and the next is looked at anew."""

        def tried() -> str:
            try:
                work()
            except SidestepError as error:
                return scrub(f"the {part} are refused: {error}")
            return ""

        return self.guard.run(part, tried, "")

    # -- what comes, and what is said

    def came(self, time: float, values: F32, expected: F32) -> None:
        """A step ended at ``time``; ``expected`` is the model's own median of it, one step before."""
        self.guard.run(_CALENDAR, lambda: self._calendar.observe(time, values, expected), None)
        self.guard.run(_CHANCES, lambda: self.contentions.settle(values), None)

    def past(self, values: F32) -> None:
        """A step of the past, of which nothing was said: it teaches the chances alone."""
        self.guard.run(_CHANCES, lambda: self.contentions.settle(values), None)

    def lift(self, found: F32, time: float, ahead: I64, levels: tuple[float, ...]) -> None:
        """Put the calendar's uplift and the champions' curves on what the model found (S, B, Q) at ``time``."""
        self.guard.run(_CALENDAR, lambda: self._uplift(found, time, ahead, levels), None)
        self.guard.run(_CURVES, lambda: self._champions.apply(found, time, self._step, ahead, levels), None)

    def _uplift(self, found: F32, time: float, ahead: I64, levels: tuple[float, ...]) -> None:
        self._lifted = None
        uplift = self._calendar.uplift(time, ahead, found[:, 0, levels.index(0.5)] if ahead[0] == 1 else None)
        if uplift is None:
            return
        self._lifted = uplift, ahead
        own = found[uplift.rows]
        middle = own[:, :, levels.index(0.5), None]
        # independent errors add in squares, each side on its own
        z = np.array([NormalDist().inv_cdf(level) for level in levels])
        away = np.hypot(own - middle, z * uplift.spread[:, :, None])
        found[uplift.rows] = np.maximum(middle + uplift.mean[:, :, None] + np.sign(z) * away, 0.0)

    def lift_peaks(self, peaks: F32) -> F32:
        """The same for the highest values of hosts' series (H * HOST_SERIES, W, Q): all the windows' quantiles."""
        return self.guard.run(_CALENDAR, lambda: self._peaks_lifted(peaks), peaks)

    def _peaks_lifted(self, peaks: F32) -> F32:
        if self._lifted is None or not len(peaks):
            return peaks
        uplift, ahead = self._lifted
        own = uplift.rows < len(peaks)
        raised = peaks.copy()
        more = uplift.highest(ahead, self.contentions.windows)[own]
        raised[uplift.rows[own]] = np.maximum(raised[uplift.rows[own]] + more[:, :, None], 0.0)
        return raised

    def settle(self, truth: F32, last: F32, found: F32 | None, ahead: I64, levels: tuple[float, ...]) -> None:
        """Score what was said about this step, and hold what is said now: ``found`` (S, B, Q), None for nothing."""
        self.guard.run(_ACCOUNTS, lambda: self._settle(truth, last, found, ahead, levels), None)

    def _settle(self, truth: F32, last: F32, found: F32 | None, ahead: I64, levels: tuple[float, ...]) -> None:
        ledger = self.ledger
        plain = np.broadcast_to(last[:, None], (len(truth), len(ledger.horizons)))
        said = np.full((*plain.shape, len(ledger.levels)), np.nan, np.float32)
        if found is not None:
            at, columns = np.searchsorted(ahead, ledger.horizons), [levels.index(level) for level in ledger.levels]
            for b in np.flatnonzero(ledger.wants()):
                said[:, b] = found[:, at[b]][:, columns]
        ledger.settle(truth, said, plain)

    def settle_peaks(self, truth: F32, core: Core, *, newest: bool) -> None:
        """The same for the highest values of hosts' series."""
        if self._peaks is not None:
            self.guard.run(_PEAKS, lambda: self._settle_peaks(truth, core, newest=newest), None)

    def _settle_peaks(self, truth: F32, core: Core, *, newest: bool) -> None:
        assert self._peaks is not None
        own = truth[: self._peaks.series]
        wants = self._peaks.wants() & newest
        said = np.full((len(own), len(wants), len(self._peaks.levels)), np.nan)
        if wants.any() and isinstance(core, PeakCore):
            said[:, wants] = core.peaks(self._peaks.windows[wants], self._peaks.levels, len(own))
        self._peaks.settle(own, said)

    def chances(
        self, ask: wire.Ask, found: F32, peaks: F32, ahead: I64, steps: int, levels: tuple[float, ...]
    ) -> Chances | None:
        """Of contention as it is asked about; None if nothing was asked or the part failed."""
        hosts = len(self._names.hosts)
        if not ask.limits or not hosts:
            return None
        limits = wire.from_bytes(ask.limits, (hosts, PLANNED), "limits")

        def work() -> Chances:
            self.contentions.ask(limits, ask.window, ask.duration)
            own = found[: hosts * wire.HOST_WIDTH][:, :, [levels.index(level) for level in ask.levels]]
            return self.contentions.say(own, peaks, tuple(ahead.tolist()), steps, ask.levels)

        said = self.guard.run(_CHANCES, work, None)
        if said is not None:
            rows = np.zeros((hosts, wire.HOST_WIDTH), np.bool_)
            rows[:, :PLANNED] = said.proven.reshape(hosts, PLANNED)
            self._foreseen[: rows.size] = rows.reshape(-1)
        return said

    # -- what it was worth

    def reactive(self) -> Flags | None:
        """(H * PLANNED,) series of which only what is measured counts; never those whose chances are proven."""
        hosts = len(self._names.hosts)
        return self.guard.run(_ACCOUNTS, lambda: planned(self.ledger.reactive(self._foreseen), hosts), None)

    def accounts(self) -> tuple[Account, ...]:
        """Of hosts' cpu."""
        return self.guard.run(_ACCOUNTS, lambda: self.ledger.fleet(self._model, self.cpu), ())

    def served(self, time: float) -> tuple[tuple[str, str], ...]:
        """(series, model) of every series that a champion serves."""
        return self.guard.run(_CURVES, lambda: self._champions.served(time), ())

    def judge(self) -> str:
        """ "" or why persistence is served instead of the model."""
        if self._model == "persistence":
            return ""
        unknown = (0.0, float("nan"))
        depth, skill = self.guard.run(
            _ACCOUNTS, lambda: (self.ledger.depth(self.cpu), self.ledger.skill(self.cpu)), unknown
        )
        if depth < ENOUGH:
            return ""
        self._demoted = skill < (BETTER if self._demoted else WORSE)
        return f"{self._model} is worse than persistence (skill {skill:.2f})" if self._demoted else ""

    def board(self, time: float) -> AccuracyBoard:
        """The account of every series."""
        names, served = self._names, self._champions.served(time)
        models = (self._model, *sorted({model for _, model in served}))
        which = self._champions.which(names, time, models)
        return board(
            time,
            self._step,
            names.hosts,
            names.shards,
            self.ledger,
            self._peaks,
            models=models,
            served=which,
            foreseen=self._foreseen,
        )
