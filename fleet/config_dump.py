"""A fleet written as TOML: what ``parse_fleet`` reads back as an equal fleet."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from sidestep.fleet.actions import ActionSpec
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_oracle import dumped
from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.fleet.sources import SourceSpec

#: keys of the file that have another name in the model
_RENAMED: Final = {"config": "ssh_config"}


def dump_fleet(spec: FleetSpec) -> str:
    """TOML that parses back to an equal fleet (``source`` apart), every host spelled out."""
    ssh = {key: getattr(spec, file_key(key)) for key in FIELDS["ssh"] if key != "user"}
    whole = {**_values(spec, "fleet"), "app_levels": dict(spec.app_levels)}
    parts = [_table("fleet", whole), _table("ssh", ssh)]
    parts += [_table("policy", _values(spec.policy, "policy")), _table("oracle", _values(spec.oracle, "oracle"))]
    parts.append(_table("oracle.trainer", _values(spec.oracle.trainer, "trainer")))
    parts += [_table(f"oracle.candidates.{_key(c.name)}", dumped(c)) for c in spec.oracle.candidates]
    parts.append(_table("history", _values(spec.history, "history")))
    parts += [_table(kind, _values(getattr(spec, kind), kind)) for kind in ("metrics", "alerts", "failover")]
    parts += [_table("router", _values(spec.routing, "router"))] if spec.routing else []
    parts += [_table(f"hosts.{_key(h.name)}", host_values(h)) for h in spec.hosts]
    members: dict[str, list[str]] = {}
    for host in spec.hosts:
        for group in host.groups:
            members.setdefault(group, []).append(host.name)
    parts += [_table(f"groups.{_key(name)}", {"hosts": tuple(hosts)}) for name, hosts in members.items()]
    parts += [_table(f"shards.{_key(s.name)}", _shard_values(s)) for s in spec.shards]
    parts += [_table(f"pool.{_key(pool.name)}", _values(pool, "pool")) for pool in spec.pools]
    parts += [_table(f"source.{_key(s.name)}", _source_values(s)) for s in spec.sources]
    parts += [_table(f"action.{_key(a.name)}", _action_values(a)) for a in spec.actions]
    return "\n".join(parts)


def file_key(key: str) -> str:
    """The field of the model that a key of the file sets."""
    return _RENAMED.get(key, key)


def host_values(host: HostSpec) -> dict[str, Any]:
    """The keys of a host's table; what is left to be discovered is left out."""
    values = _values(host, "host")
    for kind in ("cpu", "memory"):
        if not values[kind]:
            del values[kind]
        percent = getattr(host, f"reserve_{kind}_percent")
        if percent:
            values[f"reserve_{kind}"] = f"{percent:.17g}%"
    values["labels"] = dict(host.labels)
    return values


def _source_values(source: SourceSpec) -> dict[str, Any]:
    return {**_values(source, "source"), "params": json.loads(source.params)}


def _action_values(action: ActionSpec) -> dict[str, Any]:
    return {**_values(action, "action"), "params": json.loads(action.params)}


def _shard_values(shard: ShardSpec) -> dict[str, Any]:
    return {**_values(shard, "shard"), "requires": dict(shard.requires)}


def table(name: str, values: Mapping[str, Any]) -> str:
    """One table whose last part of the name may need quotes; for files that we write ourselves."""
    section, _, last = name.partition(".")
    return _table(f"{section}.{_key(last)}" if last else section, values)


def _values(struct: object, kind: str) -> dict[str, Any]:
    # Named policies are worked out by then.
    return {name: getattr(struct, name) for name in FIELDS[kind] if (kind, name) != ("policy", "use")}


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _table(name: str, values: Mapping[str, Any]) -> str:
    rows = [f"{key} = {toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *rows, ""])


def toml(value: object) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return repr(float(value)) if math.isfinite(value) else str(float(value))
        case str():
            return _text(value)
        case tuple() | list():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{_key(key)} = {toml(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"{type(value).__name__} has no place in a fleet file")


def _text(value: str) -> str:
    escaped = "".join(f"\\{c}" if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in value)
    return f'"{escaped}"'
