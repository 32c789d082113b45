"""A fleet file that was read again against the one in force: what can be switched now, what waits. Pure.

Whatever is not listed here waits for a restart, also keys that come later: nobody has to think of
them for a reload to stay safe. Hosts and shards themselves, and how they are reached, started and
moved, are never switched under a running daemon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sidestep.fleet.config_dump import toml
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub

#: read anew by whoever uses them, at each use
FLEET: Final = frozenset({"level", "banner", "notice"})
HOST: Final = frozenset({
    "cpu", "memory", "reserve_cpu", "reserve_memory", "reserve_cpu_percent", "reserve_memory_percent",
    "zone", "rack", "disk", "standby", "cost", "cordoned", "labels", "fence",
})  # fmt: skip
SHARD: Final = frozenset({
    "priority", "pinned", "avoid", "near", "prefer_near", "spread", "requires", "disk",
    "guarantee_cpu", "guarantee_memory", "limit_cpu", "limit_memory", "limit_read", "limit_write", "splittable",
    "failover", "replicas", "replicate_every", "replicate_quiet",
})  # fmt: skip
#: the horizon is the length of every forecast, and the oracle's models are made for it
POLICY_WAITS: Final = frozenset({"horizon"})
#: hosts or shards that a line names
NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Merged:
    """``fleet`` is the one in force with all that can be switched now; the rest waits for a restart."""

    fleet: FleetSpec
    switched: tuple[Label, ...]
    waits: tuple[Label, ...]


def merge(old: FleetSpec, new: FleetSpec) -> Merged:
    """Lay what can be switched of ``new`` over ``old``."""
    switched, waits = list[str](), list[str]()
    fields = {name: getattr(new, name) for name in FLEET}
    switched += [_change(name, old, new) for name in sorted(FLEET) if getattr(old, name) != getattr(new, name)]
    lines, policy = _policy(old.policy, new.policy, waits)
    switched += lines
    hosts = _rows("hosts", {h.name: h for h in old.hosts}, {h.name: h for h in new.hosts}, HOST, switched, waits)
    shards = _rows("shards", {s.name: s for s in old.shards}, {s.name: s for s in new.shards}, SHARD, switched, waits)
    for name in FleetSpec.__struct_fields__:
        if name not in {*FLEET, "policy", "hosts", "shards", "source"} and getattr(old, name) != getattr(new, name):
            waits.append(name)
    fleet = msgspec.structs.replace(old, **fields, policy=policy, hosts=hosts, shards=shards)
    return Merged(fleet=fleet, switched=tuple(map(_line, switched)), waits=tuple(map(_line, waits)))


def _policy(old: Policy, new: Policy, waits: list[str]) -> tuple[list[str], Policy]:
    changed = [name for name in Policy.__struct_fields__ if getattr(old, name) != getattr(new, name)]
    waits += [f"policy.{_change(name, old, new)}" for name in changed if name in POLICY_WAITS]
    live = [name for name in changed if name not in POLICY_WAITS]
    policy = msgspec.structs.replace(old, **{name: getattr(new, name) for name in live})
    return [f"policy.{_change(name, old, new)}" for name in live], policy


def _rows(
    kind: str, old: Mapping[str, Any], new: Mapping[str, Any], live: frozenset[str],
    switched: list[str], waits: list[str],
) -> tuple[Any, ...]:  # fmt: skip
    """The old rows in their order with the live fields of the new ones; says what changes, field by field."""
    added, removed = [n for n in new if n not in old], [n for n in old if n not in new]
    if added:
        waits.append(f"{kind} added: {_named(added)}")
    if removed:
        waits.append(f"{kind} removed: {_named(removed)}")
    if not added and not removed and list(old) != list(new):
        waits.append(f"{kind} in another order")
    differs: dict[str, list[str]] = {}
    rows = []
    for name, row in old.items():
        if (other := new.get(name)) is None or other == row:
            rows.append(row)
            continue
        fields = [f for f in row.__struct_fields__ if getattr(row, f) != getattr(other, f)]
        for field in fields:
            differs.setdefault(field, []).append(name)
        values = {field: getattr(other, field) for field in fields if field in live}
        rows.append(msgspec.structs.replace(row, **values) if values else row)
    for field, names in differs.items():
        if field not in live:
            waits.append(f"{kind}: {field} of {_named(names)}")
        elif len(names) == 1:
            switched.append(f"{kind}.{names[0]}.{_change(field, old[names[0]], new[names[0]])}")
        else:
            switched.append(f"{kind}: {field} of {_named(names)}")
    return tuple(rows)


def _change(name: str, old: FleetSpec | HostSpec | ShardSpec | Policy, new: Any) -> str:
    return f"{name} {_value(getattr(old, name))} -> {_value(getattr(new, name))}"


def _value(value: object) -> str:
    try:
        return toml(value)
    except TypeError:
        return str(value)


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:NAMED])
    return shown if len(listed) <= NAMED else f"{shown} and {len(listed) - NAMED} more"


def _line(text: str) -> Label:
    return scrub(text)
