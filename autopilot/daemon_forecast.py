"""The forecast of one host, shard or app, from the control loop's picture. Pure."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.daemon_lookup import find
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.protocol_oracle import ForecastView, GetForecast, HostChance
from sidestep.fleet.contention import thresholds
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.forecast_report import Kind
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import DIMENSIONS, HOST_SERIES, PLANNED, SHARD_SERIES
from sidestep.fleet.snapshot import Snapshot
from sidestep.fleet.sums import summed

F64 = NDArray[np.float64]

UNITS: Final = {
    "cpu": "cores",
    "memory": "bytes",
    "net": "bytes/s",
    "read_ops": "ops/s",
    "write_ops": "ops/s",
    "psi_cpu": "percent",
    "psi_memory": "percent",
    "psi_io": "percent",
}
#: which column of the snapshot's pressure a series of pressure is
_PRESSURE: Final = {"psi_cpu": 0, "psi_memory": 1, "psi_io": 2}
#: steps at which a forecast without knots is read
_SAMPLED: Final = 30


class Curves(NamedTuple):
    """Quantiles (n, B, Q) of some series at ``ahead`` (B,) steps."""

    ahead: NDArray[np.int64]
    values: F64


def forecast_view(picture: Picture, request: GetForecast) -> ForecastView:
    """What is forecast of one series, and how far to trust it.

    An app is the sum of its shards under the policy's common factor. Raises UnknownReference
    and UsageError for what does not exist, SidestepError without a forecast of it.
    """
    forecast, snapshot = need(picture), picture.snapshot
    kind = find(snapshot, request.name, request.kind)
    column = _column(kind, request.metric)
    rows = _rows(snapshot, kind, request.name)
    curves = host_curves(forecast, rows, column) if kind == "host" else shard_curves(forecast, rows, column)
    parts = curves.values
    known = np.isfinite(parts).all(axis=-1).any(axis=-1)
    total = parts[0] if kind != "app" else summed(parts, LEVELS, picture.policy.common_factor)
    windows, peaks = _peaks(forecast, rows, column) if kind == "host" else ((), np.zeros((0, len(LEVELS))))
    planned = kind == "host" and column < PLANNED
    served = next((a for a in forecast.accounts if a.model == forecast.model), None)
    return ForecastView(
        kind=kind,
        name=scrub(request.name),
        metric=request.metric,
        unit=UNITS[request.metric],
        time=forecast.time,
        step=forecast.step,
        confidence=forecast.confidence,
        model=forecast.model,
        fallback=forecast.fallback,
        now=_now(snapshot, kind, rows, request.metric),
        allocatable=float(snapshot.hosts.allocatable[rows[0], column]) if planned else math.nan,
        threshold=float(thresholds(picture.policy)[column]) if planned else math.nan,
        shards=len(rows) if kind == "app" else 0,
        unknown=int((~known).sum()) if kind == "app" else 0,
        levels=LEVELS,
        ahead=_bytes(curves.ahead * forecast.step),
        values=_bytes(total),
        windows=_bytes(np.asarray(windows) * forecast.step),
        peaks=_bytes(peaks),
        chances=chances(picture, forecast, hosts_of(snapshot, kind, rows), column),
        skill=served.skill if served else math.nan,
        coverage80=served.coverage if served else math.nan,
        scored=served.scored if served else 0,
    )


def need(picture: Picture) -> Forecast:
    """The picture's forecast. Raises SidestepError without one."""
    if picture.forecast is None:
        said = f": {picture.oracle}" if picture.oracle else ""
        raise SidestepError(f"there is no forecast yet{said}", hint="wait for the oracle's first answer")
    return picture.forecast


def host_curves(forecast: Forecast, rows: NDArray[np.int64], column: int) -> Curves:
    """Quantiles of hosts in ``HOST_SERIES[column]``. Raises SidestepError if the model says none."""
    if column < PLANNED:
        return Curves(np.arange(1, forecast.steps + 1), forecast.hosts[rows, column].astype(np.float64))
    return _at_knots(forecast, forecast.host_knots, rows, column)


def shard_curves(forecast: Forecast, rows: NDArray[np.int64], column: int) -> Curves:
    """Quantiles of shards in ``SHARD_SERIES[column]``. Raises SidestepError if the model says none."""
    if forecast.shard_knots.size or column >= PLANNED:
        return _at_knots(forecast, forecast.shard_knots, rows, column)
    ahead = np.unique(np.linspace(1, forecast.steps, min(forecast.steps, _SAMPLED)).round().astype(np.int64))
    said = [forecast.shards_at(int(step), rows)[:, column] for step in ahead]
    return Curves(ahead, np.stack(said, axis=1).astype(np.float64))


def _at_knots(forecast: Forecast, said: NDArray[np.float32], rows: NDArray[np.int64], column: int) -> Curves:
    if said.ndim == 4 and column < said.shape[1]:
        return Curves(np.asarray(forecast.knots, dtype=np.int64), said[rows, column].astype(np.float64))
    served = f"{forecast.model} forecasts {' and '.join(DIMENSIONS[:PLANNED])} only"
    raise SidestepError(served, hint=f"it is served because: {forecast.fallback}" if forecast.fallback else "")


def _column(kind: Kind, metric: str) -> int:
    known = HOST_SERIES if kind == "host" else SHARD_SERIES
    if metric not in known:
        raise UsageError(f"{scrub(metric)} is not forecast of a {kind}", hint=f"--metric {', '.join(known)}")
    return known.index(metric)


def _rows(snapshot: Snapshot, kind: Kind, name: str) -> NDArray[np.int64]:
    names = {"host": snapshot.hosts.names, "shard": snapshot.shards.names, "app": snapshot.shards.apps}[kind]
    return np.array([row for row, each in enumerate(names) if each == name], dtype=np.int64)


def hosts_of(snapshot: Snapshot, kind: Kind, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the hosts that these are, or that run these shards."""
    if kind == "host":
        return rows
    found = np.unique(snapshot.shards.host[rows])
    return np.asarray(found[found >= 0], dtype=np.int64)


def _now(snapshot: Snapshot, kind: Kind, rows: NDArray[np.int64], metric: str) -> float:
    """What was measured last; NaN if it is not known."""
    if metric in _PRESSURE:
        return float(snapshot.hosts.pressure[rows[0], _PRESSURE[metric]])
    use = snapshot.hosts.use if kind == "host" else snapshot.shards.use
    if metric == "net":
        return float(use[rows[0], [DIMENSIONS.index("net_rx"), DIMENSIONS.index("net_tx")]].sum())
    values = use[rows, DIMENSIONS.index(metric)]
    return float(np.nansum(values)) if np.isfinite(values).any() else math.nan


def _peaks(forecast: Forecast, rows: NDArray[np.int64], column: int) -> tuple[tuple[int, ...], F64]:
    if not forecast.windows or column >= forecast.host_peaks.shape[1]:
        return (), np.zeros((0, len(LEVELS)))
    return forecast.windows, forecast.host_peaks[rows[0], column].astype(np.float64)


def chances(picture: Picture, forecast: Forecast, hosts: NDArray[np.int64], column: int) -> tuple[HostChance, ...]:
    """The chance of contention of these hosts in a planned dimension, likeliest first; none in another."""
    if column >= PLANNED:
        return ()
    soon = {c.host: c for c in picture.contention if c.dimension == DIMENSIONS[column]}
    shape = (len(picture.snapshot.hosts.names), PLANNED)
    marks = (forecast.proven, forecast.reactive)
    proven, reactive = (each if each.shape == shape else np.zeros(shape, bool) for each in marks)
    found = []
    for host in hosts:
        name = picture.snapshot.hosts.names[host]
        contention = soon.get(name)
        found.append(
            HostChance(
                host=name,
                dimension=DIMENSIONS[column],
                chance=float(picture.risk[host, column]),
                proven=bool(proven[host, column]),
                reactive=bool(reactive[host, column]),
                starts_at=contention.starts_at if contention else math.nan,
                lead=contention.lead if contention else math.nan,
                peak=contention.peak if contention else math.nan,
            )
        )
    return tuple(sorted(found, key=lambda c: (1.0 if math.isnan(c.chance) else -c.chance, c.host)))


def _bytes(values: NDArray[np.floating] | NDArray[np.integer]) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()
