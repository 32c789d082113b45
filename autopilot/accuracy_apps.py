"""Apps on the accuracy board: the account of an app is that of its shards together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from sidestep.fleet.accuracy import COLUMNS, VALUE, AccuracyBoard, AccuracySection, section

_N: Final = COLUMNS.index("n")
_SKILL: Final = COLUMNS.index("skill")
#: ratios of errors outside of these are one series drowning the others
_RATIO: Final = (0.01, 11.0)


def with_apps(board: AccuracyBoard, apps: Sequence[str]) -> AccuracyBoard:
    """The board with a section of apps added; ``apps`` names the app of every shard in the board's order.

    Shards are weighted by how often they were scored: coverage and losses by the mean,
    skill by the geometric mean of error ratios. An app is reactive if most of its shards are.
    Raises ValueError unless there is one app a shard.
    """
    found = [_pooled(part, apps) for part in board.sections if part.kind == "shard" and part.names]
    return structs.replace(board, sections=(*board.sections, *found))


def _pooled(part: AccuracySection, apps: Sequence[str]) -> AccuracySection:
    values, chance, reactive, served = part.arrays()
    names, which = np.unique(np.array([str(app) for app in apps]), return_inverse=True)
    if len(which) != len(part.names):
        raise ValueError(f"{len(which)} apps named for {len(part.names)} shards")

    def total(array: NDArray[Any]) -> NDArray[Any]:
        summed = np.zeros((len(names), *array.shape[1:]))
        np.add.at(summed, which, array)
        return summed

    with np.errstate(invalid="ignore", divide="ignore"):
        given = values.astype(np.float64)
        given[..., _SKILL] = np.log(np.clip(1 - given[..., _SKILL], *_RATIO))
        known = np.isfinite(given)
        weight = np.where(known, np.maximum(given[..., _N, None], 0), 0)
        pooled = total(np.where(known, given, 0) * weight) / total(weight)
        pooled[..., _N] = total(np.nan_to_num(given[..., _N]))
        pooled[..., _SKILL] = 1 - np.exp(pooled[..., _SKILL])
        sure = np.isfinite(chance)
        likely = total(np.where(sure, chance, 0).astype(float)) / total(sure.astype(float))
        count = total(np.ones(chance.shape))
    # an app is named after the model of its first shard: one of several would be no more true
    first = np.unique(which, return_index=True)[1]
    return section(
        "app",
        VALUE,
        [str(name) for name in names],
        part.metrics,
        part.horizons,
        pooled,
        forecastability=likely,
        reactive=2 * total(reactive.astype(float)) > count,
        models=part.models,
        served=served[first],
    )
