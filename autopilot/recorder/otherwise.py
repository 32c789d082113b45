"""What another policy would have planned, from what was on screen at that time. Pure.

A recording has five quantiles of every host and the present use of every shard. Between the five, lines
do on the normal distribution's own scale; shards keep their share of their host's forecast. What a fleet file says
beyond that (pins, affinities, standby hosts) counts where one is given, and is unknown otherwise.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np

from sidestep.autopilot.planner import propose
from sidestep.autopilot.protocol import PlanView, SnapshotFrame, host_states, shard_states
from sidestep.fleet.forecast import F32, LEVELS, MEDIAN, Forecast
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import PlanState, ShardState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.plans import NoPlan, PlanStatus
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot
from sidestep.planning.load import foreseen

#: the levels of SnapshotFrame.future, and where they are on a normal distribution
_SHOWN: Final = [NormalDist().inv_cdf(level) for level in (0.05, 0.2, 0.5, 0.8, 0.95)]
_WANTED: Final = [NormalDist().inv_cdf(level) for level in LEVELS]
_ONE_SD: Final = NormalDist().inv_cdf(0.8)


def planned(
    frame: SnapshotFrame, policy: Policy, name: str, fleet: FleetSpec | None = None
) -> tuple[PlanView | None, Label]:
    """The plan that ``policy`` would have proposed and a sentence about it, or why there would be none."""
    if not frame.future_steps or frame.confidence != "ok":
        return None, scrub(f"{name}: no plan, there was no forecast yet")
    snapshot, spec = snapshot_of(frame), spec_of(frame, policy, fleet)
    forecast = forecast_of(frame, snapshot)
    foresight = foreseen(snapshot, forecast, policy)
    if not (foresight.contention or foresight.imminent):
        return None, scrub(f"{name}: no plan, it would have predicted no contention")
    number = max((item.plan.number for item in frame.plans), default=0) + 1
    answer = propose(
        snapshot, forecast, policy, placement_of(snapshot), fleet=spec, number=number, created=frame.time,
        author=scrub(f"policy {name}"),
    )  # fmt: skip
    if isinstance(answer, NoPlan):
        why = "; ".join(str(reason.text) for reason in answer.reasons[:2])
        return None, scrub(f"{name}: no plan, {why}")
    digest = answer.digest()
    status = PlanStatus(digest=digest, state=PlanState.DRAFT, updated=frame.time)
    return PlanView(digest, answer, status), scrub(f"{name}: {answer.summary}")


def snapshot_of(frame: SnapshotFrame) -> Snapshot:
    """The picture as a snapshot; what no screen shows is unknown. Raises ValueError for columns that do not fit."""
    hosts, shards = len(frame.hosts), len(frame.shards)
    wide = (hosts, len(DIMENSIONS))
    allocatable = np.frombuffer(frame.allocatable, "<f4").reshape(wide).astype(np.float64)
    use = np.full((shards, len(DIMENSIONS)), np.nan)
    use[:, :PLANNED] = np.frombuffer(frame.shard_use, "<f4").reshape(shards, PLANNED)
    states = shard_states(frame)
    return Snapshot(
        number=frame.number,
        time=frame.time,
        generation=frame.generation,
        hosts=HostColumns(
            names=tuple(host.name for host in frame.hosts),
            states=host_states(frame),
            reasons=tuple(frame.reasons.get(row, Label("")) for row in range(hosts)),
            zones=tuple(host.zone for host in frame.hosts),
            capacity=allocatable,
            allocatable=allocatable,
            use=np.frombuffer(frame.use, "<f4").reshape(wide).astype(np.float64),
            pressure=np.full((hosts, 3), np.nan),
            age=np.frombuffer(frame.age, "<f4").astype(np.float64),
        ),
        shards=ShardColumns(
            names=tuple(shard.name for shard in frame.shards),
            apps=tuple(shard.app for shard in frame.shards),
            states=states,
            host=np.frombuffer(frame.shard_host, "<i4").astype(np.int32),
            use=use,
            state_bytes=np.frombuffer(frame.shard_bytes, "<f4").astype(np.float64),
            priority=np.frombuffer(frame.shard_priority, "<i4").astype(np.int32),
            token=np.ones(shards, np.int64),
            movable=np.array([state is ShardState.RUNNING for state in states], np.bool_),
        ),
    )


def forecast_of(frame: SnapshotFrame, snapshot: Snapshot) -> Forecast:
    """The picture's forecast at all levels, with every shard following its host."""
    hosts, steps = len(frame.hosts), frame.future_steps
    shown = np.frombuffer(frame.future, "<f2").astype(np.float32).reshape(hosts, PLANNED, steps, len(_SHOWN))
    shown = shown * snapshot.hosts.allocatable[:, :PLANNED, None, None].astype(np.float32)
    levels = _between(shown)
    median = levels[..., MEDIAN]
    spread = np.maximum(0.0, (shown[..., 3] - shown[..., 2]) / np.float32(_ONE_SD))
    row = snapshot.shards.host
    with np.errstate(divide="ignore", invalid="ignore"):
        share = snapshot.shards.use[:, :PLANNED] / snapshot.hosts.use[row, :PLANNED]
    share = np.where((row[:, None] >= 0) & np.isfinite(share), np.clip(share, 0.0, 1.0), 0.0)[:, :, None]
    return Forecast(
        id=f"recorded-{frame.number}",
        snapshot=frame.number,
        time=frame.time,
        step=frame.future_step,
        model=frame.model,
        confidence=frame.confidence,
        fallback=frame.oracle if frame.oracle.startswith("fallback") else Label(""),
        hosts=levels,
        shard_mean=np.asarray(share * median[row], np.float32),
        shard_sd=np.asarray(share * spread[row], np.float32),
    )


def _between(shown: F32) -> F32:
    """(..., len(LEVELS)) of (..., 5)."""
    found = []
    for wanted in _WANTED:
        right = int(np.clip(np.searchsorted(_SHOWN, wanted), 1, len(_SHOWN) - 1))
        part = (wanted - _SHOWN[right - 1]) / (_SHOWN[right] - _SHOWN[right - 1])
        found.append(shown[..., right - 1] * (1 - part) + shown[..., right] * part)
    return np.asarray(np.maximum(0.0, np.stack(found, axis=-1)), np.float32)


def placement_of(snapshot: Snapshot) -> Placement:
    """Who owned what; fencing tokens are not recorded."""
    names, shards = snapshot.hosts.names, snapshot.shards
    owners = {
        shard: Owner(names[row], 1) for shard, row in zip(shards.names, shards.host.tolist(), strict=True) if row >= 0
    }
    return Placement(snapshot.generation, owners)


def spec_of(frame: SnapshotFrame, policy: Policy, fleet: FleetSpec | None) -> FleetSpec:
    """What is declared: by the fleet file for whom it still names, else what a screen shows."""
    known_hosts = {host.name: host for host in fleet.hosts} if fleet else {}
    known_shards = {shard.name: shard for shard in fleet.shards} if fleet else {}
    hosts = tuple(
        known_hosts.get(host.name) or HostSpec(name=host.name, address="-", zone=host.zone) for host in frame.hosts
    )
    rows = np.frombuffer(frame.shard_host, "<i4").tolist()
    shards = tuple(
        known_shards.get(shard.name)
        or ShardSpec(
            name=shard.name, app=shard.app, host=frame.hosts[row].name if row >= 0 else Label(""), start="-",
            priority=int(priority),
        )
        for shard, row, priority in zip(
            frame.shards, rows, np.frombuffer(frame.shard_priority, "<i4").tolist(), strict=True
        )
    )  # fmt: skip
    if fleet is None:
        return FleetSpec(name=Label("recorded"), source="-", hosts=hosts, shards=shards, policy=policy)
    return msgspec.structs.replace(fleet, hosts=hosts, shards=shards, policy=policy)
