"""From the control loop's picture to the frame that screens get. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.autopilot.protocol import (
    HOST_STATES,
    PROVEN,
    QUALITY,
    REACTIVE,
    SHARD_STATES,
    HostStrings,
    PlanView,
    ShardStrings,
    SnapshotFrame,
)
from sidestep.backends.sampler.panel import Panel
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
#: forecast steps that a frame has at most; a terminal draws no more
SHOWN_STEPS: Final = 30
_HOST_CODES: Final[dict[str, int]] = {state: code for code, state in enumerate(HOST_STATES)}
_SHARD_CODES: Final[dict[str, int]] = {state: code for code, state in enumerate(SHARD_STATES)}
_NO_FUTURE: Final = np.zeros((0, PLANNED, 0, len(SHOWN_LEVELS)), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What of a fleet seldom changes; ``number`` rises when it does."""

    number: int
    hosts: tuple[HostStrings, ...]
    shards: tuple[ShardStrings, ...]
    allocatable: bytes
    shard_priority: bytes
    #: the columns that they were made from
    source: tuple[object, ...]


def tables_of(snapshot: Snapshot, before: Tables | None = None) -> Tables:
    """The snapshot's tables: ``before`` itself if nothing in them changed."""
    hosts, shards = snapshot.hosts, snapshot.shards
    allocatable, priority = _floats(hosts.allocatable), _ints(shards.priority)
    source = (hosts.names, hosts.zones, shards.names, shards.apps, allocatable, priority)
    if before is not None and before.source == source:
        return before
    return Tables(
        number=before.number + 1 if before is not None else 1,
        hosts=tuple(map(HostStrings, hosts.names, hosts.zones)),
        shards=tuple(map(ShardStrings, shards.names, shards.apps)),
        allocatable=allocatable,
        shard_priority=priority,
        source=source,
    )


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What one tick of the control loop found."""

    snapshot: Snapshot
    tables: Tables
    forecast: Forecast | None
    #: (H, R) chance of contention; NaN where nothing can be said
    risk: NDArray[np.float64]
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
    #: (H, len(QUALITY)) how well samples come
    quality: NDArray[np.float64]
    #: what every screen has to say
    alerts: tuple[Label, ...] = ()


def frame_of(picture: Picture) -> SnapshotFrame:
    """The picture as columns of little-endian bytes and words."""
    snapshot, forecast, tables = picture.snapshot, picture.forecast, picture.tables
    hosts, shards = snapshot.hosts, snapshot.shards
    future = _future(snapshot, forecast) if forecast else _NO_FUTURE
    return SnapshotFrame(
        number=snapshot.number,
        time=snapshot.time,
        generation=snapshot.generation,
        level=picture.level,
        lag=picture.lag,
        oracle=picture.oracle,
        model=forecast.model if forecast else Label(""),
        confidence=forecast.confidence if forecast else "insufficient",
        tables=tables.number,
        hosts=tables.hosts,
        shards=tables.shards,
        allocatable=tables.allocatable,
        shard_priority=tables.shard_priority,
        host_state=_codes(hosts.states, _HOST_CODES),
        reasons={row: reason for row, reason in enumerate(hosts.reasons) if reason},
        use=_floats(hosts.use),
        age=_floats(hosts.age),
        shard_state=_codes(shards.states, _SHARD_CODES),
        shard_host=_ints(shards.host),
        shard_use=_floats(shards.use[:, :PLANNED]),
        shard_bytes=_floats(shards.state_bytes),
        past=_halves(picture.past),
        past_steps=int(picture.past.shape[2]),
        past_step=picture.past_step,
        future=_halves(future),
        future_steps=int(future.shape[2]),
        future_step=forecast.step * _share(forecast.steps) if forecast else 1.0,
        risk=_floats(picture.risk),
        threshold_cpu=picture.policy.threshold_cpu,
        threshold_memory=picture.policy.threshold_memory,
        contention=picture.contention,
        accounts=forecast.accounts if forecast else (),
        plans=picture.plans,
        no_plan=picture.no_plan,
        quality=_floats(picture.quality),
        alerts=picture.alerts,
        trust=_trust(forecast, len(hosts.names)),
    )


def quality_of(panel: Panel) -> NDArray[np.float64]:
    """How well every host's samples come, in the columns of ``QUALITY``."""
    return np.column_stack([getattr(panel, name) for name in QUALITY]).astype(np.float64)


def _trust(forecast: Forecast | None, hosts: int) -> bytes:
    """How far every host's chances may be trusted; a model that does not say vouches for none."""
    marks = np.zeros((hosts, PLANNED), dtype=np.uint8)
    for bit, said in ((PROVEN, forecast.proven), (REACTIVE, forecast.reactive)) if forecast else ():
        if said.shape == marks.shape:
            marks |= said.astype(np.uint8) * np.uint8(bit)
    return marks.tobytes()


def _share(steps: int) -> int:
    """How many forecast steps become one shown step."""
    return max(1, math.ceil(steps / SHOWN_STEPS))


def _future(snapshot: Snapshot, forecast: Forecast) -> NDArray[np.float32]:
    """The shown levels as fractions of allocatable, each the highest of its share of the steps."""
    share, levels = _share(forecast.steps), forecast.hosts[..., _SHOWN]
    highest = levels[:, :, ::share].copy()
    for step in range(1, share):
        others = levels[:, :, step::share]
        part = highest[:, :, : others.shape[2]]
        np.maximum(part, others, out=part)
    allocatable = snapshot.hosts.allocatable[:, :PLANNED, None, None].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(highest / allocatable, dtype=np.float32)


def _codes(states: Sequence[str], codes: Mapping[str, int]) -> bytes:
    return bytes(map(codes.__getitem__, states))


def _halves(values: NDArray[np.float32]) -> bytes:
    """Fractions, to three digits; what is beyond the range of halves is infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype="<f2").tobytes()


def _floats(values: NDArray[np.float64] | NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _ints(values: NDArray[np.int32]) -> bytes:
    return np.ascontiguousarray(values, dtype="<i4").tobytes()
