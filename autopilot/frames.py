"""From the control loop's picture to the frame that screens get. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.protocol import HostStrings, PlanView, ShardStrings, SnapshotFrame
from sidestep.fleet.contention import duration_steps, exceedance, limits, sustained
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import NoPlan
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot

#: the levels of ``SnapshotFrame.future``
SHOWN_LEVELS: Final = (0.05, 0.2, 0.5, 0.8, 0.95)
_SHOWN: Final = [LEVELS.index(level) for level in SHOWN_LEVELS]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What one tick of the control loop found."""

    snapshot: Snapshot
    forecast: Forecast | None
    contention: tuple[Contention, ...]
    no_plan: NoPlan | None
    policy: Policy
    level: str
    lag: float
    #: "" or what is wrong with the oracle
    oracle: Label
    #: (H, R, P) fractions of allocatable capacity, ``past_step`` seconds apart
    past: NDArray[np.float32]
    past_step: float
    plans: tuple[PlanView, ...]


def frame_of(picture: Picture) -> SnapshotFrame:
    """The picture as columns of little-endian bytes and words."""
    snapshot, forecast = picture.snapshot, picture.forecast
    hosts, shards = snapshot.hosts, snapshot.shards
    host_words = zip(hosts.names, hosts.states, hosts.reasons, hosts.zones, strict=True)
    shard_words = zip(shards.names, shards.apps, shards.states, strict=True)
    return SnapshotFrame(
        number=snapshot.number,
        time=snapshot.time,
        generation=snapshot.generation,
        level=picture.level,
        lag=picture.lag,
        oracle=picture.oracle,
        model=forecast.model if forecast else Label(""),
        confidence=forecast.confidence if forecast else "insufficient",
        hosts=tuple(HostStrings(name, str(state), reason, zone) for name, state, reason, zone in host_words),
        shards=tuple(ShardStrings(name, app, str(state)) for name, app, state in shard_words),
        allocatable=_floats(hosts.allocatable),
        use=_floats(hosts.use),
        age=_floats(hosts.age),
        shard_host=_ints(shards.host),
        shard_use=_floats(shards.use),
        shard_bytes=_floats(shards.state_bytes),
        shard_priority=_ints(shards.priority),
        past=_floats(picture.past),
        past_steps=int(picture.past.shape[2]),
        past_step=picture.past_step,
        future=_floats(_future(snapshot, forecast)) if forecast else b"",
        future_steps=forecast.steps if forecast else 0,
        future_step=forecast.step if forecast else 1.0,
        risk=_floats(risk_of(snapshot, forecast, picture.policy)),
        threshold_cpu=picture.policy.threshold_cpu,
        threshold_memory=picture.policy.threshold_memory,
        contention=picture.contention,
        accounts=forecast.accounts if forecast else (),
        plans=picture.plans,
        no_plan=picture.no_plan,
    )


def risk_of(snapshot: Snapshot, forecast: Forecast | None, policy: Policy) -> NDArray[np.float64]:
    """(H, R) chance of contention within the horizon; NaN without a forecast."""
    if forecast is None:
        return np.full((len(snapshot.hosts.names), PLANNED), np.nan)
    reach = max(1, min(forecast.steps, math.ceil(policy.horizon / forecast.step)))
    quantiles = forecast.hosts[:, :, :reach]
    chance = sustained(exceedance(quantiles, limits(snapshot, policy)), duration_steps(policy, forecast.step))
    known = np.isfinite(quantiles).all(axis=(2, 3))
    return np.where(known, chance, np.nan)


def _future(snapshot: Snapshot, forecast: Forecast) -> NDArray[np.float32]:
    allocatable = snapshot.hosts.allocatable[:, :PLANNED, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (forecast.hosts[..., _SHOWN] / allocatable).astype(np.float32)


def _floats(values: NDArray[np.float64] | NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _ints(values: NDArray[np.int32]) -> bytes:
    return np.ascontiguousarray(values, dtype="<i4").tobytes()
