"""Serves what the trainer's champions said, for as long as it is young."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.history import Series
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES
from sidestep.forecasting import wire
from sidestep.forecasting.calibrate import along
from sidestep.forecasting.training.messages import Adoption, Curves

F32 = NDArray[np.float32]

#: curves are served while they are younger than this part of the horizon
YOUNG: Final = 0.5


@dataclass(frozen=True)
class _Held:
    """Curves whose series are rows here: ``values`` (n, B, Q) at ``horizons`` and ``levels``."""

    model: str
    names: tuple[str, ...]
    rows: NDArray[np.int64]
    start: float
    step: float
    horizons: NDArray[np.int64]
    levels: NDArray[np.float64]
    values: F32


class Champions:
    """The newest adoption, laid on the rows of the panel. ``horizon`` is in seconds."""

    def __init__(self, horizon: float) -> None:
        self._horizon = horizon
        self._adoption = Adoption((), ())
        self._held: tuple[_Held, ...] = ()

    def adopt(self, adoption: Adoption, names: wire.Names) -> None:
        """Serve these from now on. Raises ProtocolError for values that do not fit, and keeps what was served."""
        self._held = tuple(_held(curves, names) for curves in adoption.curves)
        self._adoption = adoption

    def align(self, names: wire.Names) -> None:
        """The same for other rows."""
        if self._adoption.curves:
            self.adopt(self._adoption, names)

    def apply(self, found: F32, time: float, step: float, ahead: NDArray[np.int64], levels: tuple[float, ...]) -> None:
        """Put the young curves, shifted to ``time``, in their rows of ``found`` (S, B, Q)."""
        for held in self._young(time):
            wanted = ((time - held.start + ahead * step) / held.step).astype(np.float64)
            curves = along(np.swapaxes(held.values, 1, 2), held.horizons, wanted)
            mixed = along(np.swapaxes(curves, 1, 2), held.levels, np.asarray(levels))
            found[held.rows] = np.maximum(np.sort(mixed, axis=-1), 0.0)

    def served(self, time: float) -> tuple[tuple[str, str], ...]:
        """(series, model) of every series that a champion serves at ``time``."""
        return tuple((name, held.model) for held in self._young(time) for name in held.names)

    def which(self, names: wire.Names, time: float, models: tuple[str, ...]) -> NDArray[np.uint8]:
        """(S,) by index which of ``models`` serves each series at ``time``; 0 where no champion does."""
        found = np.zeros(names.series, np.uint8)
        for held in self._young(time):
            if held.model in models:
                found[held.rows] = models.index(held.model)
        return found

    def _young(self, time: float) -> tuple[_Held, ...]:
        return tuple(held for held in self._held if 0 <= time - held.start < YOUNG * self._horizon)


def row_of_series(text: str, names: wire.Names, known: dict[tuple[str, str], int] | None = None) -> int:
    """The row of a series by name; -1 for none."""
    try:
        series = Series.parse(text)
    except ValueError:
        return -1
    where = known if known is not None else index_of(names)
    at = where.get((series.kind, series.name), -1)
    metrics = HOST_SERIES if series.kind == "host" else SHARD_SERIES
    return at + metrics.index(series.metric) if at >= 0 and series.metric in metrics else -1


def index_of(names: wire.Names) -> dict[tuple[str, str], int]:
    """The first row of every host and shard."""
    found = {("host", name): at * wire.HOST_WIDTH for at, name in enumerate(names.hosts)}
    first = len(names.hosts) * wire.HOST_WIDTH
    found.update({("shard", name): first + at * wire.SHARD_WIDTH for at, name in enumerate(names.shards)})
    return found


def _ascend(values: tuple[float, ...], low: float, high: float) -> bool:
    """Whether there are values, ascending, all of them above ``low`` and below ``high``."""
    return bool(values) and all(a < b for a, b in pairwise((low, *values, high)))


def _held(curves: Curves, names: wire.Names) -> _Held:
    grid = _ascend(curves.horizons, 0, math.inf) and _ascend(curves.levels, 0.0, 1.0)
    if not (grid and 0 < curves.step < math.inf and math.isfinite(curves.start)):
        raise ProtocolError(
            f"curves of {curves.model}: step {curves.step}, start {curves.start}, horizons {curves.horizons} "
            f"and levels {curves.levels} are no grid"
        )
    shape = (len(curves.series), len(curves.horizons), len(curves.levels))
    values = wire.from_bytes(curves.values, shape, f"curves of {curves.model}")
    where = index_of(names)
    rows = np.array([row_of_series(text, names, where) for text in curves.series], dtype=np.int64)
    known = (rows >= 0) & np.isfinite(values).all(axis=(1, 2))
    return _Held(
        model=curves.model,
        names=tuple(name for name, some in zip(curves.series, known, strict=True) if some),
        rows=rows[known],
        start=curves.start,
        step=curves.step,
        horizons=np.array(curves.horizons, dtype=np.int64),
        levels=np.array(curves.levels, dtype=np.float64),
        values=values[known],
    )
