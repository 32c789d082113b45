"""Rolling origins and cold starts for anything that learns row by row.

A forecast at an origin has seen the rows before it and nothing else. CPU is process time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.data import Part
from benchmarks.oracle.rules import Rule
from benchmarks.oracle.score import rulers

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: ages in samples at which short streams are scored
AGES: Final = (3, 6, 12, 24, 48, 96, 288)
#: samples of a stream's first ones that must be known in the trace
BORN: Final = 3


class Online(Protocol):
    """What is benchmarked: learns rows (K, S), says quantiles (S, T, Q) at steps (T,) >= 1 from now."""

    def observe(self, values: NDArray[np.floating]) -> None: ...

    def forecast(self, steps: I64, levels: tuple[float, ...]) -> F64: ...


@dataclass(frozen=True)
class Run:
    """Quantiles (O, S, B, Q) at the origins, and the CPU seconds that learning and forecasting took."""

    found: F64
    learning: float
    forecasting: float


@dataclass(frozen=True)
class Streams:
    """Short series that begin at random times: ``values`` (L, K), rulers (A, K) at ``ages``, whose they are."""

    values: F64
    ages: I64
    scale: F64
    machine: I64


def origins_of(part: Part, count: int, ahead: int, seed: int = 5) -> I64:
    """``count`` origins (steps seen) spread over the scored time, one drawn in each equal stretch of it.

    Two hours at least have been seen at each: what is younger is for ``cold``.
    """
    first, last = max(part.begin, part.day // 12, 1), len(part.values) - ahead
    if last <= first:
        return np.array([max(1, last)], dtype=np.int64)
    edges = np.linspace(first, last + 1, min(count, last - first + 1) + 1)
    drawn = np.random.default_rng(seed).random(len(edges) - 1)
    return np.unique(np.floor(edges[:-1] + drawn * np.diff(edges)).astype(np.int64))


def roll(model: Online, values: F64, origins: I64, horizons: I64, levels: tuple[float, ...]) -> Run:
    """Feed (T, S) step by step and forecast when ``origins`` (ascending) steps have been seen."""
    found, done, learning, forecasting = [], 0, 0.0, 0.0
    for origin in origins.tolist():
        started = time.process_time()
        if origin > done:
            model.observe(values[done:origin])
        between = time.process_time()
        found.append(np.array(model.forecast(horizons, levels), dtype=np.float64))
        forecasting += time.process_time() - between
        learning += between - started
        done = origin
    return Run(np.stack(found), learning, forecasting)


def roll_rule(rule: Rule, values: F64, origins: I64, horizons: I64, levels: tuple[float, ...], day: int) -> Run:
    """The same for a simple rule, which sees the history anew at each origin."""
    started = time.process_time()
    # three days and the longest horizon are all that a rule ever looks at
    reach = 3 * day + int(horizons.max())
    names = np.asarray(levels)
    found = [rule(values[max(0, origin - reach) : origin], horizons, names, day) for origin in origins.tolist()]
    return Run(np.stack(found), 0.0, time.process_time() - started)


def cold(part: Part, ages: Iterable[int], ahead: int, count: int, seed: int = 7) -> Streams:
    """Streams of the part's series that begin at random in the scored time, where the first samples are known.

    Ages that do not fit into the scored time are left out. Rulers know the series' real past.
    """
    length = len(part.values) - part.begin
    kept = np.array(sorted({age for age in ages if age + ahead <= 0.9 * length}), dtype=np.int64)
    if not len(kept):
        kept = np.array([max(1, min(length - ahead, BORN))], dtype=np.int64)
    long = int(kept.max()) + ahead
    known = np.isfinite(part.values)
    born = np.logical_and.reduce([known[at : len(known) - long + 1 + at] for at in range(min(BORN, long))])
    born[: part.begin] = False
    starts, series = np.nonzero(born)
    random = np.random.default_rng(seed)
    if len(starts):
        # every series as often as every other, whatever is missing of it
        weight = 1.0 / np.bincount(series, minlength=part.values.shape[1])[series]
        drawn = random.choice(len(starts), min(count, len(starts)), replace=False, p=weight / weight.sum())
        starts, series = starts[drawn], series[drawn]
    values = part.values[starts[None, :] + np.arange(long)[:, None], series[None, :]]
    scale = np.empty((len(kept), len(starts)))
    for at, age in enumerate(kept.tolist()):
        scale[at] = _rulers_at(part, starts + age, series)
    moves = np.array([np.nanmin(each) < np.nanmax(each) for each in values.T], dtype=np.bool_)
    rows = np.flatnonzero(moves)
    return Streams(values[:, rows], kept, scale[:, rows], part.machine[series[rows]])


def _rulers_at(part: Part, origins: I64, series: I64) -> F64:
    found = np.empty(len(origins))
    for name in np.unique(series):
        rows = np.flatnonzero(series == name)
        found[rows] = rulers(part.values[:, [name]], origins[rows], part.day)[:, 0]
    return found
