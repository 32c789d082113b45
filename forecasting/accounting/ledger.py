"""The ledger: every series and horizon, what was said about now, and what it was worth lately."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast_types import Account
from sidestep.fleet.labels import scrub
from sidestep.forecasting.accounting import judge
from sidestep.forecasting.accounting.held import F32, Held, Rows, taken
from sidestep.forecasting.accounting.scores import LEVELS, ROUNDING, Scores, median, pinball, ratio, scaled, skill_of
from sidestep.forecasting.accounting.spectrum import Spectrum
from sidestep.forecasting.accounting.usual import Usual
from sidestep.forecasting.calibrate import ladder

#: at so many horizons at most
HORIZONS: Final = 5
#: an account goes back over so many steps, roughly, but at least over so many forecasts
STEPS: Final = 300.0
FORECASTS: Final = 40.0
#: columns of the sums
_N, _ERROR, _PLAIN, _IN80, _IN95, _LOSS, _USUAL, _BIAS = range(8)
#: of what is held beside the median: the other levels, then persistence
_OTHERS: Final = tuple(level for level in LEVELS if level != 0.5)
_MIDDLE: Final = LEVELS.index(0.5)
_SIDES: Final = [at for at in range(len(LEVELS)) if at != _MIDDLE]


def scored_horizons(horizon: int) -> NDArray[np.int64]:
    """The first and the last of the ladder up to ``horizon``, and some between, evenly on it."""
    steps = ladder(horizon)
    places = np.linspace(0, len(steps) - 1, min(HORIZONS, len(steps)))
    chosen: NDArray[np.int64] = steps[np.unique(places.round().astype(int))]
    return chosen


class Ledger:
    """Accounts of ``series`` series at a few horizons up to ``horizon`` steps; at most 300 bytes a series."""

    def __init__(self, series: int, horizon: int) -> None:
        self.horizons = scored_horizons(horizon)
        self.levels = LEVELS
        #: how many forecasts were scored since the beginning, over all series and horizons
        self.scored = 0
        self._clock = 0
        self._held = [Held(series, int(ahead), len(LEVELS)) for ahead in self.horizons]
        self._sums = np.zeros((8, len(self.horizons), series), np.float32)
        self._usual = Usual(series, LEVELS)
        self._spectrum = Spectrum(series)
        self._reactive = np.zeros(series, np.bool_)

    @property
    def series(self) -> int:
        """S, the number of series."""
        return len(self._reactive)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept, in flight and all."""
        parts: list[Any] = [self._sums, self._reactive]
        for thing in (*self._held, self._usual, self._spectrum):
            parts += [value for value in vars(thing).values() if isinstance(value, np.ndarray)]
        return sum(part.nbytes for part in parts)

    def wants(self) -> NDArray[np.bool_]:
        """(B,) which horizons the next ``settle`` will hold; the others may be NaN then, and need not be forecast."""
        return np.array([held.pace.takes(self._clock + 1) for held in self._held])

    def settle(self, truth: NDArray[Any], said: NDArray[Any], plain: NDArray[Any]) -> None:
        """Score what was said about this step, then hold what is said now until it comes due.

        ``truth`` (S,) is what was measured, NaN if nothing was; ``said`` (S, B, 5) the
        forecasts at ``horizons`` and ``levels``, ``plain`` (S, B) the medians of persistence.
        """
        self._clock += 1
        with np.errstate(over="ignore"):
            came = np.asarray(truth).astype(np.float32)
        for at, held in enumerate(self._held):
            if held.pace.due(self._clock):
                self._score(at, held, came)
            # nothing is said from within a hole: the next that is said is held
            if held.pace.takes(self._clock) and np.isfinite(said[:, at, _MIDDLE]).any():
                # what is said of one horizon lies apart, so it is gathered once
                now = np.empty((len(LEVELS), self.series), np.float32)
                with np.errstate(over="ignore"):
                    now[:-1] = said[:, at, _SIDES].T
                    now[-1] = plain[:, at]
                    held.keep(self._clock, said[:, at, _MIDDLE].astype(np.float32), now)
        self._usual.observe(came)
        self._spectrum.observe(came)
        if self._held[-1].pace.due(self._clock):
            self._judge()

    def _score(self, at: int, held: Held, came: F32) -> None:
        away, offsets = came - held.median, held.offsets()
        slack = ROUNDING * np.abs(came)
        error, plain = np.abs(away), np.abs(away - offsets[-1])
        error[error <= slack] = 0.0
        plain[plain <= slack] = 0.0
        valid = np.isfinite(error)
        if not valid.any():
            return
        loss, usual = error / 2, np.zeros_like(error)
        for side, level in enumerate(_OTHERS):
            loss += pinball(away - offsets[side], level)
        for side, level in enumerate(LEVELS):
            usual += pinball(came - self._usual.quantiles[side], level)
        # f4 in flight: a value on the edge of a band of no width is inside it
        inside = [(away >= offsets[low] - slack) & (away <= offsets[high] + slack) for low, high in ((1, 2), (0, 3))]
        scale = np.float32(2 / len(LEVELS))
        parts = (valid, error, plain, *inside, loss * scale, usual * scale, -away)
        keep = np.float32(1 - 1 / max(FORECASTS, STEPS / (1.25 * held.pace.ahead)))
        whole = bool(valid.all())
        shrink = keep if whole else np.where(valid, keep, np.float32(1))
        for column, part in enumerate(parts):
            target = self._sums[column, at]
            target *= shrink
            target += part if whole else np.where(valid, part, np.float32(0))
        self.scored += int(valid.sum())

    def scores(self) -> Scores:
        """Every series and horizon as columns (S, B)."""
        sums, n = self._sums, self._sums[_N]
        columns = (
            n,
            skill_of(sums[_ERROR], sums[_PLAIN], n),
            ratio(sums[_IN80], n),
            ratio(sums[_IN95], n),
            scaled(sums[_LOSS], n, self._usual.scale),
            ratio(sums[_ERROR], n),
            ratio(sums[_BIAS], n),
        )
        return Scores(self.horizons, *(np.ascontiguousarray(c.T, dtype=np.float32) for c in columns))

    def skill(self, rows: Any = slice(None)) -> float:
        """1 - error / error of persistence over all horizons, median over ``rows``; NaN before anything was scored."""
        sums = self._means(rows)
        return median(skill_of(sums[_ERROR], sums[_PLAIN], self._sums[_N][:, rows].sum(axis=0)))

    def depth(self, rows: Any = slice(None)) -> float:
        """Over how many steps the farthest horizon was scored lately, median over ``rows``; 0 of no rows."""
        number = self._sums[_N, -1][rows]
        return float(np.median(number)) * int(self.horizons[-1]) if len(number) else 0.0

    def by_horizon(self, rows: Any = slice(None)) -> tuple[tuple[int, float, float], ...]:
        """(steps ahead, median skill, share inside the 80 % band) of every horizon that was scored."""
        found = []
        for at, ahead in enumerate(self.horizons):
            sums = self._sums[:, at][:, rows]
            if (count := float(sums[_N].sum())) > 0:
                skill = median(skill_of(sums[_ERROR], sums[_PLAIN], sums[_N]))
                found.append((int(ahead), skill, float(sums[_IN80].sum()) / count))
        return tuple(found)

    def fleet(self, model: str = "", rows: Any = slice(None)) -> tuple[Account, ...]:
        """The account of ``model`` over ``rows`` (the screens show hosts' cpu), and that of persistence.

        Persistence has no band here: its coverage is NaN.
        """
        sums = self._sums[:, :, rows]
        count, nan = float(sums[_N].sum()), float("nan")
        inside = float(sums[_IN80].sum()) / count if count else nan
        plain = Account(model=scrub("persistence"), skill=0.0 if count else nan, coverage=nan, scored=self.scored)
        if model == "persistence":
            return (plain,)
        return (Account(model=scrub(model), skill=self.skill(rows), coverage=inside, scored=self.scored), plain)

    def forecastability(self) -> F32:
        """(S,) how well a series can be foreseen, 0..1; NaN while that is not known. docs/accuracy.md has the rule."""
        return self._chance(*self._worth())

    def reactive(self, foreseen: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """(S,) series that cannot be foreseen: only what is measured counts (S5.22).

        ``foreseen`` (S,) are those whose chance of contention has proved right: never reactive.
        """
        return self._reactive.copy() if foreseen is None else self._reactive & ~foreseen

    def _means(self, rows: Any = slice(None)) -> F32:
        """(8, S) of every column the sum over horizons of its means."""
        sums = self._sums[:, :, rows]
        means: F32 = (sums / np.maximum(sums[_N], np.float32(1e-9))).sum(axis=1)
        return means

    def _worth(self) -> tuple[F32, F32]:
        means = self._means()
        return judge.worth(means[_ERROR], means[_PLAIN], means[_LOSS], means[_USUAL]), means

    def _chance(self, worth: F32, means: F32) -> F32:
        number, scored = self._sums[_N, -1], (self._sums[_N] > 0).sum(axis=0)
        level = np.float32(judge.STILL) * np.abs(self._usual.median) * len(self.horizons)
        still = (means[_PLAIN] <= level) & (means[_ERROR] <= level)
        coverage = means[_IN80] / np.maximum(scored, 1)
        found = judge.forecastability(worth, coverage, number, self._spectrum.structure, still)
        return found.astype(np.float32)

    def _judge(self) -> None:
        worth, means = self._worth()
        self._reactive = judge.reactive(self._reactive, self._chance(worth, means), worth, self._sums[_N, -1])

    def select(self, rows: Rows) -> None:
        """Keep and reorder series; -1 is one that is new."""
        rows = np.asarray(rows)
        for held in self._held:
            held.select(rows)
        self._usual.select(rows)
        self._spectrum.select(rows)
        self._sums = taken(self._sums, rows, 0)
        self._reactive = taken(self._reactive, rows, 0)
