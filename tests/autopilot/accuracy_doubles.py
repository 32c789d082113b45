"""Boards of accuracy for the tests of the store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidestep.fleet.accuracy import COLUMNS, PEAK, VALUE, AccuracyBoard, AccuracySection, section
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES

START = 1_700_000_000.0 // 3600 * 3600
AHEAD = (1.0, 60.0, 600.0)


def part_of(
    kind: str, names: Sequence[str], *, skill: float = 0.25, of: str = VALUE, n: float = 40.0
) -> AccuracySection:
    """A section in which everybody has this skill, and whoever comes later a larger error."""
    metrics = SHARD_SERIES if kind == "shard" else HOST_SERIES
    values = np.zeros((len(names), len(metrics), len(AHEAD), len(COLUMNS)))
    values[...] = [n, skill, 0.8, 0.95, 0.5, 0.0, 0.0]
    values[..., 5] = (1 + np.arange(len(names)))[:, None, None]
    values[..., 6] = -values[..., 5] / 2
    return section(
        kind,
        of,
        names,
        metrics,
        AHEAD,
        values,
        forecastability=np.full(len(names) * len(metrics), 0.6),
        reactive=np.zeros(len(names) * len(metrics)),
        models=("aggregate", "theta"),
        served=np.arange(len(names) * len(metrics)) % 2,
    )


def board_of(
    time: float, hosts: Sequence[str] = ("h-1", "h-2"), shards: Sequence[str] = (), *, skill: float = 0.25
) -> AccuracyBoard:
    """A board of these hosts, with peaks, and shards."""
    parts = [part_of("host", hosts, skill=skill), part_of("host", hosts, skill=skill, of=PEAK)]
    if shards:
        parts.append(part_of("shard", shards, skill=skill))
    return AccuracyBoard(time=START + time, sections=tuple(parts))
