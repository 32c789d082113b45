"""The reference part of docs/fleet-file.md, made from the fields; ``scripts.fleet_file`` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from sidestep.fleet.actions import ActionSpec
from sidestep.fleet.config_docs import DOCS, SECTIONS
from sidestep.fleet.config_dump import file_key, toml
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.inventory import (
    AlertsSpec,
    CandidateSpec,
    FleetSpec,
    HistorySpec,
    HostSpec,
    MetricsSpec,
    OracleSpec,
    Policy,
    ShardSpec,
    TrainerSpec,
)
from sidestep.fleet.pools import PoolSpec
from sidestep.fleet.routing import RouterSpec
from sidestep.fleet.sources import SourceSpec

_STRUCTS: Final[Mapping[str, Any]] = {
    "fleet": FleetSpec,
    "ssh": FleetSpec,
    "policy": Policy,
    "oracle": OracleSpec,
    "trainer": TrainerSpec,
    "candidate": CandidateSpec,
    "history": HistorySpec,
    "metrics": MetricsSpec,
    "alerts": AlertsSpec,
    "router": RouterSpec,
    "host": HostSpec,
    "shard": ShardSpec,
    "pool": PoolSpec,
    "source": SourceSpec,
    "action": ActionSpec,
}
_HEADERS: Final = {
    "trainer": "oracle.trainer",
    "candidate": "oracle.candidates.NAME",
    "host": "hosts.NAME",
    "group": "groups.NAME",
    "shard": "shards.NAME",
    "pool": "pool.NAME",
    "source": "source.NAME",
    "action": "action.NAME",
}


def reference() -> str:
    """A table of every section of the file, in its order."""
    return "\n".join(line for kind in FIELDS for line in _section(kind))


def _section(kind: str) -> Iterator[str]:
    plural = f"{kind}s" if f"{kind}s" in SECTIONS else kind
    yield f"### `[{_HEADERS.get(kind, kind)}]`"
    yield ""
    yield SECTIONS[plural]
    if kind == "group":
        yield "Every key of a host but `address` may stand here, too; it then holds for the group's hosts."
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in FIELDS[kind].items():
        if kind == "group" and name in FIELDS["host"]:
            continue
        default = "required" if field.required else _default(kind, name)
        yield f"| `{name}` | {_kind(field.read.schema)} | {default} | {DOCS[kind][name]} |"
    yield ""


def _default(kind: str, name: str) -> str:
    struct = _STRUCTS.get(kind)
    known = {f.name: f for f in msgspec.structs.fields(struct)} if struct else {}
    field = known.get(file_key(name))
    if field is None:
        return ""
    if field.default is msgspec.NODEFAULT:
        return "required"
    if kind == "host" and name in {"cpu", "memory"}:
        return "discovered"
    default = {} if name == "params" else field.default
    return f"`{toml(default)}`" if default not in ("", None, ()) else ""


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "anyOf" in schema:
        number, *texts = schema["anyOf"]
        seconds = any("ms" in text.get("pattern", "") for text in texts)
        sizes = any("Kk" in text.get("pattern", "") for text in texts)
        unit = 'seconds or `"15m"`' if seconds else 'bytes or `"512M"`' if sizes else _bounds(number)
        return unit + (' or `"10%"`' if any("%" in text.get("pattern", "") for text in texts) else "")
    if "enum" in schema.get("items", {}):
        return "list of " + ", ".join(f"`{word}`" for word in schema["items"]["enum"])
    kinds = {"string": "text", "boolean": "true or false", "array": "list", "object": "table"}
    return kinds.get(schema["type"]) or _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    low = f"above {schema['exclusiveMinimum']:g}" if "exclusiveMinimum" in schema else f"{schema['minimum']:g}"
    whole = "whole number" if schema["type"] == "integer" else "number"
    return f"{whole}, {low} to {schema['maximum']:.6g}"
