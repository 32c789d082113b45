"""What rows of the accuracy board come to over a window of time. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from sidestep.fleet.accuracy import AccuracyRow, Rolling

#: no board counts for more than an error ratio of this
_MOST: Final = 11.0
_LEAST: Final = 0.01


def rolling(rows: Sequence[AccuracyRow]) -> Rolling:
    """All boards and horizons of one series together, weighted by how often they were scored.

    Skill is pooled by the geometric mean of error ratios, so that one bad hour does not hide
    a good week, nor the other way round; ``worst`` says how bad it was.
    """
    boards: dict[float, list[AccuracyRow]] = {}
    for row in rows:
        boards.setdefault(row.time, []).append(row)
    skills = [skill for each in boards.values() if (skill := _skill(each)) is not None]
    return Rolling(
        boards=len(boards),
        n=sum(row.n for row in rows),
        skill=_skill(rows),
        worst=min(skills, default=None),
        coverage80=_mean(rows, lambda row: row.coverage80),
        coverage95=_mean(rows, lambda row: row.coverage95),
        reactive=sum(each[-1].reactive for each in boards.values()) / len(boards) if boards else None,
    )


def _skill(rows: Sequence[AccuracyRow]) -> float | None:
    found = _mean(rows, lambda row: None if row.skill is None else math.log(min(_MOST, max(_LEAST, 1 - row.skill))))
    return None if found is None else 1 - math.exp(found)


def _mean(rows: Sequence[AccuracyRow], value: Callable[[AccuracyRow], float | None]) -> float | None:
    known = [(found, row.n) for row in rows if (found := value(row)) is not None]
    weight = sum(n for _, n in known)
    return sum(found * n for found, n in known) / weight if weight > 0 else None
