"""The diagram in docs/architecture.md is held against the imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = (
    "autopilot", "backends", "console", "fleet", "forecasting", "locks", "planning", "plugins", "sharding", "testing",
    "themes",
)  # fmt: skip
ARROW = re.compile(r"^\s*(\w+)\s*-->\s*(\w+)\s*$", re.MULTILINE)


def imported() -> set[tuple[str, str]]:
    """Which floor imports which, from the sources."""
    edges = set()
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            if path.is_relative_to(ROOT / "plugins" / "examples"):
                continue  # packages of their own
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    inner = [f"sidestep.{a.name}" for a in node.names] if node.module == "sidestep" else []
                    names += [node.module or "", *inner]
                for name in names:
                    parts = name.split(".")
                    if parts[0] == "sidestep" and len(parts) > 1 and parts[1] in FLOORS and parts[1] != floor:
                        edges.add((floor, parts[1]))
    return edges


def test_the_diagram_shows_exactly_the_imports_between_floors() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = text.split("```mermaid", 1)[1].split("```", 1)[0]
    assert set(ARROW.findall(diagram)) == imported()
