"""What alarms are scored on: hosts made of ten machines each, and single series, with a limit each.

The limit is a high percentile of the series' own past before the scored time, because real
crossings of capacity are too rare in public traces; an event is the first step above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.oracle.data import KNOWN_SHARE, SHORT_DAYS, Group, PartName, machines_of, time_of

F64 = NDArray[np.float64]

#: machines of one host
SIZE: Final = 10
#: window in seconds, limit as a percentile, days of history that contenders see: of steps of 2 minutes or more
COARSE: Final = (3600, 97.5, 10.0)
#: of shorter ones
FINE: Final = (1800, 99.0, 5.0)
#: an alarm so many seconds before an onset is in time
IN_TIME: Final = 600


@dataclass(frozen=True)
class Panel:
    """``values`` (T, S), oldest first, scored from ``begin`` on; ``limit`` (S,), ``window`` and ``day`` in steps."""

    name: str
    values: F64
    begin: int
    day: int
    step: int
    window: int
    limit: F64

    @property
    def lead(self) -> int:
        """The fewest steps between an alarm in time and the onset."""
        return max(1, round(IN_TIME / self.step))


def panels(
    group: Group,
    part: PartName,
    *,
    draws: int = 3,
    series: int = 120,
    window: float = 0.0,
    percentile: float = 0.0,
    days: float = 0.0,
    seed: int = 1,
) -> list[Panel]:
    """The hosts and the single series of a part; none of a group that is shorter than three days.

    Hosts are sums of the first metric over ``draws`` random divisions of the machines into tens.
    In the part to fit the second half is scored, and the first is its history. ``window``
    seconds, ``percentile`` and scored ``days`` (the last ones) are the protocol's if 0.
    """
    seconds, level, history = COARSE if group.step >= 120 else FINE
    begin, end = time_of(group, part)
    if group.values.shape[2] < SHORT_DAYS * group.day:
        return []
    begin = begin or (begin + end) // 2
    begin = max(begin, end - round(days * group.day)) if days else begin
    first = max(0, begin - round(history * group.day))
    rows = machines_of(group, part)
    random = np.random.default_rng(seed)
    block = group.values[rows, :, first:end].astype(np.float64)
    found = []
    for name, values in (("hosts", _hosts(block[:, 0], draws, random)), ("series", _single(block, series, random))):
        kept = _usable(values, begin - first)
        if not kept.any():
            continue
        limit = np.nanpercentile(values[kept, : begin - first], percentile or level, axis=1)
        steps = max(1, round((window or seconds) / group.step))
        title = f"{group.name} {name}"
        found.append(Panel(title, values[kept].T.copy(), begin - first, group.day, group.step, steps, limit))
    return found


def _hosts(cpu: F64, draws: int, random: np.random.Generator) -> F64:
    """(H, T) sums over tens of machines; where some are missing the others stand for them, half at least."""
    sums = []
    for _ in range(draws):
        order = random.permutation(len(cpu))
        for at in range(0, len(cpu) - SIZE + 1, SIZE):
            part = cpu[order[at : at + SIZE]]
            known = np.isfinite(part)
            count = known.sum(axis=0)
            total = np.where(known, part, 0.0).sum(axis=0)
            sums.append(np.where(count >= SIZE / 2, total * SIZE / np.maximum(count, 1), np.nan))
    return np.array(sums).reshape(len(sums), cpu.shape[1])


def _single(block: F64, most: int, random: np.random.Generator) -> F64:
    """(S, T) of every machine's every metric, at most ``most`` of them."""
    flat = block.reshape(-1, block.shape[-1])
    if len(flat) <= most:
        return flat
    return flat[np.sort(random.choice(len(flat), most, replace=False))]


def _usable(values: F64, begin: int) -> NDArray[np.bool_]:
    """Series that are known in a tenth of the time before and of that scored, and move in both."""
    kept = np.ones(len(values), np.bool_)
    for part in (values[:, :begin], values[:, begin:]):
        known = np.isfinite(part)
        low, high = np.where(known, part, np.inf).min(axis=1), np.where(known, part, -np.inf).max(axis=1)
        kept &= (known.mean(axis=1) >= KNOWN_SHARE) & (high > low)
    return kept
