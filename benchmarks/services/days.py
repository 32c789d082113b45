"""How high the load of each day is: a day with one peak that is made up, or the last days of a recorded series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.data import Group, load_all, time_of
from sidestep.fleet.errors import UsageError

F64 = NDArray[np.float64]
#: what the name of a series of requests has in it
RATES: Final = ("rps", "requests", "request_count")
SYNTHETIC: Final = "synthetic: one smooth peak, every day the same"


@dataclass(frozen=True)
class Days:
    """``heights`` (days, steps) of the load, 0 to 1, each day in equal steps; after the last day the first comes."""

    name: str
    heights: F64

    def height(self, at: float) -> float:
        """The load at a time in days, on straight lines between steps."""
        count, steps = self.heights.shape
        place = at % count * steps
        low = int(place) % (count * steps)
        flat = self.heights.ravel()
        return float(flat[low] + (place - int(place)) * (flat[(low + 1) % len(flat)] - flat[low]))


class Series(NamedTuple):
    """One series of a group, FILE/ID by name, and what its time of day explains of it (0 to 1)."""

    name: str
    group: Group
    values: F64
    daily: float


def smooth(days: int, steps: int) -> Days:
    """A night, a morning, a peak, an evening."""
    at = np.arange(steps) / steps
    day = 0.1 + 0.9 * np.maximum(0.0, np.sin(2 * math.pi * (at - 0.25))) ** 2
    return Days(SYNTHETIC, np.tile(day, (days, 1)))


def recorded(folder: Path, days: int, steps: int, wanted: str = "") -> Days:
    """The last ``days`` whole days of a series of requests, in ``steps`` a day: means, and the highest of all is 1.

    ``wanted`` names it as FILE/ID; else it is the one of which the time of day explained most in the first 60 %
    of the time: a daily peak is what is to be foreseen. Raises UsageError.
    """
    found = [one for group in load_all(folder) for one in series_of(group, days)]
    names = [one.name for one in found]
    if wanted and wanted not in names:
        raise UsageError(f"{folder}: no series {wanted} of {days + 1} days", hint=f"there are {', '.join(names)}")
    if not found:
        raise UsageError(
            f"{folder}: no series of requests of {days + 1} days",
            hint=f"its id or metric has one of {', '.join(RATES)} in its name; see benchmarks/README.md",
        )
    one = next(each for each in found if each.name == wanted) if wanted else max(found, key=lambda each: each.daily)
    whole = one.values[-days * one.group.day :]
    edges = np.linspace(0, len(whole), days * steps + 1)
    total = np.concatenate([[0.0], np.cumsum(whole)])
    means = np.diff(np.interp(edges, np.arange(len(total)), total)) / np.diff(edges)
    return Days(one.name, (means / means.max()).reshape(days, steps))


def series_of(group: Group, days: int) -> list[Series]:
    """Its series of requests that are long enough, gaps filled."""
    found = []
    for row, machine in enumerate(group.machines):
        for column, metric in enumerate(group.metrics):
            if not any(rate in f"{machine} {metric}".lower() for rate in RATES):
                continue
            values = group.values[row, column].astype(np.float64)
            known = np.flatnonzero(np.isfinite(values))
            count = (known[-1] + 1 - known[0]) // group.day * group.day if len(known) else 0
            if count < (days + 1) * group.day or values[known].min() < 0 or values[known].max() <= 0:
                continue
            last = known[-1] + 1
            filled = np.interp(np.arange(last), known, values[known])
            name = f"{group.name}/{machine}" if len(group.metrics) == 1 else f"{group.name}/{machine}/{metric}"
            found.append(Series(name, group, filled[last - count :], _daily(group, filled[known[0] : last])))
    return found


def _daily(group: Group, values: F64) -> float:
    """What the time of day explains of the variance, in the time that is there to choose from."""
    fit = values[: min(len(values), time_of(group, "fit")[1])]
    fit = fit[: len(fit) // group.day * group.day].reshape(-1, group.day)
    return float(fit.mean(axis=0).var() / max(fit.var(), 1e-12)) if len(fit) > 1 else 0.0
