"""What if: a fleet that is changed on paper, so that the planner can be asked about it as ever.

A ``World`` is all that ``propose`` looks at; a change turns one into another and leaves the first as
it was. Changes are made in the order given. What the oracle has calibrated on the real demand of a
host (chances, peaks) is not said of a host whose demand was changed: there the quantiles count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace as with_fields
from numpy.typing import NDArray

from sidestep.fleet.errors import UsageError
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState
from sidestep.fleet.nearest import near
from sidestep.fleet.placement import Placement
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.constraints import ConstraintMaker
from sidestep.planning.queries.reshape import grow, scaled, silenced

Mask = NDArray[np.bool_]
#: kinds of what demand is changed of; "" is everything
Scope = Literal["", "app", "host", "shard"]


@dataclass(frozen=True, kw_only=True)
class World:
    """What the planner looks at. Rows of the forecast are those of the snapshot."""

    snapshot: Snapshot
    forecast: Forecast
    fleet: FleetSpec
    placement: Placement
    policy: Policy
    #: constraints of plugins by name, for those that the policy names
    constraints: Mapping[str, ConstraintMaker] = field(default_factory=dict)


class Drain(Struct, frozen=True):
    """Everything leaves these hosts, and nothing comes to them."""

    text: str
    hosts: tuple[str, ...]


class Lose(Struct, frozen=True):
    """These hosts are gone, and with them what they did beside their shards, which must run elsewhere.

    The plan is that of hosts that are left at once: it says where the shards would start again.
    """

    text: str
    hosts: tuple[str, ...]


class Grow(Struct, frozen=True):
    """Demand is ``factor`` times what is forecast, in one planned dimension or ("") in all."""

    text: str
    factor: float
    scope: Scope = ""
    name: str = ""
    dimension: str = ""


class Add(Struct, frozen=True):
    """``count`` empty hosts more, each like an existing one."""

    text: str
    count: int
    like: str


class Follow(Struct, frozen=True):
    """Another policy."""

    text: str
    policy: Policy


Change = Drain | Lose | Grow | Add | Follow


class WhatIf(Struct, frozen=True):
    """Changes, made one after the other."""

    changes: tuple[Change, ...] = ()

    def apply(self, world: World) -> World:
        """The changed world. Raises UsageError naming the text that cannot be, and the remedy."""
        for change in self.changes:
            world = _change(world, change)
        return world

    def __str__(self) -> str:
        return "; ".join(change.text for change in self.changes)


def _change(world: World, change: Change) -> World:
    match change:
        case Drain():
            return _closed(world, select(world, change.text, change.hosts))
        case Lose():
            rows = select(world, change.text, change.hosts)
            return replace(_closed(world, rows), forecast=silenced(world.forecast, rows))
        case Grow():
            return _grown(world, change)
        case Add():
            return _added(world, change)
        case Follow():
            return _under(world, change.policy)


def _under(world: World, policy: Policy) -> World:
    return replace(world, policy=policy, fleet=with_fields(world.fleet, policy=policy))


def select(world: World, text: str, wanted: Sequence[str]) -> Mask:
    """(H,) the hosts that are meant: a name, a pattern (``web*``), or a domain (``zone:a``, ``rack:r1``).

    A domain is the zone, a group of the fleet file, or a label of that key.
    """
    names = world.snapshot.hosts.names
    found: Mask = np.zeros(len(names), dtype=np.bool_)
    for each in wanted:
        kind, colon, value = each.partition(":")
        values = _domains(world, kind) if colon else [(str(name),) for name in names]
        pattern = value if colon else each
        hit = np.array([any(fnmatchcase(v, pattern) for v in own) for own in values], dtype=np.bool_)
        if not hit.any():
            known = [v for own in values for v in own if v]
            if colon and not known:
                hint = f"no host has a {scrub(kind)}; domains are {', '.join(_kinds(world)) or 'not declared'}"
            else:
                hint = near(pattern, known)
            raise UsageError(f"--what-if {text}: no host is {scrub(each)}", hint=hint)
        found |= hit
    return found


def _domains(world: World, kind: str) -> list[tuple[str, ...]]:
    """The values of a kind of domain that every host has."""
    if kind == "zone":
        return [(str(zone),) if zone else () for zone in world.snapshot.hosts.zones]
    specs = {spec.name: spec for spec in world.fleet.hosts}
    rows = [specs.get(name) for name in world.snapshot.hosts.names]
    if kind == "group":
        return [tuple(map(str, spec.groups)) if spec else () for spec in rows]
    if kind == "rack" and any(spec and spec.rack for spec in rows):
        return [(str(spec.rack),) if spec and spec.rack else () for spec in rows]
    return [tuple(str(v) for key, v in spec.labels if key == kind) if spec else () for spec in rows]


def _kinds(world: World) -> list[str]:
    kinds = {"zone"} if any(world.snapshot.hosts.zones) else set()
    for spec in world.fleet.hosts:
        kinds |= {str(key) for key, _ in spec.labels} | ({"group"} if spec.groups else set())
        kinds |= {"rack"} if spec.rack else set()
    return sorted(kinds)


def _closed(world: World, rows: Mask) -> World:
    """The hosts take nothing, and all that is on them must go elsewhere."""
    snapshot = world.snapshot
    hosts, hit = snapshot.hosts, rows.tolist()
    states = tuple(HostState.DRAINING if now else old for now, old in zip(hit, hosts.states, strict=True))
    reasons = tuple(Label("what if") if now else old for now, old in zip(hit, hosts.reasons, strict=True))
    named = {name for name, now in zip(hosts.names, hit, strict=True) if now}
    specs = tuple(with_fields(spec, cordoned=True) if spec.name in named else spec for spec in world.fleet.hosts)
    return replace(
        world,
        snapshot=replace(snapshot, hosts=replace(hosts, states=states, reasons=reasons)),
        fleet=with_fields(world.fleet, hosts=specs),
    )


def _grown(world: World, change: Grow) -> World:
    shards, hosts = world.snapshot.shards, world.snapshot.hosts
    whole: Mask = np.zeros(len(hosts.names), dtype=np.bool_)
    if change.scope == "app":
        own = _named(change, shards.apps)
    elif change.scope == "shard":
        own = _named(change, shards.names)
    else:
        whole = ~whole if change.scope == "" else select(world, change.text, (change.name,))
        own = (shards.host >= 0) & whole[shards.host]
        if change.scope == "":
            own = np.ones(len(shards.names), dtype=np.bool_)
    snapshot, forecast = scaled(
        world.snapshot, world.forecast, own, whole, change.factor, change.dimension, world.policy.common_factor
    )
    return replace(world, snapshot=snapshot, forecast=forecast)


def _named(change: Grow, names: Sequence[str]) -> Mask:
    hit = np.array([fnmatchcase(name, change.name) for name in names], dtype=np.bool_)
    if not hit.any():
        hint = near(change.name, map(str, names))
        raise UsageError(f"--what-if {change.text}: no {change.scope} is {scrub(change.name)}", hint=hint)
    return hit


def _added(world: World, change: Add) -> World:
    rows = select(world, change.text, (change.like,))
    if int(rows.sum()) != 1:
        raise UsageError(
            f"--what-if {change.text}: {scrub(change.like)} is {int(rows.sum())} hosts",
            hint="name one, such as like:h1",
        )
    row = int(np.flatnonzero(rows)[0])
    like = world.snapshot.hosts.names[row]
    taken = set(world.snapshot.hosts.names)
    names: list[Label] = []
    number = 0
    while len(names) < change.count:
        number += 1
        name = scrub(f"new-{number}")
        if name not in taken:
            names.append(name)
    snapshot, forecast = grow(world.snapshot, world.forecast, row, tuple(names))
    model = next((spec for spec in world.fleet.hosts if spec.name == like), None)
    specs = tuple(with_fields(model, name=name, cordoned=False, standby=False) for name in names) if model else ()
    fleet = with_fields(world.fleet, hosts=(*world.fleet.hosts, *specs))
    return replace(world, snapshot=snapshot, forecast=forecast, fleet=fleet)
