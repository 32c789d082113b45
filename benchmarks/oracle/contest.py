"""One group's contest: the product against the simple rules, on the same origins and the same information.

Twice: as the trace is, and with a fifth of the samples that contenders are shown missing at
random (outcomes are never taken away). Each time at every age of short streams ("cold") and
at origins after days of history ("grown").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle import rolling
from benchmarks.oracle.data import Group, Part, PartName, part_of, punch
from benchmarks.oracle.rolling import AGES, Online, Run
from benchmarks.oracle.rules import RULES
from benchmarks.oracle.score import KNOTS, LEVELS, Scores, interval, ratio, rulers, score, truth_at

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
#: makes the contender for so many series with a day of so many steps
Maker = Callable[[int, int], Online]

HORIZONS: Final = np.asarray(KNOTS)
AHEAD: Final = int(max(KNOTS))
MISSING: Final = 0.2
GROWN: Final = 10**9


@dataclass(frozen=True)
class Plan:
    """How much is done for each group: series and origins of the grown, days of history, cold streams."""

    series: int = 120
    origins: int = 16
    history: float = 10.0
    days: float = 0.0
    streams: int = 1500
    peer_series: int = 24
    peer_origins: int = 3


QUICK: Final = Plan(series=24, origins=4, history=1.0, days=0.25, streams=200, peer_series=2, peer_origins=1)


@dataclass(frozen=True)
class Entry:
    """Scores of every contender at one age (steps, ``GROWN`` for days), with or without samples missing."""

    age: int
    missing: bool
    machine: I64
    scores: Mapping[str, Scores]

    @property
    def label(self) -> str:
        """How figures call the age."""
        return "grown" if self.age == GROWN else f"age {self.age}"

    def best(self) -> str:
        """The best simple rule here, known only afterwards."""
        return min(RULES, key=lambda name: self.scores[name].median)

    def versus(self) -> tuple[float, float, float]:
        """The product's scaled CRPS over the best rule's, and its 95 % interval over machines."""
        ours, theirs = self.scores["product"].crps, self.scores[self.best()].crps
        return ratio(ours, theirs), *interval(ours, theirs, self.machine)


@dataclass(frozen=True)
class Contest:
    """What one group showed. ``learning`` and ``forecasting``: CPU s per series and step, and per series-forecast."""

    group: str
    part: Part
    origins: I64
    entries: tuple[Entry, ...]
    product: Run
    learning: float
    forecasting: float

    @property
    def old_enough(self) -> tuple[Entry, ...]:
        """The entries with samples missing, from two hours of history on."""
        return tuple(each for each in self.entries if each.missing and each.age >= self.part.day // 12)


def contest(group: Group, part: PartName, plan: Plan, make: Maker) -> Contest | None:
    """Run product and rules on a group's part; None if no series of it moves."""
    block = part_of(group, part, series=plan.series, history=plan.history, days=plan.days)
    if not block.values.shape[1]:
        return None
    origins = rolling.origins_of(block, plan.origins, AHEAD)
    truth, scale = truth_at(block.values, origins, HORIZONS), rulers(block.values, origins, block.day)
    entries, runs = [], []
    for missing in (False, True):
        shown = punch(block.values, MISSING) if missing else block.values
        found = _runs(make, shown, origins, block.day)
        scores = {name: score(truth, run.found, scale) for name, run in found.items()}
        entries.append(Entry(GROWN, missing, block.machine, scores))
        runs.append(found["product"])
    entries += _cold(part_of(group, part, history=2.0), plan, make)
    steps, count = int(origins[-1]), block.values.shape[1]
    return Contest(
        group.name,
        block,
        origins,
        tuple(entries),
        runs[0],
        runs[0].learning / steps / count,
        runs[0].forecasting / len(origins) / count,
    )


def _cold(block: Part, plan: Plan, make: Maker) -> list[Entry]:
    ages = {*AGES, block.day // 12, block.day * 3 // 2} if plan.history > 2 else {*AGES, block.day // 12}
    streams = rolling.cold(block, ages, AHEAD, plan.streams)
    if not streams.values.shape[1]:
        return []
    truth = truth_at(streams.values, streams.ages, HORIZONS)
    entries = []
    for missing in (False, True):
        shown = punch(streams.values, MISSING) if missing else streams.values
        found = _runs(make, shown, streams.ages, block.day)
        for at, age in enumerate(streams.ages.tolist()):
            # of a stream that has shown nothing yet nobody can say anything
            scale = np.where(np.isfinite(shown[:age]).any(axis=0), streams.scale[at], np.nan)[None]
            scores = {name: score(truth[[at]], run.found[[at]], scale) for name, run in found.items()}
            entries.append(Entry(age, missing, streams.machine, scores))
    return entries


def _runs(make: Maker, shown: F64, origins: I64, day: int) -> dict[str, Run]:
    found = {"product": rolling.roll(make(shown.shape[1], day), shown, origins, HORIZONS, LEVELS)}
    for name, rule in RULES.items():
        found[name] = rolling.roll_rule(rule, shown, origins, HORIZONS, LEVELS, day)
    return found
