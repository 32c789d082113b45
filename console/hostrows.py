"""What tables say of a host, made for all hosts of a window at once: plain numbers, not arrays.

A row of a table asks seven things of a picture; asked one by one, each costs more than its array
operation over all rows that are on screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sidestep.console.hosttext import TREND
from sidestep.console.text import MOST, UNKNOWN, UNSEEN
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, PLANNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sidestep.console.view import Condition, FleetView

_PEAK: Final = 3


class HostRow(NamedTuple):
    """One host; unknown numbers are NaN."""

    condition: Condition
    #: chance, cpu, memory and peak in whole percent, as they are written; ``text.UNKNOWN`` where nothing is known
    percents: tuple[int, int, int, int]

    #: the likeliest of its chances of contention, and the planned dimension that it is of (-1: none is known)
    chance: float
    likeliest: int
    #: present use as a fraction of what may be handed out
    cpu: float
    memory: float
    #: the highest predicted cpu use at the 0.8 quantile
    peak: float
    #: recent cpu use, oldest first, each the highest of its share of the past, in ``text.steps``
    trend: bytes
    shards: int


def trends(view: FleetView, hosts: NDArray[np.intp]) -> list[bytes]:
    """Recent cpu use of those hosts, at most TREND steps each; as ``text.steps`` of ``text.thin``."""
    steps = view.frame.past_steps
    past = np.frombuffer(view.past, dtype="<f2").reshape(len(view.hosts), PLANNED, steps)[hosts, CPU]
    found = past.astype(np.float32)
    if steps > TREND:
        found = np.fmax.reduceat(found, [steps * at // TREND for at in range(TREND)], axis=1)
    known = np.clip(np.rint(np.nan_to_num(found.astype(np.float64)) * (UNSEEN - 1)), 0, UNSEEN - 1)
    return [row.tobytes() for row in np.where(np.isnan(found), UNSEEN, known).astype(np.uint8)]


def _percents(*fractions: NDArray[np.float64]) -> list[tuple[int, int, int, int]]:
    """Rows of four fractions as ``text.percent`` writes them."""
    found = np.column_stack(fractions)
    rounded = np.rint(np.clip(found, -MOST, MOST) * 100)
    return list(map(tuple, np.where(np.isnan(found), UNKNOWN, rounded).astype(int).tolist()))


def host_rows(view: FleetView, hosts: Sequence[int], conditions: Sequence[Condition]) -> list[HostRow]:
    """The rows of those hosts, in that order; their conditions are known."""
    rows, figures, steps = np.asarray(hosts, dtype=np.intp), view.figures, view.frame.future_steps
    if not len(rows):
        return []
    risk = figures.risk[rows]
    known = np.where(np.isnan(risk), -1.0, risk)
    likeliest = PLANNED - 1 - known[:, ::-1].argmax(axis=1)  # of equals the last one
    chance = known.max(axis=1)
    chance = np.where(chance < 0, np.nan, chance)
    columns = (view.use, view.allocatable)
    use, room = (np.asarray(each).reshape(-1, len(DIMENSIONS))[rows].astype(np.float64) for each in columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        load = np.where(room > 0, use / room, np.nan)
    peak = np.full(len(rows), np.nan)
    if steps:
        ahead = np.frombuffer(view.future, dtype="<f2").reshape(len(view.hosts), PLANNED, steps, -1)
        peak = np.fmax.reduce(ahead[rows, CPU, :, _PEAK].astype(np.float64), axis=1)
    values = (
        conditions, _percents(chance, load[:, CPU], load[:, MEMORY], peak),
        chance.tolist(), np.where(np.isnan(chance), -1, likeliest).tolist(),
        load[:, CPU].tolist(), load[:, MEMORY].tolist(), peak.tolist(), trends(view, rows),
        figures.shard_count[rows].tolist(),
    )  # fmt: skip
    return [HostRow(*row) for row in zip(*values, strict=True)]
