"""Snapshots and forecasts with other numbers in them: more demand, more hosts.

Sums of shards keep the arithmetic of ``planning.uncertainty``: the shards give the proportions,
the level is the oracle's own forecast of the host.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast import MEDIAN, Forecast
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.fleet.snapshot import Floats, Snapshot
from sidestep.planning.uncertainty import F64, combined

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]


def scaled(
    snapshot: Snapshot, forecast: Forecast, own: Mask, whole: Mask, factor: float, dimension: str, common_factor: float
) -> tuple[Snapshot, Forecast]:
    """Demand of the shards ``own`` (N,) and of all that runs on the hosts ``whole`` (H,), times ``factor``.

    ``dimension`` is one planned dimension, or "" for all. Hosts that are not whole grow by what
    their shards grow, and their spread in proportion.
    """
    columns = np.arange(PLANNED) if not dimension else np.array([DIMENSIONS.index(dimension)])
    rho = forecast.rho if np.isfinite(forecast.rho) else common_factor
    shards, hosts = snapshot.shards, snapshot.hosts
    part = np.zeros(len(whole), dtype=np.bool_)
    part[shards.host[own & (shards.host >= 0)]] = True
    part &= ~whole
    steps = np.ix_(np.flatnonzero(own), columns)
    mean, sd = _times(forecast.shard_mean, steps, factor), _times(forecast.shard_sd, steps, factor)
    demand = _times(forecast.hosts, np.ix_(np.flatnonzero(whole), columns), factor)
    rows = np.flatnonzero(part)
    if rows.size:
        demand[np.ix_(rows, columns)] = _raised(forecast, shards.host, mean, sd, rows, columns, rho)
    touched = np.ix_(np.flatnonzero(whole | part), columns)
    use = _times(hosts.use, np.ix_(np.flatnonzero(whole), columns), factor)
    grown = np.zeros_like(use)
    placed = np.flatnonzero(own & (shards.host >= 0))
    np.add.at(grown, shards.host[placed], np.nan_to_num(shards.use[placed]) * (factor - 1.0))
    use[np.ix_(rows, columns)] += grown[np.ix_(rows, columns)]
    return (
        replace(
            snapshot,
            hosts=replace(hosts, use=use),
            shards=replace(shards, use=_times(shards.use, steps, factor)),
        ),
        replace(
            forecast,
            hosts=demand,
            shard_mean=mean,
            shard_sd=sd,
            chance=_unknown(forecast.chance, touched),
            host_peaks=_unknown(forecast.host_peaks, touched),
            host_knots=_unknown(forecast.host_knots, touched),
            shard_knots=_times(forecast.shard_knots, steps, factor) if forecast.shard_knots.size else _EMPTY,
        ),
    )


_EMPTY = np.zeros((0, 0, 0, 0), dtype=np.float32)


def _times(values: NDArray[np.floating], at: tuple[NDArray[np.intp], ...], factor: float) -> NDArray:  # type: ignore[type-arg]
    made = np.array(values)
    made[at] = made[at] * factor
    return made


def _unknown(values: F32, at: tuple[NDArray[np.intp], ...]) -> F32:
    """The values without those that no longer hold; what is not there stays away."""
    if not values.size:
        return values
    made = np.array(values)
    made[at] = np.nan
    return made


def _raised(
    forecast: Forecast, host: NDArray[np.int32], mean: F32, sd: F32, rows: Rows, columns: Rows, rho: float
) -> F32:
    """(len(rows), len(columns), T, Q) of hosts some of whose shards now have another ``mean`` and ``sd``."""
    place = np.full(int(host.max(initial=0)) + 2, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    on = place[host]
    inside = np.flatnonzero(on >= 0)

    def total(values: F32, power: int) -> F64:
        out = np.zeros((len(rows), len(columns), values.shape[2]))
        np.add.at(out, on[inside], np.nan_to_num(values[inside][:, columns]).astype(np.float64) ** power)
        return out

    before = combined(total(forecast.shard_sd, 2), total(forecast.shard_sd, 1), rho)
    after = combined(total(sd, 2), total(sd, 1), rho)
    with np.errstate(divide="ignore", invalid="ignore"):
        wider = np.where(before > 0, np.sqrt(after / before), 1.0)
    known = forecast.hosts[np.ix_(rows, columns)].astype(np.float64)
    median = known[..., MEDIAN]
    moved = np.maximum(median + total(mean, 1) - total(forecast.shard_mean, 1), 0.0)
    away = (known - median[..., None]) * wider[..., None]
    return np.asarray(moved[..., None] + away, dtype=np.float32)


def grow(snapshot: Snapshot, forecast: Forecast, like: int, names: tuple[Label, ...]) -> tuple[Snapshot, Forecast]:
    """The fleet with one more READY host for every name, as large as the host of row ``like``.

    It demands what that host demands beside its shards, which is taken for certain.
    """
    count, hosts = len(names), snapshot.hosts
    mine = np.flatnonzero(snapshot.shards.host == like)
    idle: dict[str, Any] = {
        "names": names,
        "states": (HostState.READY,) * count,
        "reasons": (Label("what if"),) * count,
        "use": _rest(hosts.use[like], snapshot.shards.use[mine]),
        "pressure": 0.0,
        "age": 0.0,
    }
    columns: dict[str, Any] = {}
    for each in fields(hosts):
        value = getattr(hosts, each.name)
        if isinstance(value, np.ndarray):
            row = np.broadcast_to(idle.get(each.name, value[like]), value.shape[1:]) if len(value) else value
            columns[each.name] = np.concatenate([value, np.repeat(row[None], count, axis=0)]) if len(value) else value
        elif value:
            columns[each.name] = (*value, *idle.get(each.name, (value[like],) * count))
    own = np.zeros((*forecast.hosts.shape[1:3], 1))
    median = forecast.hosts[like, :, :, MEDIAN].astype(np.float64)
    own[..., 0] = np.maximum(median - np.nan_to_num(forecast.shard_mean[mine]).astype(np.float64).sum(axis=0), 0.0)
    block = np.broadcast_to(np.nan_to_num(own), (count, *forecast.hosts.shape[1:])).astype(np.float32)

    def more(values: NDArray[np.generic], fill: float | bool) -> NDArray:  # type: ignore[type-arg]
        if not values.size:
            return values
        return np.concatenate([values, np.full((count, *values.shape[1:]), fill, dtype=values.dtype)])

    return (
        replace(snapshot, hosts=replace(hosts, **columns)),
        replace(
            forecast,
            hosts=np.concatenate([forecast.hosts, block]),
            host_knots=more(forecast.host_knots, np.nan),
            host_peaks=more(forecast.host_peaks, np.nan),
            chance=more(forecast.chance, np.nan),
            proven=more(forecast.proven, False),
            reactive=more(forecast.reactive, False),
        ),
    )


def silenced(forecast: Forecast, rows: Mask) -> Forecast:
    """The forecast of hosts that are gone: nothing runs there, and there is no contention."""
    hosts, at = np.array(forecast.hosts), np.flatnonzero(rows)
    hosts[at] = 0.0
    every = np.ix_(at, np.arange(PLANNED))
    return replace(
        forecast,
        hosts=hosts,
        chance=_unknown(forecast.chance, every),
        host_peaks=_unknown(forecast.host_peaks, every),
        host_knots=_unknown(forecast.host_knots, (at,)),
    )


def _rest(total: Floats, parts: Floats) -> Floats:
    return np.asarray(np.maximum(total - np.nan_to_num(parts).sum(axis=0), 0.0), dtype=np.float64)
