"""The JSON Schema of a ShardGraph: what ``sidestep analyze --json`` prints as ``graph``."""

from __future__ import annotations

from typing import Any

from sidestep.sharding.analysis.graph import VERSION


def schema() -> dict[str, Any]:
    """The whole schema; written to sharding/graph.schema.json by ``python -m sidestep.sharding.schema``."""
    contract = _object({
        "name": _TEXT, "type": _TEXT, "section": _TEXT,
        "bytes": {"type": ["integer", "null"], "minimum": 0},
    })  # fmt: skip
    refusal = _object({"code": {"type": "string", "pattern": "^[a-z:-]+$"}, "line": _LINE, "text": _TEXT})
    kinds = ["straight", "doall", "reduction", "sequential", "refused"]
    block = _object({
        "id": _TEXT, "kind": {"enum": kinds}, "entry": _LINE, "exit": _LINE, "parent": _TEXT,
        "reads": _list(contract), "writes": _list(contract),
        "reductions": _list(_object({"name": _TEXT, "operation": _TEXT})), "guards": _list(_TEXT),
        "refusals": _list(refusal),
    })  # fmt: skip
    edge = _object({
        "from": _TEXT, "to": _TEXT, "name": _TEXT, "kind": {"enum": ["flow", "order"]},
        "bytes": {"type": ["integer", "null"], "minimum": 0},
    })  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ShardGraph of a Python function",
        **_object({
            "version": {"const": VERSION}, "function": _TEXT, "line": _LINE, "blocks": _list(block),
            "edges": _list(edge),
        }),
    }  # fmt: skip


_TEXT = {"type": "string"}
_LINE = {"type": "integer", "minimum": 0}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False,
    }  # fmt: skip


def main() -> None:
    """Write the file beside this one."""
    import json  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    text = json.dumps(schema(), indent=2) + "\n"
    (Path(__file__).parent / "graph.schema.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
