"""Every reason code is documented, and every documented one exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import sidestep.planning

ROOT = Path(sidestep.planning.__file__).resolve().parents[1]
CODE = re.compile(r"[A-Z]+(_[A-Z]+)*")
NOT_CODES = {"CPU", "READY", "DRAINING", "DRAINED", "PROPOSED", "RUNNING"}


def in_source() -> set[str]:
    found = set()
    folders = [ROOT / "planning", ROOT / "planning" / "queries", ROOT / "planning" / "queue"]
    others = (
        ROOT / "fleet" / "queue.py",
        ROOT / "autopilot" / "failover" / "watch.py",
        ROOT / "backends" / "process" / "criu.py",
    )
    for path in (*(file for folder in folders for file in folder.glob("*.py")), *others):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found.add(node.value)
    return found - NOT_CODES


def test_the_page_of_reason_codes_is_that_of_the_planner() -> None:
    page = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)`", page, re.MULTILINE)) == in_source()
