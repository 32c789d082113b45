"""The JSON Schemas of the fleet file and of named policies, made from the fields.

``scripts.fleet_file`` writes fleet/fleet.schema.json and fleet/policy.schema.json. For editors
that check TOML while it is written. They accept every file that we accept, also one of
several that include each other: therefore no key is required in the fleet file's.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sidestep.fleet.config_docs import DOCS, SECTIONS
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_read import NAME

#: names that may have ranges, such as web[01-40]
_RANGES: Final = r"^[A-Za-z0-9_\[][A-Za-z0-9._,\[\] -]*$"
_OVERRIDE: Final = {"type": "boolean", "description": "Whether the keys replace those of an earlier table."}
_NAME: Final = f"^{NAME.pattern}$"
_NAMED: Final = {
    "hosts": ("host", _RANGES),
    "groups": ("group", _NAME),
    "shards": ("shard", _NAME),
    "pool": ("pool", _NAME),
    "source": ("source", _NAME),
    "candidates": ("candidate", _NAME),
}
#: tables within [oracle]
_WITHIN: Final = frozenset({"trainer", "candidate"})


def schema() -> dict[str, Any]:
    """The whole schema."""
    properties: dict[str, Any] = {
        "include": {
            "description": SECTIONS["include"],
            "type": "array",
            "items": {"type": "string", "pattern": r"\S"},
        }
    }
    for kind in FIELDS:
        if kind not in {"host", "group", "shard", "pool", "source", *_WITHIN}:
            properties[kind] = _table(kind)
    properties["oracle"]["properties"] |= {"trainer": _table("trainer"), "candidates": _named("candidates")}
    properties["defaults"] = {
        "description": SECTIONS["defaults"],
        "type": "object",
        "properties": {kind: _table(kind) for kind in ("host", "shard")},
        "additionalProperties": False,
    }
    for section in _NAMED:
        if section != "candidates":
            properties[section] = _named(section)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fleet file of sidestep",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def policy_schema() -> dict[str, Any]:
    """The schema of a named policy's file (docs/policies.md)."""
    table = _table("policy")
    for key in ("name", "override"):
        del table["properties"][key]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Named policy of sidestep",
        "type": "object",
        "properties": {
            "does": {"description": "What the policy does, in a sentence.", "type": "string", "pattern": r"\S"},
            "policy": {"description": SECTIONS["policy"], **table},
        },
        "required": ["does"],
        "additionalProperties": False,
    }


def _named(section: str) -> dict[str, Any]:
    kind, pattern = _NAMED[section]
    return {
        "description": SECTIONS[section],
        "type": "object",
        "propertyNames": {"pattern": pattern},
        "additionalProperties": _table(kind),
    }


def _table(kind: str) -> dict[str, Any]:
    keys = {name: {"description": DOCS[kind][name], **field.read.schema} for name, field in FIELDS[kind].items()}
    return {"type": "object", "properties": {**keys, "override": _OVERRIDE}, "additionalProperties": False}


def page() -> str:
    """The fleet file's schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=True) + "\n"


def policy_page() -> str:
    """The schema of named policies as it is published."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=True) + "\n"
