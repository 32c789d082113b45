"""Runs ours and the simple peers over one panel, step by step, on the same information."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.alarms_panels import Panel
from sidestep.fleet.forecast import LEVELS
from sidestep.forecasting.peak import ChanceBook, raw_chance
from sidestep.forecasting.registry import make

F64 = NDArray[np.float64]

#: parts of the window for which quantiles of the maximum are asked
PARTS: Final = (0.25, 0.5, 1.0)
#: names of the contenders in the figures
OURS: Final = "chance"
RAW: Final = "raw peak chance"
MARGINAL: Final = "max over marginal quantiles"
REACTIVE: Final = "level now (reactive)"
YESTERDAY: Final = "same window yesterday"


@dataclass(frozen=True)
class Run:
    """(T, S) scores by contender, NaN before the first day was over; who was proven; ms a step of ours."""

    scores: dict[str, F64]
    proven: NDArray[np.bool_]
    cost: dict[str, float]


def run(panel: Panel, model: str, book: ChanceBook | None = None, every: int = 1) -> Run:
    """Live through a panel: every step is learned; every so many are forecast, and judged by the book."""
    count = panel.values.shape[1]
    forecaster = make(model, float(panel.day), panel.window)
    forecaster.begin(count)
    book = book or ChanceBook(count, panel.window, 1, float(panel.day))
    said = {name: np.full(panel.values.shape, np.nan) for name in (OURS, RAW, MARGINAL)}
    proven = np.zeros(panel.values.shape, np.bool_)
    cost = {"model": 0.0, "book": 0.0}
    none, steps = np.zeros((count, 0, len(LEVELS))), 0
    for at, row in enumerate(panel.values):
        began = time.process_time()
        forecaster.observe(row)
        if at < min(panel.day, panel.begin // 2) or (at + 1) % every:
            book.settle(row, panel.limit)
            continue
        curves = forecaster.forecast_array(panel.window, LEVELS)
        peaks, windows = peaks_of(forecaster.core_, panel.window, count)
        between = time.process_time()
        raw = raw_chance(peaks, windows, curves, LEVELS, panel.limit, panel.window, 1)
        book.settle(row, panel.limit)
        chance, proven[at] = book.say(raw)
        cost["model"] += between - began
        cost["book"] += time.process_time() - between
        steps += 1
        said[OURS][at], said[RAW][at] = chance, raw
        said[MARGINAL][at] = raw_chance(none, (), curves, LEVELS, panel.limit, panel.window, 1)
    return Run(said | simple(panel), proven, {name: 1e3 * spent / max(1, steps) for name, spent in cost.items()})


def peaks_of(core: object, window: int, count: int) -> tuple[F64, tuple[int, ...]]:
    """(n, W, Q) quantiles of the maximum and the windows, none of either from a core that has none."""
    say = getattr(core, "peaks", None)
    if say is None:
        return np.zeros((count, 0, len(LEVELS))), ()
    windows = tuple(sorted({max(1, round(part * window)) for part in PARTS}))
    return np.asarray(say(np.array(windows), LEVELS), np.float64), windows


def simple(panel: Panel) -> dict[str, F64]:
    """What needs no forecast: the present level and yesterday's highest, above the limit, in deviations of the past."""
    past = panel.values[: panel.begin]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        spread = np.maximum(np.nanstd(past, axis=0), 1e-12)
        highest = np.full_like(panel.values, np.nan)
        for ahead in range(1, panel.window + 1):
            highest[:-ahead] = np.fmax(highest[:-ahead], panel.values[ahead:])
    yesterday = np.full_like(panel.values, np.nan)
    yesterday[panel.day :] = highest[: -panel.day]
    over = {REACTIVE: panel.values, YESTERDAY: yesterday}
    return {name: (values - panel.limit) / spread for name, values in over.items()}
