"""What turns a core of arrays into a genuine sktime forecaster over whole panels.

The sktime methods and the array methods (``observe``, ``forecast_array``) act on one
state, so a service that only has arrays and a notebook that has data frames get the same
numbers. Imports sktime and pandas: for the worker process only.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sktime.forecasting.base import BaseForecaster

from sidestep.fleet.forecast import LEVELS
from sidestep.forecasting.cores import F64, Core

_PANELS = ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"]
#: a hole in the index longer than this (in steps) is treated as one of this length
_LONGEST_HOLE = 100_000


class PanelForecaster(BaseForecaster):
    """Base of the forecasters here: all series of a panel in one state, updated in constant time.

    A series is one column of one instance. Missing values are NaN or missing rows.
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["sidestep"],
        "maintainers": ["sidestep"],
        "y_inner_mtype": _PANELS,
        "X_inner_mtype": _PANELS,
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:unequal_length": True,
        "capability:update": True,
        "requires-fh-in-fit": False,
        "fit_is_empty": False,
    }

    core_: Core

    @abstractmethod
    def _core(self, series: int) -> Core:
        """A state that has seen nothing, for so many series."""

    # --- arrays -----------------------------------------------------------------------

    def begin(self, series: int) -> None:
        """Forget everything and start with so many series."""
        self.core_ = self._core(series)

    def observe(self, values: NDArray[np.floating]) -> None:
        """Learn one step (S,) or several (K, S), oldest first, in constant time per step. NaN is missing.

        Raises ValueError when the number of series is not that of the state; ``select`` changes it.
        """
        block = np.atleast_2d(np.asarray(values, dtype=np.float64))
        if not hasattr(self, "core_"):
            self.begin(block.shape[1])
        self.core_.observe(block)

    def forecast_array(self, steps: int | NDArray[np.int64], levels: tuple[float, ...] = LEVELS) -> F64:
        """(S, T, Q) quantiles for the next ``steps`` steps, or for the given ones; NaN for a series never seen."""
        ahead = np.arange(1, steps + 1) if isinstance(steps, int) else np.asarray(steps, dtype=np.int64)
        return np.asarray(self.core_.forecast(ahead, tuple(levels)), dtype=np.float64)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series by row; -1 adds one that was never seen."""
        self.core_.select(np.asarray(rows, dtype=np.int64))

    # --- sktime -----------------------------------------------------------------------

    def _fit(self, y: pd.DataFrame, X: Any = None, fh: Any = None) -> PanelForecaster:  # noqa: N803
        ids, times, block = _wide(y)
        self.instances_ = ids
        self.columns_ = y.columns
        self.level_names_ = y.index.names
        ticks = _ticks(times)
        self.pace_ = int(np.diff(ticks).min(initial=np.iinfo(np.int64).max)) if len(ticks) > 1 else 1
        self.last_ = ticks[0] - self.pace_
        self.begin(block.shape[1])
        self._advance(ticks, block)
        return self

    def _update(self, y: pd.DataFrame, X: Any = None, update_params: bool = True) -> PanelForecaster:  # noqa: N803
        ids, times, block = _wide(y)
        known = self.instances_
        if ids is not None and known is not None and not ids.equals(known):
            union = known.union(ids, sort=False)
            width = len(self.columns_)
            self.select(_spread_rows(known.get_indexer(union), width))
            self.instances_ = union
            found = _spread_rows(ids.get_indexer(union), width)
            block = np.where(found >= 0, block[:, np.maximum(found, 0)], np.nan)
        # Without new parameters the time passes and nothing is learned.
        self._advance(_ticks(times), block if update_params else np.full_like(block, np.nan))
        return self

    def _advance(self, ticks: NDArray[np.int64], block: F64) -> None:
        """Feed rows in order, holes as missing; rows that the state is already past are left out."""
        for tick, row in zip(ticks, block, strict=True):
            gap = round((int(tick) - int(self.last_)) / self.pace_)
            if gap < 1:
                continue
            for _ in range(min(gap - 1, _LONGEST_HOLE)):
                self.core_.observe(np.full(len(row), np.nan))
            self.core_.observe(row)
            self.last_ = int(tick)

    def _predict(self, fh: Any, X: Any = None) -> pd.DataFrame:  # noqa: N803
        return self._frame(fh, self._ahead(fh, (0.5,)), self.columns_)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> pd.DataFrame:  # noqa: N803
        names = self._get_varnames()
        return self._frame(fh, self._ahead(fh, tuple(alpha)), pd.MultiIndex.from_product([names, alpha]))

    def _ahead(self, fh: Any, levels: tuple[float, ...]) -> F64:
        steps = np.asarray(fh.to_relative(self.cutoff).to_numpy()).astype(np.int64)
        return np.asarray(self.core_.forecast(steps, levels), dtype=np.float64)

    def _frame(self, fh: Any, found: F64, columns: pd.Index) -> pd.DataFrame:
        times = fh.to_absolute_index(self.cutoff)
        width, steps = len(self.columns_), len(times)
        count = 1 if self.instances_ is None else len(self.instances_)
        values = found.reshape(count, width, steps, -1).transpose(0, 2, 1, 3).reshape(count * steps, -1)
        if self.instances_ is None:
            return pd.DataFrame(values, index=times, columns=columns)
        ids = self.instances_
        levels = [np.repeat(ids.get_level_values(i), steps) for i in range(ids.nlevels)]
        index = pd.MultiIndex.from_arrays([*levels, times.take(np.tile(np.arange(steps), count))])
        index.names = self.level_names_
        return pd.DataFrame(values, index=index, columns=columns)


def _wide(y: pd.DataFrame) -> tuple[pd.Index | None, pd.Index, F64]:
    """Instances, times and (K, S) values; series are instance-major, then columns."""
    if not isinstance(y.index, pd.MultiIndex):
        return None, y.index, y.to_numpy(dtype=np.float64)
    ids = y.index.droplevel(-1)
    times = y.index.get_level_values(-1)
    known, when = ids.unique(), times.unique().sort_values()
    block = np.full((len(when), len(known), y.shape[1]), np.nan)
    block[when.get_indexer(times), known.get_indexer(ids)] = y.to_numpy(dtype=np.float64)
    return known, when, block.reshape(len(when), -1)


def _ticks(times: pd.Index) -> NDArray[np.int64]:
    """Times as integers whose differences are proportional to time (or to periods)."""
    return np.asarray(times.astype("int64") if not isinstance(times, pd.PeriodIndex) else times.asi8, dtype=np.int64)


def _spread_rows(rows: NDArray[np.intp], width: int) -> NDArray[np.int64]:
    """Rows of instances as rows of series, ``width`` columns each; -1 stays -1."""
    wide = rows[:, None] * width + np.arange(width)
    return np.where(rows[:, None] >= 0, wide, -1).reshape(-1).astype(np.int64)
