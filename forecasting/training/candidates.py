"""Forecasters by name: found, made and asked, one series at a time, and never believed.

A candidate is somebody else's code: what it says is brought into order, kept within what
the series has ever come near, and refused when it is not finite. Only children of the
trainer call this with a class that is not sktime's own.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sidestep.fleet.errors import UsageError
from sidestep.fleet.extensions import FORECASTERS, PluginError, load
from sidestep.fleet.inventory import CandidateSpec
from sidestep.forecasting.registry import MODELS
from sidestep.forecasting.training.origins import LEVELS

F64 = NDArray[np.float64]
Steps = NDArray[np.int64]

#: no forecast goes beyond so many times the highest value of the series
FARTHEST: Final = 3.0
#: a parameter of this value becomes the number of steps in a day
SEASON: Final = "season"
#: most values that a forecaster is fitted on
LONGEST: Final = 3000


def is_ours(candidate: CandidateSpec) -> bool:
    """Whether it is a model of the registry, which takes all series at once."""
    return candidate.model in MODELS


def found(candidate: CandidateSpec) -> Any:
    """The class of a candidate. Raises UsageError naming what is wrong and the remedy."""
    module, _, name = candidate.model.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name, None) if module else load(FORECASTERS, name)
    except PluginError as error:
        raise UsageError(f"candidate {candidate.name}: {error.args[0]}", hint=error.hint) from error
    except Exception as error:
        raise UsageError(
            f"candidate {candidate.name}: {candidate.model} cannot be imported: {type(error).__name__}: {error}",
            hint="install what it needs beside sidestep, or correct the path",
        ) from error
    if made is None:
        raise UsageError(f"candidate {candidate.name}: {module} has no {name}", hint="correct the path")
    from sktime.forecasting.base import BaseForecaster  # noqa: PLC0415

    if not (isinstance(made, type) and issubclass(made, BaseForecaster)):
        raise UsageError(f"candidate {candidate.name}: {candidate.model} is no sktime forecaster",
                         hint="name a subclass of sktime.forecasting.base.BaseForecaster")  # fmt: skip
    return made


def made(candidate: CandidateSpec, season: float) -> Any:
    """A new forecaster of a candidate; ``season`` in steps. Raises UsageError when it does not take its parameters."""
    kind = found(candidate)
    steps = max(1, round(season))
    given = {key: steps if value == SEASON else value for key, value in json.loads(candidate.params).items()}
    try:
        forecaster = kind(**given)
        missing = not _can_run(forecaster)
    except Exception as error:
        raise UsageError(
            f"candidate {candidate.name}: {candidate.model} does not take {candidate.params}: "
            f"{type(error).__name__}: {error}",
            hint="correct params",
        ) from error
    if missing:
        raise UsageError(f"candidate {candidate.name}: {candidate.model} needs packages that are not installed",
                         hint="install " + ", ".join(_needs(forecaster)))  # fmt: skip
    return forecaster


def _needs(forecaster: Any) -> list[str]:
    wanted = forecaster.get_tag("python_dependencies", tag_value_default=None, raise_error=False) or []
    return [wanted] if isinstance(wanted, str) else [str(each) for each in wanted]


def _can_run(forecaster: Any) -> bool:
    from skbase.utils.dependencies import _check_soft_dependencies  # noqa: PLC0415

    wanted = _needs(forecaster)
    return not wanted or bool(_check_soft_dependencies(*wanted, severity="none"))


def checked(candidate: CandidateSpec, season: float) -> None:
    """Raise UsageError if a candidate cannot compete."""
    if not is_ours(candidate):
        made(candidate, season)
    elif candidate.model not in MODELS:
        raise UsageError(f"candidate {candidate.name}: unknown model {candidate.model!r}",
                         hint=f"name a class by its path, or one of {', '.join(sorted(MODELS))}")  # fmt: skip


def has_intervals(forecaster: Any) -> bool:
    """Whether it says quantiles itself."""
    return bool(forecaster.get_tag("capability:pred_int", tag_value_default=False, raise_error=False))


def asked(forecaster: Any, values: F64, start: float, step: float, ahead: Steps) -> F64:
    """(T, Q) what a fresh clone says of ``values`` (K,), or (T, 1) the point forecast of one without intervals.

    ``start`` is the unix time of the first value. Raises whatever the forecaster raises, and
    ValueError for an answer of the wrong shape.
    """
    index = pd.date_range(pd.Timestamp(start, unit="s"), periods=len(values), freq=pd.Timedelta(seconds=step))
    fresh = forecaster.clone()
    # every step up to the last one: some forecasters take their season from the wrong place when steps are left out
    last = int(ahead[-1])
    fresh.fit(pd.Series(values, index=index, name="y"), fh=list(range(1, last + 1)))
    if not has_intervals(fresh):
        return _shaped(fresh.predict(), (last, 1))[ahead - 1]
    return _shaped(fresh.predict_quantiles(alpha=list(LEVELS)), (last, len(LEVELS)))[ahead - 1]


def _shaped(answer: Any, shape: tuple[int, int]) -> F64:
    values = np.asarray(answer, dtype=np.float64)
    if values.size != shape[0] * shape[1]:
        raise ValueError(f"an answer of shape {values.shape} instead of {shape}")
    return values.reshape(shape)


def sane(said: F64, values: F64) -> F64:
    """(..., Q) in ascending order, not negative and not beyond ``FARTHEST`` times the highest of ``values``.

    What is not finite makes its whole horizon NaN.
    """
    high = FARTHEST * max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-12)
    known = np.isfinite(said).all(axis=-1, keepdims=True)
    return np.where(known, np.clip(np.sort(said, axis=-1), 0.0, high), np.nan)


def filled(values: F64) -> F64:
    """(K,) without gaps: lines across holes, level at both ends, nothing before the first value; empty if all are."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.empty(0)
    part = values[known[0] :]
    return np.interp(np.arange(len(part)), known - known[0], values[known])
