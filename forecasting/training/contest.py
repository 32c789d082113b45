"""One contestant on one arena, by rolling origin: what its forecasts were worth and what they cost.

Runs in a child of the trainer. Every forecast is made from what was known at its origin and
nothing later; of a forecaster without intervals, those come from its own earlier errors.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.fleet.inventory import CandidateSpec
from sidestep.forecasting.registry import make
from sidestep.forecasting.training import candidates
from sidestep.forecasting.training.origins import LEVELS, MEDIAN, Course, crps, scale, strays, truth

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: a model that says nothing usable for more than this part of its forecasts is out
GARBAGE: Final = 0.05
#: so many forecasts that raise end the trial: the others would, too
RAISED: Final = 5


@dataclass(frozen=True, kw_only=True)
class Field:
    """What is competed on: ``values`` (K, S) from ``start`` (unix seconds), one row every ``step`` seconds."""

    values: F32
    start: float
    step: float
    #: steps of a day, 0 for none; steps of the policy's horizon
    season: float
    horizon: int
    course: Course
    #: those of the network that is served, empty for the shipped one
    weights: bytes = b""


class Result(Struct, frozen=True):
    """``scores`` is (S, O) f4, NaN for what was not reached; ``cost`` processor seconds per series and forecast.

    ``offsets`` are (H, len(LEVELS)) f4 for a forecaster without intervals. ``error`` says why it is out, "" if not.
    """

    scores: bytes = b""
    reached: int = 0
    cost: float = 0.0
    bad: float = 0.0
    offsets: bytes = b""
    error: str = ""
    weights: bytes = b""


def compete(candidate: CandidateSpec, field: Field, *, share: float, served_fresh: bool) -> Result:
    """The result of a contestant that may use ``share`` seconds of processor time.

    ``served_fresh`` is for the oracle's own model, which learns every step; whoever is served
    from curves is judged at the age at which they are used.
    """
    if candidates.is_ours(candidate):
        return _panel(candidate, field, served_fresh=served_fresh)
    return _singles(candidate, field, share)


def begin(model: Any, series: int, weights: bytes) -> None:
    """Start a model of the registry, with these weights if it has a network whose weights can be changed."""
    model.begin(series)
    adopt = getattr(model.core_, "adopt", None)
    if weights and adopt is not None:
        adopt(weights)


def _panel(candidate: CandidateSpec, field: Field, *, served_fresh: bool) -> Result:
    """All series at once, one step after the other."""
    began = time.process_time()
    course, values = field.course, field.values
    age = 0 if served_fresh else course.age
    model = make(candidate.model, field.season, field.horizon + age)
    begin(model, values.shape[1], field.weights)
    ahead = np.asarray(course.knots) + age
    said = np.empty((values.shape[1], len(course.origins), len(ahead), len(LEVELS)))
    known = 0
    for at, origin in enumerate(course.origins):
        model.observe(values[known : origin - age])
        known = origin - age
        said[:, at] = model.forecast_array(ahead, LEVELS)
    said = np.where(np.isfinite(said).all(axis=-1, keepdims=True), np.sort(said, axis=-1), np.nan)
    return _result(field, said, values.shape[1], time.process_time() - began, whole=True)


def _singles(candidate: CandidateSpec, field: Field, share: float) -> Result:
    """One series after the other, until the share of processor time is used up."""
    course, values = field.course, field.values
    forecaster = candidates.made(candidate, field.season)
    intervals = candidates.has_intervals(forecaster)
    wanted = course.origins if intervals else course.all
    width = len(LEVELS) if intervals else 1
    said = np.full((values.shape[1], len(wanted), len(course.knots), width), np.nan)
    began = time.process_time()
    reached = raised = 0
    for series in range(values.shape[1]):
        spent = time.process_time() - began
        if reached and spent * (reached + 1) / reached > share:
            break
        for at, origin in enumerate(wanted):
            try:
                said[series, at] = _one(forecaster, field, series, origin)
            except MemoryError:
                return Result(error="took more memory than it may")
            except Exception as error:  # noqa: BLE001 - somebody else's code: its failures are counted
                raised += 1
                if raised > RAISED and raised > GARBAGE * (reached + 1) * len(wanted):
                    return Result(error=f"raises {type(error).__name__}: {error}"[:300])
        reached += 1
    if not intervals:
        said, offsets = _conformal(field, said[..., 0])
    cost = (time.process_time() - began) * len(course.origins) / len(wanted)
    found = _result(field, said, reached, cost, whole=False)
    return found if intervals else msgspec.structs.replace(found, offsets=offsets.astype("<f4").tobytes())


def _one(forecaster: object, field: Field, series: int, origin: int) -> F64:
    """(H, Q) at one origin of one series, made ``age`` steps before it."""
    course = field.course
    end = origin - course.age
    begin = max(0, end - candidates.LONGEST)
    known = candidates.filled(field.values[begin:end, series].astype(np.float64))
    if len(known) < 2:
        raise ValueError("too little is known of the series")
    ahead = np.asarray(course.knots, dtype=np.int64) + course.age
    start = field.start + (end - len(known)) * field.step
    return candidates.sane(candidates.asked(forecaster, known, start, field.step, ahead), known)


def _conformal(field: Field, median: F64) -> tuple[F64, F64]:
    """(S, O, H, Q) of point forecasts (S, O + warm, H), each from errors that were known when it was made.

    And the (H, Q) offsets from all errors, for the curves to come.
    """
    course = field.course
    came = truth(field.values, course.all, course.knots)
    size = scale(field.values, course)
    ended = np.asarray(course.all)[:, None] + np.asarray(course.knots)
    made = []
    for at, origin in enumerate(course.origins, len(course.warm)):
        offsets = strays(came, median, size, ended <= origin - course.age)
        made.append(median[:, at, :, None] + offsets * size[:, None, None])
    every = strays(came, median, size, np.ones_like(ended, dtype=np.bool_))
    return np.maximum(np.stack(made, axis=1), 0.0), every


def _result(field: Field, said: F64, reached: int, seconds: float, *, whole: bool) -> Result:
    course = field.course
    came = truth(field.values, course.origins, course.knots)
    scores = crps(came, said, scale(field.values, course))
    scores[reached:] = np.nan
    asked = np.isfinite(came[:reached]).any(axis=-1)
    bad = float(np.isnan(scores[:reached])[asked].mean()) if asked.any() else 0.0
    # a panel is gone through once, whatever the number of origins
    count = max(1, reached) * (1 if whole else len(course.origins))
    error = f"{bad:.0%} of its forecasts are not finite or raised" if bad > GARBAGE else ""
    return Result(scores=scores.astype("<f4").tobytes(), reached=reached, cost=seconds / count, bad=bad, error=error)


__all__ = ["MEDIAN", "Field", "Result", "compete"]
