"""Demand vectors from the control loop's picture: what each app will need at an instant (S3.11). Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.daemon_forecast import Curves, need, shard_curves
from sidestep.autopilot.daemon_lookup import find
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.protocol import GetDemand
from sidestep.fleet.contention import at_quantile
from sidestep.fleet.demand import (
    SCHEMA,
    Cpu,
    DemandVector,
    Granularity,
    Io,
    Memory,
    Quantiles,
    Resources,
    instant,
    round_up,
)
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY, SHARD_SERIES
from sidestep.fleet.sums import summed

F64 = NDArray[np.float64]

_GIB: Final = 2**30
_READ, _WRITE = SHARD_SERIES.index("read_ops"), SHARD_SERIES.index("write_ops")
#: parts of the horizon for which a profile has a vector each
_PROFILE: Final = (1 / 12, 1 / 6, 1 / 3, 1 / 2, 3 / 4, 1.0)


def demand_vectors(picture: Picture, request: GetDemand) -> tuple[DemandVector, ...]:
    """S3.11 vectors of every app, or of one app or shard, at one instant or (``profile``) at several.

    Demands are those at the policy's quantile, of all shards together under its common
    factor, rounded up to whole quanta if there are any (S3.12). Raises SidestepError without
    a forecast, UsageError for a name, quantum or instant that cannot be.
    """
    forecast, shards = need(picture), picture.snapshot.shards
    reach = forecast.steps * forecast.step
    if not 0 <= request.at <= reach:
        raise UsageError(
            f"{request.at:g} s from now is beyond the forecast, which reaches {reach:g} s", hint="name less"
        )
    quanta = (_quantum("cpu", request.quantum_cpu), _quantum("memory", request.quantum_memory))
    instants = [math.ceil(part * forecast.steps) * forecast.step for part in _PROFILE]
    times = list(dict.fromkeys(instants)) if request.profile else [request.at]
    if request.app and request.app not in shards.apps:
        find(picture.snapshot, request.app, kinds=("app", "shard"))
        row = [str(name) for name in shards.names].index(request.app)
        make = _maker(picture, forecast, np.array([row], dtype=np.int64), shards.apps[row], request.app, quanta)
        return tuple(make(at) for at in times)
    apps = [request.app] if request.app else sorted(set(shards.apps))
    owners = np.array(shards.apps, dtype=object)
    makers = [_maker(picture, forecast, np.flatnonzero(owners == app), app, None, quanta) for app in apps]
    return tuple(make(at) for make in makers for at in times)


def _quantum(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise UsageError(f"a quantum of {value:g} for {name} is not finite and at least 0", hint="such as 0.5 or 2G")
    return value


def _maker(
    picture: Picture,
    forecast: Forecast,
    rows: NDArray[np.int64],
    app: str,
    shard: str | None,
    quanta: tuple[float, float],
) -> Callable[[float], DemandVector]:
    """What makes the vectors of these shards."""
    together = [_together(picture, forecast, rows, column) for column in range(len(SHARD_SERIES))]
    allocatable, observed = _allocatable(picture, rows), _observed(picture, rows)
    cores, size = quanta
    units: tuple[tuple[float, float], ...] = ((1.0, cores), (_GIB, size / _GIB), (1.0, 0.0), (1.0, 0.0))

    def make(at: float) -> DemandVector:
        levels, chosen = [], []
        for column, (curves, (unit, quantum)) in enumerate(zip(together, units, strict=True)):
            values = _at(curves, at, forecast.step) if curves is not None else np.full(len(LEVELS), np.nan)
            values = np.where(np.isfinite(values), values, np.nan_to_num(observed[column]))
            levels.append(tuple(_whole(value / unit, quantum) for value in values))
            wanted = float(at_quantile(values[None].astype(np.float32), picture.policy.quantile)[0])
            chosen.append(_whole(wanted / unit, quantum))
        known = [curves is not None for curves in together]
        return DemandVector(
            timestamp=instant(forecast.time + at),
            application_id=app,
            resources=Resources(
                cpu=Cpu(cores=chosen[CPU], percentage=_percent(chosen[CPU], allocatable[CPU])),
                memory=Memory(gb=chosen[MEMORY], percentage=_percent(chosen[MEMORY] * _GIB, allocatable[MEMORY])),
                io=Io(read_ops=chosen[_READ], write_ops=chosen[_WRITE]),
            ),
            quantiles=Quantiles(
                levels=LEVELS,
                cpu_cores=levels[CPU],
                memory_gb=levels[MEMORY],
                read_ops=levels[_READ] if known[_READ] else (),
                write_ops=levels[_WRITE] if known[_WRITE] else (),
            ),
            shard=shard,
            granularity=_granularity(cores, size),
            confidence=None if forecast.confidence == "ok" else forecast.confidence,
            schema=SCHEMA,
        )

    return make


def _granularity(cores: float, size: float) -> Granularity | None:
    if not cores and not size:
        return None
    return Granularity(cpu_cores=cores or None, memory_gb=size / _GIB if size else None)


def _together(picture: Picture, forecast: Forecast, rows: NDArray[np.int64], column: int) -> Curves | None:
    """Quantiles (B, Q) of what these shards need together, at least 0; None where the model says nothing."""
    try:
        curves = shard_curves(forecast, rows, column)
    except SidestepError:
        return None
    return Curves(curves.ahead, np.maximum(summed(curves.values, LEVELS, picture.policy.common_factor), 0.0))


def _at(curves: Curves, at: float, step: float) -> F64:
    """(Q,) at ``at`` seconds ahead: the step that it falls into; between knots, lines."""
    place = np.clip(math.ceil(at / step - 1e-9), curves.ahead[0], curves.ahead[-1])
    right = int(np.searchsorted(curves.ahead, place))
    if curves.ahead[right] == place:
        return np.asarray(curves.values[right])
    left = right - 1
    share = (place - curves.ahead[left]) / (curves.ahead[right] - curves.ahead[left])
    return np.asarray(curves.values[left] + (curves.values[right] - curves.values[left]) * share)


def _observed(picture: Picture, rows: NDArray[np.int64]) -> F64:
    """(len(SHARD_SERIES),) what was measured last: stands in for a series that is not forecast."""
    columns = [DIMENSIONS.index(metric) for metric in SHARD_SERIES]
    return np.asarray(np.nansum(picture.snapshot.shards.use[rows][:, columns], axis=0))


def _allocatable(picture: Picture, rows: NDArray[np.int64]) -> F64:
    """What the hosts that run the app can hand out, together."""
    snapshot = picture.snapshot
    hosts = np.unique(snapshot.shards.host[rows])
    return np.asarray(np.nansum(snapshot.hosts.allocatable[hosts[hosts >= 0]], axis=0), dtype=np.float64)


def _percent(demand: float, allocatable: float) -> float:
    return round(float(100 * demand / allocatable), 2) if allocatable > 0 else 0.0


def _whole(value: float, quantum: float) -> float:
    """The value to four digits, or rounded up to whole quanta."""
    return round_up(float(value), quantum) if quantum else round(float(value), 4)
