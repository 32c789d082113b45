"""How hosts look over the horizon, before and after a plan: evidence and outlook."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.contention import at_quantile, exceedance, sustained, threshold_of
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.plans import Evidence, Outlook
from sidestep.fleet.resources import DIMENSIONS
from sidestep.planning.build import Built
from sidestep.planning.model import State
from sidestep.planning.uncertainty import NORMAL, deviation_after

F64 = NDArray[np.float64]

#: points of a curve that an action carries
POINTS = 60


def quantiles(built: Built, state: State, host: int) -> F64:
    """(R, T, Q) the whole forecast of a host after the moves; the oracle's own if none touches it."""
    load, problem = built.load, built.problem
    known: F64 = load.quantiles[host].astype(np.float64)
    shape = load.median[host].shape
    if host in {*(one.host for one in built.resized), *(one.host for one in built.applied)}:
        known = _resized(built, known, host)
    if not (state.left[host] or state.came[host]):
        return known
    median, share, added = (part[: problem.timed].reshape(shape)[..., None] for part in state.change(host))
    away = known - _median(built, host)[..., None]
    return np.asarray(median + deviation_after(away, NORMAL, share, added), dtype=np.float64)


def _median(built: Built, host: int) -> F64:
    """(R, T) the middle of a host's forecast once its shards are resized, and plugins have done their part."""
    shape = built.load.median[host].shape
    return np.asarray(built.problem.median[host, : built.problem.timed].reshape(shape), dtype=np.float64)


def _resized(built: Built, known: F64, host: int) -> F64:
    """A host's whole forecast around its new middle; what was uncertain shrinks as much as that did."""
    before = built.load.median[host].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(before > 0, _median(built, host) / before, 1.0)
    return np.asarray(known * share[..., None], dtype=np.float64)


def evidence(built: Built, after: State, contention: Contention, created: float) -> Evidence:
    """The forecast of the host that is relieved, before and after the whole plan."""
    load, policy = built.load, built.policy
    host, dimension = built.rules.host_row[contention.host], DIMENSIONS.index(contention.dimension)
    steps = load.median.shape[2]
    points = np.unique(np.linspace(0, steps - 1, min(steps, POINTS)).round().astype(np.int64))

    def curve(values: F64) -> tuple[float, ...]:
        return tuple((values[dimension, points] / max(float(load.capacity[host, dimension]), 1e-9)).round(4).tolist())

    return Evidence(
        host=contention.host,
        dimension=contention.dimension,
        threshold=threshold_of(policy, contention.dimension),
        quantile=policy.quantile,
        probability=contention.probability,
        starts_at=contention.starts_at,
        lead=contention.starts_at - created,
        times=tuple((load.time + (points + 1) * load.step - created).round(3).tolist()),
        median=curve(load.median[host]),
        upper=curve(_level(load.quantiles[host].astype(np.float64), policy)),
        upper_after=curve(_level(quantiles(built, after, host), policy)),
    )


def outlook(built: Built, after: State) -> tuple[Outlook, ...]:
    """Every touched and every hot host, per planned dimension of known capacity, by name."""
    load, rules = built.load, built.rules
    touched = np.flatnonzero((after.left > 0) | (after.came > 0)).tolist()
    made: list[Outlook] = []
    for row in sorted({*touched, *built.contentions}, key=lambda r: rules.host_names[r]):
        before, then = load.quantiles[row].astype(np.float64), quantiles(built, after, row)
        chances = [sustained(exceedance(q, load.limit[row]), load.duration) for q in (before, then)]  # type: ignore[arg-type]
        peaks = [_level(q, built.policy).max(axis=1) / load.capacity[row] for q in (before, then)]
        for dimension in np.flatnonzero(np.isfinite(load.capacity[row]) & np.isfinite(peaks[0])).tolist():
            made.append(
                Outlook(
                    host=rules.host_names[row],
                    dimension=DIMENSIONS[dimension],
                    capacity=float(load.capacity[row, dimension]),
                    peak_before=float(peaks[0][dimension]),
                    peak_after=float(peaks[1][dimension]),
                    probability_before=float(chances[0][dimension]),
                    probability_after=float(chances[1][dimension]),
                )
            )
    return tuple(made)


def _level(quantiles: F64, policy: Policy) -> F64:
    return at_quantile(quantiles, policy.quantile)  # type: ignore[arg-type]
