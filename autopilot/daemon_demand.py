"""Demand vectors of apps, from a forecast. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.frames import Picture
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet.contention import at_quantile
from sidestep.fleet.demand import SCHEMA, Cpu, DemandVector, Io, Memory, Quantiles, Resources, instant
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.resources import CPU, DIMENSIONS, MEMORY

_GIB = 2**30
_READ, _WRITE = DIMENSIONS.index("read_ops"), DIMENSIONS.index("write_ops")


def demand_vectors(picture: Picture, app: str, at: float) -> tuple[DemandVector, ...]:
    """S3.11 vectors of every app, or of one, ``at`` seconds after the forecast, at the policy's quantile.

    A sum of quantiles, so on the safe side. Disk operations are the present ones: they are
    observed, not forecast. Raises SidestepError without a forecast, UsageError for an
    unknown app and for an instant that the forecast does not reach.
    """
    forecast, shards = picture.forecast, picture.snapshot.shards
    if forecast is None:
        raise SidestepError("there is no forecast yet", hint="wait for the oracle's first answer")
    reach = forecast.steps * forecast.step
    if not 0 <= at <= reach:
        raise UsageError(f"{at:g} s from now is beyond the forecast, which reaches {reach:g} s", hint="name less")
    apps = sorted(set(shards.apps))
    if app and app not in apps:
        raise UnknownReference(f"no app {app}", hint=f"apps: {', '.join(apps) or 'none'}")
    step = max(0, math.ceil(at / forecast.step - 1e-9) - 1)
    return tuple(_vector(picture, forecast, name, at, step) for name in ([app] if app else apps))


def _vector(picture: Picture, forecast: Forecast, app: str, at: float, step: int) -> DemandVector:
    shards = picture.snapshot.shards
    rows = np.array([row for row, owner in enumerate(shards.apps) if owner == app], dtype=np.int64)
    curves = forecast.shards[rows, :, step]
    levels = np.asarray(np.nansum(np.maximum(curves, 0.0), axis=0, dtype=np.float64))
    chosen = np.asarray(np.nansum(np.maximum(at_quantile(curves, picture.policy.quantile), 0.0), axis=0))
    allocatable = _allocatable(picture, rows)
    operations = np.asarray(np.nansum(shards.use[rows], axis=0))
    return DemandVector(
        timestamp=instant(forecast.time + at),
        application_id=app,
        resources=Resources(
            cpu=Cpu(cores=_round(chosen[CPU]), percentage=_percent(chosen[CPU], allocatable[CPU])),
            memory=Memory(gb=_round(chosen[MEMORY] / _GIB), percentage=_percent(chosen[MEMORY], allocatable[MEMORY])),
            io=Io(read_ops=_round(operations[_READ]), write_ops=_round(operations[_WRITE])),
        ),
        quantiles=Quantiles(
            levels=LEVELS,
            cpu_cores=tuple(_round(value) for value in levels[CPU]),
            memory_gb=tuple(_round(value / _GIB) for value in levels[MEMORY]),
        ),
        schema=SCHEMA,
    )


def _allocatable(picture: Picture, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the hosts that run the app can hand out, together."""
    snapshot = picture.snapshot
    hosts = np.unique(snapshot.shards.host[rows])
    return np.asarray(np.nansum(snapshot.hosts.allocatable[hosts[hosts >= 0]], axis=0), dtype=np.float64)


def _percent(demand: float, allocatable: float) -> float:
    return round(float(100 * demand / allocatable), 2) if allocatable > 0 else 0.0


def _round(value: float) -> float:
    return round(float(value), 4)
