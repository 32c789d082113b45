"""Makes the coefficients that chances begin with: ``python -m scripts.oracle.fit_chance --data DIR``.

Lives through the part of the traces that is there to fit (half of the machines, first 60 % of the
time; see benchmarks/oracle/data.py) with windows, limits and durations of several kinds, with and
without a known season, and fits one ridge logistic regression of what came to what was known, for
series that were not over and for those that were. The other parts are never read.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # on small matrices several threads only wait for each other

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.alarms_panels import Panel, panels  # noqa: E402
from benchmarks.alarms_run import peaks_of  # noqa: E402
from benchmarks.oracle.data import Group, load_all  # noqa: E402
from sidestep.fleet.forecast import LEVELS  # noqa: E402
from sidestep.fleet.inventory import OracleSpec  # noqa: E402
from sidestep.forecasting.peak import raw_chance  # noqa: E402
from sidestep.forecasting.peak.book import HELD, KNOWN, SIGNS, ChanceBook, Said  # noqa: E402
from sidestep.forecasting.peak.pool import logistic  # noqa: E402
from sidestep.forecasting.registry import make  # noqa: E402

OUT: Final = Path(__file__).parents[2] / "forecasting" / "peak" / "prior.py"
F64 = NDArray[np.float64]


class Way(NamedTuple):
    """The window as a part of the protocol's, the limit's percentile (0: the protocol's), and if a day is known."""

    part: float
    percentile: float
    duration: int
    season: bool


WAYS: Final = (Way(1.0, 0.0, 1, True), Way(0.5, 95.0, 1, True), Way(2.0, 99.0, 2, True), Way(1.0, 97.0, 3, False))
#: rows of one panel and way; hosts are what decides, single series are many
MOST: Final = 30_000
#: a weight's standard deviation, of signs in units of theirs, is this part of a unit in the log-odds
RIDGE: Final = 0.5


class Rows(NamedTuple):
    """Signs (n, F), whether it came (n,), whether the series was over (n,)."""

    signs: F64
    came: NDArray[np.bool_]
    over: NDArray[np.bool_]


class Recorder(ChanceBook):
    """A book that keeps what came due instead of learning from it."""

    def __init__(self, rows: int, window: int, duration: int, season: float) -> None:
        super().__init__(rows, window, duration, season)
        self.kept: list[Rows] = []

    def _learn(self, said: Said) -> None:
        came = self._hot_at >= said.clock + self.duration
        heard = self.signs.seen - said.seen
        due = said.usable & (came | (heard >= KNOWN * self.window))
        self.kept.append(Rows(said.signs[due].astype(np.float64), came[due], said.over[due]))


def lived(panel: Panel, ways: tuple[Way, ...], model: str) -> list[Rows]:
    """What was known and what came, through one panel, by way; one model serves them all."""
    count = panel.values.shape[1]
    asked = [_asked(panel, way) for way in ways]
    longest = max(book.window for book, _ in asked)
    forecaster = make(model, float(panel.day), longest)
    forecaster.begin(count)
    for at, row in enumerate(panel.values):
        forecaster.observe(row)
        curves: F64 | None = None
        for book, limit in asked:
            book.settle(row, limit)
            if at < panel.day or (at + 1) % max(1, book.window // HELD):
                continue
            curves = forecaster.forecast_array(longest, LEVELS) if curves is None else curves
            peaks, windows = peaks_of(forecaster.core_, book.window, count)
            book.say(raw_chance(peaks, windows, curves, LEVELS, limit, book.window, book.duration))
    return [Rows(*(np.concatenate(each) for each in zip(*book.kept, strict=True))) for book, _ in asked]


def _asked(panel: Panel, way: Way) -> tuple[Recorder, F64]:
    window = max(1, round(way.part * panel.window))
    season = float(panel.day) if way.season else 0.0
    past = panel.values[: panel.begin]
    limit = np.nanpercentile(past, way.percentile, axis=0) if way.percentile else panel.limit
    return Recorder(panel.values.shape[1], window, way.duration, season), limit


def thinned(rows: Rows, most: int, random: np.random.Generator) -> Rows:
    """At most so many rows, drawn at random."""
    if len(rows.came) <= most:
        return rows
    some = random.choice(len(rows.came), most, replace=False)
    return Rows(rows.signs[some], rows.came[some], rows.over[some])


def collected(groups: tuple[Group, ...], model: str) -> Rows:
    """All ways of looking at all groups."""
    random = np.random.default_rng(3)
    found: list[Rows] = []
    for group in groups:
        ways = WAYS if group.step >= 120 else WAYS[:1]
        for panel in panels(group, "fit", draws=3, series=40):
            for way, rows in zip(ways, lived(panel, ways, model), strict=True):
                found.append(thinned(rows, MOST, random))
                print(f"{panel.name} {way}: {len(rows.came)} rows, {rows.came[~rows.over].mean():.3f} came",
                      file=sys.stderr, flush=True)  # fmt: skip
    return Rows(*(np.concatenate(each) for each in zip(*found, strict=True)))


def fitted(signs: F64, came: NDArray[np.bool_], scale: F64, rounds: int = 30) -> F64:
    """(F + 1,) weights, by Newton's method; the constant, last, is not shrunken."""
    x = np.concatenate([signs / scale, np.ones((len(signs), 1))], axis=1)
    doubt = np.append(np.full(signs.shape[1], RIDGE**-2), 0.0) * 20
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = logistic(x @ weights)
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(doubt), (came - p) @ x - doubt * weights)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return np.append(weights[:-1] / scale, weights[-1])


def page(scale: F64, quiet: F64, over: F64, model: str) -> str:
    """The module that ships."""

    def numbers(values: F64) -> str:
        texts = [f"{value:.4g}" for value in values]
        lines = ["    " + ", ".join(texts[at : at + 10]) + "," for at in range(0, len(texts), 10)]
        return "[\n" + "\n".join(lines) + "\n]"

    return f'''"""Made by python -m scripts.oracle.fit_chance: the coefficients that every fleet begins with.

Learned with the raw chances of the model {model!r}. In the order of ``signs.NAMES``, then the
raw chance's log-odds; weights have a constant as their last.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_SCALE: Final = {numbers(scale)}
_QUIET: Final = {numbers(quiet)}
_OVER: Final = {numbers(over)}
#: how the signs vary: their standard deviations
SCALE: Final[NDArray[np.float64]] = np.array(_SCALE)
#: weights for series that are not over, and for those that are
QUIET: Final[NDArray[np.float64]] = np.array(_QUIET)
OVER: Final[NDArray[np.float64]] = np.array(_OVER)
'''


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.oracle.fit_chance", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="traces (*.npz)")
    parser.add_argument("--model", default=OracleSpec().model, help="whose raw chances are learned from")
    parser.add_argument("--out", type=Path, default=OUT, help="the module to write")
    given = parser.parse_args()
    rows = collected(load_all(given.data), given.model)
    scale = rows.signs.std(axis=0) + 1e-3
    quiet, over = (fitted(rows.signs[where], rows.came[where], scale) for where in (~rows.over, rows.over))
    for name, weight, other in zip((*SIGNS, "constant"), quiet * np.append(scale, 1), over * np.append(scale, 1),
                                   strict=True):  # fmt: skip
        print(f"{name:14} {weight:7.2f} {other:7.2f}")
    given.out.write_text(page(scale, quiet, over, given.model), encoding="utf-8")


if __name__ == "__main__":
    main()
