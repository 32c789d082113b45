"""One view of an app over its independent shards (S3.1): totals, endpoints, and what is in trouble. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sidestep.autopilot.protocol_instance import InstanceShard, InstanceView
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Placement
from sidestep.fleet.resources import CPU, MEMORY
from sidestep.fleet.snapshot import Snapshot

Endpoints = Mapping[Label, tuple[str, int]]


def instance(
    fleet: FleetSpec, app: str, snapshot: Snapshot, placement: Placement, endpoints: Endpoints
) -> InstanceView:
    """The app as it is now; ``fleet`` has the limits of now. Raises KeyError for an app without shards."""
    specs = [shard for shard in fleet.shards if shard.app == app]
    if not specs:
        raise KeyError(app)
    rows = {str(name): row for row, name in enumerate(snapshot.shards.names)}
    states = dict(zip(snapshot.hosts.names, snapshot.hosts.states, strict=True))
    shards = tuple(_shard(fleet, spec, rows.get(spec.name), snapshot, states, placement, endpoints) for spec in specs)
    running = sum(not one.trouble for one in shards)
    return InstanceView(
        app=scrub(app),
        status="whole" if running == len(shards) else "partial" if running else "down",
        shards=shards,
        running=running,
        hosts=tuple(sorted({one.host for one in shards if one.host})),
        endpoints=tuple(sorted({one.endpoint for one in shards if one.endpoint and not one.trouble})),
        cpu=math.fsum(one.cpu or 0.0 for one in shards),
        memory=math.fsum(one.memory or 0.0 for one in shards),
        limit_cpu=math.fsum(one.limit_cpu for one in shards) if all(one.limit_cpu for one in shards) else 0.0,
        limit_memory=sum(one.limit_memory for one in shards) if all(one.limit_memory for one in shards) else 0,
        state_bytes=math.fsum(one.state_bytes or 0.0 for one in shards),
    )


def _shard(
    fleet: FleetSpec,
    spec: ShardSpec,
    row: int | None,
    snapshot: Snapshot,
    states: Mapping[Label, HostState],
    placement: Placement,
    endpoints: Endpoints,
) -> InstanceShard:
    owner = placement.owners.get(spec.name)
    host = owner.host if owner is not None else Label("")
    host_state = states.get(host, HostState.UNKNOWN)
    state = snapshot.shards.states[row] if row is not None else ShardState.PENDING
    found = endpoints.get(spec.name)
    if found is None and owner is not None and spec.port:
        found = (fleet.host(host).address, spec.port)
    return InstanceShard(
        shard=spec.name,
        host=host,
        state=str(state),
        host_state=str(host_state) if host else "",
        endpoint=f"{found[0]}:{found[1]}" if found is not None and owner is not None else "",
        keys=spec.keys,
        cpu=_known(snapshot.shards.use[row, CPU]) if row is not None else None,
        memory=_known(snapshot.shards.use[row, MEMORY]) if row is not None else None,
        limit_cpu=spec.limit_cpu,
        limit_memory=spec.limit_memory,
        state_bytes=_known(snapshot.shards.state_bytes[row]) if row is not None else None,
        trouble=_trouble(spec, host, state, host_state, queued=spec.name in placement.queued),
    )


def _trouble(spec: ShardSpec, host: Label, state: ShardState, host_state: HostState, *, queued: bool) -> Label:
    if queued:
        return Label("waits in the queue")
    if not host:
        return Label("runs nowhere")
    if host_state in {HostState.DEAD, HostState.UNKNOWN, HostState.SUSPECT}:
        return scrub(f"{host} is {host_state}")
    return Label("") if state is ShardState.RUNNING else scrub(f"is {state} on {host}")


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
