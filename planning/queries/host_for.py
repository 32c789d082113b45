"""The best next host for work that does not run yet (S1.13, S1.28, S5.17): with CI as the one who asks.

The work is put into the fleet on paper as one more shard that is nowhere, of the size that is
asked for over the whole horizon; then every host is judged by the rules and the room that
moves are judged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
from msgspec.structs import replace as with_fields
from numpy.typing import NDArray

from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ShardState
from sidestep.fleet.nearest import near as nearest
from sidestep.fleet.questions import BestHost, HostOffer, HostRefusal
from sidestep.fleet.resources import CPU, MEMORY
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.goals import Maker
from sidestep.planning.ladder import best_hosts
from sidestep.planning.places import places
from sidestep.planning.queries.verdict import Ground
from sidestep.planning.queries.whatif import World

Mask = NDArray[np.bool_]
#: what the work is called on paper; no shard can have such a name
NAME: Final = Label("(new work)")
#: hosts that have no room and are told of
REFUSALS: Final = 8


def best_host(
    world: World,
    *,
    cpu: float,
    memory: int,
    app: str = "",
    near: str = "",
    limit: int = 5,
    busy: frozenset[str] = frozenset(),
    settling: frozenset[str] = frozenset(),
    goals: Mapping[str, Maker] | None = None,
) -> BestHost:
    """Hosts with room for so many cores and bytes, the best first.

    By the policy's goals, in their order, as destinations of moves are. With ``app`` under the rules
    of that app's shards; ``near`` prefers the hosts of a shard, an app, or a host.
    Raises UsageError for a size or a name that cannot be.
    """
    if not (0 <= cpu < np.inf and memory >= 0 and (cpu or memory)):
        raise UsageError(f"{cpu:g} cores and {memory} bytes are no size", hint="such as --cpu 2 --memory 4G")
    beside = _beside(world, near)
    then = _with_work(world, cpu, memory, app)
    ground = Ground.of(then, busy, settling)
    p, rules = ground.built.problem, ground.built.rules
    shard = rules.shard_row[NAME]
    row = ground.row(shard)
    room = ground.start.spare(row)
    offer = best_hosts(ground.start, row, places(ground.built, goals))
    left = (p.room - ground.start.arrivals(row))[:, : p.timed].reshape(p.hosts, p.dimensions, p.steps).min(axis=2)
    able = [host for host in offer.hosts if not ground.hot[host]]
    chosen = sorted(able, key=lambda host: not beside[host])
    order = np.lexsort((rules.rank, -np.nan_to_num(room, neginf=-1e300))).tolist()
    others = [host for host in order if host not in set(able)]
    refused = [] if chosen else others[:REFUSALS]
    return BestHost(
        cpu=cpu,
        memory=memory,
        app=scrub(app),
        near=scrub(near),
        offers=tuple(
            HostOffer(
                host=rules.host_names[host],
                room=round(float(room[host]), 4),
                room_cpu=round(float(left[host, CPU]), 4),
                room_memory=float(left[host, MEMORY]),
                zone=then.snapshot.hosts.zones[host],
                cost=float(p.cost[host]),
                near=bool(beside[host]),
            )
            for host in chosen[:limit]
        ),
        refusals=tuple(
            HostRefusal(host=rules.host_names[host], reason=ground.obstacles(shard, host)[0].reason) for host in refused
        ),
        more=0 if chosen else len(others) - len(refused),
    )


def _beside(world: World, near: str) -> Mask:
    """(H,) the hosts that the work had better be on."""
    hosts, shards = world.snapshot.hosts, world.snapshot.shards
    found: Mask = np.zeros(len(hosts.names), dtype=np.bool_)
    if not near:
        return found
    found |= np.array([fnmatchcase(name, near) for name in hosts.names], dtype=np.bool_)
    own = np.array([near in (name, app) for name, app in zip(shards.names, shards.apps, strict=True)], dtype=np.bool_)
    found[shards.host[own & (shards.host >= 0)]] = True
    if not found.any():
        known = (*map(str, hosts.names), *map(str, shards.apps), *map(str, shards.names))
        raise UsageError(f"--near {scrub(near)}: no shard, app or host is called so", hint=nearest(near, known))
    return found


def _with_work(world: World, cpu: float, memory: int, app: str) -> World:
    """The world with one more shard that is nowhere."""
    spec = next((each for each in world.fleet.shards if each.app == app), None)
    if app and spec is None:
        raise UsageError(
            f"--app {scrub(app)}: the fleet file has no such app",
            hint=nearest(app, (str(each.app) for each in world.fleet.shards)),
        )
    made = ShardSpec(name=NAME, app=scrub(app or NAME), host=Label(""), start="true") if spec is None else with_fields(
        spec, name=NAME, pinned=False
    )  # fmt: skip
    forecast = world.forecast
    mean = np.zeros((1, *forecast.shard_mean.shape[1:]), dtype=np.float32)
    mean[0, CPU], mean[0, MEMORY] = cpu, memory
    none = np.zeros_like(mean)
    return replace(
        world,
        snapshot=_one_more(world.snapshot, made),
        forecast=replace(
            forecast,
            shard_mean=np.concatenate([forecast.shard_mean, mean]),
            shard_sd=np.concatenate([forecast.shard_sd, none]),
        ),
        fleet=with_fields(world.fleet, shards=(*world.fleet.shards, made)),
    )


def _one_more(snapshot: Snapshot, spec: ShardSpec) -> Snapshot:
    shards = snapshot.shards
    new: dict[str, Any] = {
        "names": spec.name,
        "apps": spec.app,
        "states": ShardState.RUNNING,
        "host": -1,
        "use": 0.0,
        "state_bytes": 0.0,
        "priority": spec.priority,
        "token": 0,
        "movable": True,
        "disk": float(spec.disk),
    }
    columns: dict[str, Any] = {}
    for each in fields(shards):
        value = getattr(shards, each.name)
        if isinstance(value, np.ndarray):
            if len(value) == len(shards.names):
                row = np.full((1, *value.shape[1:]), new.get(each.name, np.nan), dtype=value.dtype)
                columns[each.name] = np.concatenate([value, row])
        elif isinstance(value, tuple):
            columns[each.name] = (*value, new[each.name])
    return replace(snapshot, shards=replace(shards, **columns))
