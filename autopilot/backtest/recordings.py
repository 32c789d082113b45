"""Recorded load of many hosts on one grid, whatever file it came from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import UsageError
from sidestep.fleet.history import Series
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.resources import DIMENSIONS, HOST_SERIES, PLANNED

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: most numbers of one recording: 2 GB of them
MOST: Final = 1 << 29
FEWEST: Final = 30


@dataclass(frozen=True, kw_only=True)
class Recording:
    """T steps of ``step`` seconds of H hosts: ``values`` (T, H, len(HOST_SERIES)) in natural units, NaN is unknown.

    ``start`` is the unix time at which the first step begins. ``capacity`` (H, PLANNED) is
    what may be handed out, NaN where the data do not say. ``planned`` are the planned
    dimensions of which there is anything. ``notes`` say what was left out.
    """

    source: str
    start: float
    step: float
    names: tuple[Label, ...]
    values: F32
    capacity: F64
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """T."""
        return len(self.values)

    @property
    def planned(self) -> tuple[int, ...]:
        """Rows of DIMENSIONS that contention is about and that were recorded."""
        return tuple(r for r in range(PLANNED) if np.isfinite(self.values[:, :, r]).any())


def checked(recording: Recording) -> Recording:
    """The recording, if it can be replayed. Raises UsageError with the remedy."""
    source = recording.source
    if not recording.names or not recording.planned:
        raise UsageError(f"{source}: no cpu or memory of any host", hint="name the series HOST cpu and HOST memory")
    if recording.steps < FEWEST:
        raise UsageError(
            f"{source}: {recording.steps} steps of {recording.step:g} s", hint=f"at least {FEWEST} are needed"
        )
    if len(set(recording.names)) < len(recording.names):
        twice = sorted({name for name in recording.names if recording.names.count(name) > 1})
        raise UsageError(f"{source}: two hosts are called {twice[0]}", hint="give every host a name of its own")
    return recording


def newest(recording: Recording, seconds: float) -> Recording:
    """Only the newest ``seconds`` of it."""
    keep = min(recording.steps, max(1, math.ceil(seconds / recording.step)))
    first = recording.steps - keep
    return replace(recording, start=recording.start + first * recording.step, values=recording.values[first:])


def chosen_hosts(recording: Recording, names: tuple[str, ...]) -> Recording:
    """Only these hosts. Raises UsageError for one that is not there."""
    known = {str(name): row for row, name in enumerate(recording.names)}
    for name in names:
        if name not in known:
            some = ", ".join(list(known)[:8])
            raise UsageError(f"{recording.source}: no host {scrub(name)}", hint=f"there are: {some}")
    rows = [known[name] for name in names]
    return replace(
        recording,
        names=tuple(recording.names[row] for row in rows),
        values=recording.values[:, rows],
        capacity=recording.capacity[rows],
    )


def laid_out(
    source: str, times: F64, series: tuple[tuple[str, str], ...], which: NDArray[np.int64], values: F64, step: float
) -> Recording:
    """Rows (time, series, value) on a grid of ``step`` seconds (0: the commonest distance); means where several fall.

    ``series`` are (host, metric) and ``which`` says the series of every row.
    """
    step = step or _pace(times, which)
    start = math.floor(float(times.min()) / step) * step
    slots = np.floor((times - start) / step + 1e-6).astype(np.int64)
    count = int(slots.max()) + 1
    hosts = tuple(dict.fromkeys(host for host, _ in series))
    metrics = tuple(metric for metric in HOST_SERIES if any(each == metric for _, each in series))
    if count * len(hosts) * len(HOST_SERIES) > MOST:
        raise UsageError(
            f"{source}: {count} steps of {step:g} s of {len(hosts)} hosts are too many",
            hint="replay fewer with --last 14d or --host NAME, or a coarser --step 5m",
        )
    row = {host: at for at, host in enumerate(hosts)}
    found = np.full((count, len(hosts), len(HOST_SERIES)), np.nan, np.float32)
    for metric in metrics:
        mine = np.array([row[host] if each == metric else -1 for host, each in series], dtype=np.int64)[which]
        here = mine >= 0
        total, number = np.zeros((count, len(hosts))), np.zeros((count, len(hosts)))
        np.add.at(total, (slots[here], mine[here]), values[here])
        np.add.at(number, (slots[here], mine[here]), 1)
        with np.errstate(invalid="ignore"):
            found[:, :, HOST_SERIES.index(metric)] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return Recording(
        source=source,
        start=start,
        step=step,
        names=tuple(scrub(host) for host in hosts),
        values=found,
        capacity=np.full((len(hosts), PLANNED), np.nan),
    )


def _pace(times: F64, which: NDArray[np.int64]) -> float:
    """The commonest distance between two values of one series, in seconds."""
    order = np.lexsort((times, which))
    gaps = np.diff(times[order])[np.diff(which[order]) == 0]
    gaps = gaps[gaps > 0].round(3)
    if not len(gaps):
        return 1.0
    known, number = np.unique(gaps, return_counts=True)
    return float(known[number.argmax()])


def metric_of(name: str) -> str | None:
    """The series of a host that a column or metric is meant as; None for one that nothing is made of."""
    lowered = name.casefold()
    if lowered in HOST_SERIES:
        return lowered
    if lowered in DIMENSIONS or lowered.startswith(("pressure", "disk")):
        return {"pressure_cpu": "psi_cpu", "pressure_memory": "psi_memory", "pressure_io": "psi_io"}.get(lowered)
    return next((metric for start, metric in _STARTS.items() if lowered.startswith(start)), None)


_STARTS: Final = {"cpu": "cpu", "mem": "memory", "net": "net"}


def series_of(text: str) -> tuple[str, str, str]:
    """(kind, name, metric) of ``host web1 cpu``, ``web1 cpu`` or ``web1``. Raises ValueError."""
    words = text.split()
    if len(words) == 1:
        return "host", words[0], "cpu"
    if len(words) == 2:
        return "host", words[0], words[1]
    parsed = Series.parse(text)
    return parsed.kind, parsed.name, parsed.metric
