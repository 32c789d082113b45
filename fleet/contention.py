"""Contention from a forecast: how likely, when first, how high; from demand and from pressure.

One arithmetic for the oracle and the planner, over all hosts at once. The chance is the one
that the oracle has calibrated, where it has one. Else it is read off the quantiles: forecast
errors of neighbouring steps are almost perfectly correlated (a level that is too low stays too
low), so the chance that demand stays above a limit through a window is taken as the smallest
chance in it, and the chance that any window does as the largest of these.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sidestep.fleet.forecast import LEVELS, MEDIAN, Forecast
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import DIMENSIONS, HOST_SERIES, PLANNED
from sidestep.fleet.snapshot import Snapshot

F64 = NDArray[np.float64]
#: stands for infinity where differences are taken
_HUGE: Final = 1e300
#: the pressures among HOST_SERIES
PRESSURES: Final = ("psi_cpu", "psi_memory", "psi_io")
_PRESSED: Final = HOST_SERIES.index(PRESSURES[0])


class Foresight(NamedTuple):
    """What a forecast says about contention."""

    #: (H, R) the chance of contention within the horizon; NaN where nothing is known
    risk: F64
    #: where that chance reaches the policy's, soonest first
    contention: tuple[Contention, ...]
    #: where it does not, but only what begins now could still prevent it, soonest first; empty if nobody asked
    imminent: tuple[Contention, ...] = ()


def thresholds(policy: Policy) -> F64:
    """(R,) fractions of allocatable capacity above which a dimension is in contention."""
    return np.array([policy.threshold_cpu, policy.threshold_memory], dtype=np.float64)


def threshold_of(policy: Policy, dimension: str) -> float:
    """The fraction above which a dimension, or a pressure, is in contention. Raises KeyError for no such one."""
    names = (*DIMENSIONS[:PLANNED], *PRESSURES)
    known = np.concatenate([thresholds(policy), pressure_thresholds(policy)])
    return float(dict(zip(names, known, strict=True))[dimension])


def pressure_thresholds(policy: Policy) -> F64:
    """(3,) fractions of time that some task may stand still, as ``PRESSURES``; 0 is no threshold."""
    return np.array([policy.threshold_psi_cpu, policy.threshold_psi_memory, policy.threshold_psi_io], dtype=np.float64)


def limits(snapshot: Snapshot, policy: Policy) -> F64:
    """(H, R) the demand above which each host is in contention; NaN capacity is no limit."""
    capacity = snapshot.hosts.allocatable[:, :PLANNED]
    return np.where(np.isnan(capacity), np.inf, capacity) * thresholds(policy)


def at_quantile(quantiles: NDArray[np.float32], level: float) -> F64:
    """(..., T) of (..., T, Q) at any level, by linear interpolation between the known ones."""
    levels = np.asarray(LEVELS)
    level = float(np.clip(level, levels[0], levels[-1]))
    right = int(np.searchsorted(levels, level))
    if levels[right] == level:
        return quantiles[..., right].astype(np.float64)
    weight = float((level - levels[right - 1]) / (levels[right] - levels[right - 1]))
    low, high = (quantiles[..., column].astype(np.float64) for column in (right - 1, right))
    with np.errstate(invalid="ignore"):
        return np.asarray(low + np.where(high == low, 0.0, high - low) * weight, dtype=np.float64)


def exceedance(quantiles: NDArray[np.float32], limit: F64) -> F64:
    """(..., T) chance that demand is above ``limit`` (...), read off the quantile function.

    Linear between levels; beyond the outermost ones it goes to 0 and 1 over one more
    inter-level distance, so that certainty needs distance. NaN where any quantile is
    unknown; a limit that is NaN or infinite is never exceeded.
    """
    values = np.sort(np.nan_to_num(quantiles.astype(np.float64), nan=0.0, posinf=_HUGE, neginf=-_HUGE), axis=-1)
    levels = np.asarray(LEVELS)
    edge = limit[..., None, None]
    below = (values <= edge).sum(axis=-1)
    index = np.clip(below, 1, len(levels) - 1)
    low = np.take_along_axis(values, index[..., None] - 1, -1)[..., 0]
    high = np.take_along_axis(values, index[..., None], -1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        part = np.where(high > low, (limit[..., None] - low) / (high - low), 0.0)
        width = np.maximum(values[..., -1] - values[..., 0], 1e-12) * 0.25
        over = np.clip((limit[..., None] - values[..., -1]) / width, 0, 1)
        under = np.clip((values[..., 0] - limit[..., None]) / width, 0, 1)
    inside = levels[index - 1] + np.clip(part, 0, 1) * (levels[index] - levels[index - 1])
    cdf = np.where(
        below == len(levels),
        levels[-1] + over * (1 - levels[-1]),
        np.where(below == 0, levels[0] * (1 - under), inside),
    )
    chance = np.where(np.isfinite(limit)[..., None], 1.0 - cdf, 0.0)
    return np.where(np.isnan(quantiles).any(axis=-1), np.nan, chance)


def normal_exceedance(mean: F64, sd: F64, limit: F64) -> F64:
    """(..., T) chance that a normal demand (..., T) is above ``limit`` (...)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (limit[..., None] - mean) / (np.maximum(sd, 1e-12) * math.sqrt(2))
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    return np.asarray(0.5 * erfc(np.clip(z, -30, 30)), dtype=np.float64)


def sustained(chance: F64, steps: int) -> F64:
    """(...) the chance (of (..., T)) that the limit is exceeded for ``steps`` steps running.

    A step of unknown chance ends a run, as one below the limit does; NaN where no step is known.
    """
    width = max(1, min(steps, chance.shape[-1]))
    unknown = np.isnan(chance)
    windows = sliding_window_view(np.where(unknown, 0.0, chance), width, axis=-1)
    return np.where(unknown.all(axis=-1), np.nan, windows.min(axis=-1).max(axis=-1))


def first_sustained(curve: F64, limit: F64, steps: int) -> NDArray[np.int64]:
    """(...) first step from which ``curve`` (..., T) stays above ``limit`` for ``steps`` steps; -1 for never."""
    width = max(1, min(steps, curve.shape[-1]))
    above = sliding_window_view(curve > limit[..., None], width, axis=-1).all(axis=-1)
    return np.where(above.any(axis=-1), above.argmax(axis=-1), -1).astype(np.int64)


def duration_steps(policy: Policy, step: float) -> int:
    """The policy's minimum duration in whole steps, at least one."""
    return max(1, math.ceil(policy.min_duration / step - 1e-9))


def horizon_steps(policy: Policy, forecast: Forecast) -> int:
    """The steps of the forecast that lie within the policy's horizon, at least one."""
    return max(1, min(forecast.steps, math.ceil(policy.horizon / forecast.step - 1e-9)))


def likeliest(chance: F64, steps: int) -> NDArray[np.int64]:
    """(...) first step of those ``steps`` running whose smallest chance (of (..., T)) is the largest."""
    width = max(1, min(steps, chance.shape[-1]))
    held = sliding_window_view(np.nan_to_num(chance), width, axis=-1).min(axis=-1)
    return np.asarray(held.argmax(axis=-1), dtype=np.int64)


def predict_contention(snapshot: Snapshot, forecast: Forecast, policy: Policy) -> tuple[Contention, ...]:
    """Every host and dimension whose probability reaches the policy's, soonest first."""
    return foresee(snapshot, forecast, policy).contention


def actionable(contention: tuple[Contention, ...]) -> tuple[Contention, ...]:
    """What automation above level advise may act on: chances that have proved right on this very series, and facts."""
    return tuple(item for item in contention if item.proven or item.measured)


def foresee(snapshot: Snapshot, forecast: Forecast, policy: Policy, notice: F64 | None = None) -> Foresight:
    """The chance of contention everywhere, and when it comes where it is likely enough.

    The time is that of the policy's quantile; where the chance suffices but that quantile
    never crosses, the first step at which the chance itself suffices, or the likeliest one.
    Of a dead host nothing is said: what it was last seen to use is no demand any more. Of a
    series that cannot be forecast only what is measured is: it is over its limit now, or
    nothing is known (S5.22). Whatever is forecast, what has been over its limit for the minimum
    duration is in contention: a forecast that is wrong is corrected by what is measured.

    ``notice`` (H,) are the seconds before contention at which something must be done about it. As long as
    there is time to wait for a surer forecast, contention must be likely; when there is none left, it is
    imminent where demand stays above its limit at the quantile at which room is kept. A fallback says how far
    demand strays, and not what comes: nothing is imminent for it.
    """
    steps = duration_steps(policy, forecast.step)
    quantiles = forecast.hosts[:, :, : horizon_steps(policy, forecast)]
    limit = limits(snapshot, policy)
    chance = exceedance(quantiles, limit)
    dead = np.array([state is HostState.DEAD for state in snapshot.hosts.states], dtype=np.bool_)
    given = _column(forecast.chance, limit, np.nan).astype(np.float64)
    probability = np.where(np.isnan(given), sustained(chance, steps), given)
    with np.errstate(invalid="ignore"):
        over_now: NDArray[np.bool_] = np.asarray(snapshot.hosts.use[:, :PLANNED] > limit)
    reactive = _column(forecast.reactive, limit, False).astype(np.bool_)
    measured = over_now & (reactive | _column(forecast.held, limit, False).astype(np.bool_))
    probability = np.where(measured, 1.0, np.where(reactive, np.nan, probability))
    probability = np.where(dead[:, None], np.nan, probability)
    proven = _column(forecast.proven, limit, False).astype(np.bool_) & np.isfinite(given) & ~reactive
    curve = at_quantile(quantiles, policy.quantile)
    first = first_sustained(curve, limit, steps)
    enough = np.full(limit.shape, policy.min_probability - 1e-12)
    first = np.where(first >= 0, first, first_sustained(chance, enough, steps))
    first = np.where(first >= 0, first, likeliest(chance, steps))
    first = np.where(measured, 0, first)
    capacity = limit / thresholds(policy)
    peaks = np.fmax(_peaks(forecast, policy), np.where(measured, snapshot.hosts.use[:, :PLANNED], np.nan))
    with np.errstate(invalid="ignore"):
        sure: NDArray[np.bool_] = np.asarray(probability >= policy.min_probability)
    tops = np.fmax(np.fmax.reduce(curve, axis=-1), peaks) / capacity

    def told(first: NDArray[np.int64], where: NDArray[np.bool_]) -> list[Contention]:
        return [
            Contention(
                host=snapshot.hosts.names[h],
                dimension=DIMENSIONS[r],
                probability=float(probability[h, r]),
                starts_at=forecast.time + float(first[h, r] + 1) * forecast.step,
                lead=float(first[h, r] + 1) * forecast.step,
                peak=float(tops[h, r]),
                proven=bool(proven[h, r]),
                measured=bool(measured[h, r]),
            )
            for h, r in np.argwhere(where)
        ]

    found = told(first, sure & np.isfinite(limit)) + _pressed(snapshot, forecast, policy, dead)
    imminent: list[Contention] = []
    if notice is not None and not forecast.fallback:
        near = _near(curve, limit, steps, 1 + np.ceil(notice / forecast.step - 1e-9))
        with np.errstate(invalid="ignore"):
            unlikely = given < 1.0 - policy.quantile - 1e-9
        imminent = told(near, (near >= 0) & ~(sure | unlikely | reactive | dead[:, None]))
    soonest = (tuple(sorted(each, key=lambda c: (c.lead, -c.probability, c.host))) for each in (found, imminent))
    return Foresight(probability, *soonest)


def _near(curve: F64, limit: F64, steps: int, last: F64) -> NDArray[np.int64]:
    """(H, R) the first step from which ``curve`` stays above ``limit``, of the first ``last`` (H,); -1 for none."""
    beyond = np.arange(curve.shape[-1]) >= (last + steps - 1)[:, None]
    return first_sustained(np.where(beyond[:, None], -np.inf, curve), limit, steps)


def _column(values: NDArray[np.generic], limit: F64, missing: float | bool) -> NDArray[np.generic]:
    """(H, R) of what a forecast may carry or not."""
    return values if values.shape == limit.shape else np.full(limit.shape, missing)


def _peaks(forecast: Forecast, policy: Policy) -> F64:
    """(H, R) the policy's quantile of the highest value within the horizon; NaN where it is not forecast."""
    reach = horizon_steps(policy, forecast)
    inside = [at for at, window in enumerate(forecast.windows) if window <= reach]
    if not inside or forecast.host_peaks.shape[0] != forecast.hosts.shape[0]:
        return np.full(forecast.hosts.shape[:2], np.nan)
    return at_quantile(forecast.host_peaks[:, :PLANNED, inside[-1]], policy.quantile)


def _pressed(snapshot: Snapshot, forecast: Forecast, policy: Policy, dead: NDArray[np.bool_]) -> list[Contention]:
    """Where pressure is predicted to be too high: tasks that stand still are contention, whatever is used.

    Nothing is known about how right such chances are, so they are never proven.
    """
    knots, hosts = np.asarray(forecast.knots, dtype=np.float64), forecast.hosts.shape[0]
    limit = 100.0 * pressure_thresholds(policy)
    if not len(knots) or forecast.host_knots.shape[:2] != (hosts, len(HOST_SERIES)) or not limit.any():
        return []
    values = forecast.host_knots[:, _PRESSED : _PRESSED + len(PRESSURES)]
    with np.errstate(invalid="ignore"):
        high = (at_quantile(values, 1 - policy.min_probability) >= limit[:, None]).any(axis=-1)
    rows = np.argwhere(high & (limit > 0) & ~dead[:, None])
    if not len(rows):
        return []
    steps = np.arange(1, horizon_steps(policy, forecast) + 1)
    lines = np.stack([np.interp(steps, knots, unit) for unit in np.eye(len(knots))]).astype(np.float32)
    curves = np.einsum("mbq,bt->mtq", values[rows[:, 0], rows[:, 1]], lines)
    width, edge = duration_steps(policy, forecast.step), limit[rows[:, 1]]
    chance = exceedance(curves, edge)
    probability, upper = sustained(chance, width), at_quantile(curves, policy.quantile)
    first = first_sustained(upper, edge, width)
    first = np.where(first >= 0, first, likeliest(chance, width))
    return [
        Contention(
            host=snapshot.hosts.names[h],
            dimension=PRESSURES[k],
            probability=float(probability[at]),
            starts_at=forecast.time + float(first[at] + 1) * forecast.step,
            lead=float(first[at] + 1) * forecast.step,
            peak=float(np.fmax.reduce(upper[at]) / 100.0),
            cause="pressure",
        )
        for at, (h, k) in enumerate(rows.tolist())
        if probability[at] >= policy.min_probability
    ]


def median(forecast: Forecast) -> F64:
    """(H, R, T) the median demand of every host."""
    return forecast.hosts[..., MEDIAN].astype(np.float64)
