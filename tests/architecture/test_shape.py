"""The house rules that no linter knows: sizes, symbolic links, broad excepts, foreign paths."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = (
    "autopilot", "backends", "console", "fleet", "forecasting", "locks", "planning", "plugins", "policies", "sharding",
    "testing", "themes",
)  # fmt: skip


def tracked(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [p for p in paths if p.suffix in suffixes and p.is_file() and not p.is_symlink()]


def test_every_floor_is_a_relative_link_inside_the_package() -> None:
    for floor in FLOORS:
        link = ROOT / "sidestep" / floor
        assert link.is_symlink(), f"sidestep/{floor} is not a link"
        assert str(link.readlink()) == f"../{floor}"


def test_no_file_is_longer_than_400_lines_and_no_class_than_250() -> None:
    long: list[str] = []
    for path in tracked(".py"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        long += [
            f"{path.relative_to(ROOT)}:{node.name}: {node.end_lineno - node.lineno} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno > 250
        ]
    assert not long, long


def test_every_broad_except_raises_again_or_says_why_on_its_line() -> None:
    silent: list[str] = []
    for path in tracked(".py"):
        if path.parts[len(ROOT.parts)] not in FLOORS:
            continue
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler) or isinstance(node.body[-1], ast.Raise):
                continue
            broad = node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"}
            if broad and "#" not in text.splitlines()[node.lineno - 1]:
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not silent, silent


#: guards of loop shards: expressions of the user's own function, in the process that runs that function
EVALUATES = {"sharding/execute/guards.py"}


def test_nothing_is_unpickled_or_evaluated() -> None:
    found: list[str] = []
    for path in tracked(".py"):
        if path.parts[len(ROOT.parts)] not in FLOORS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [
                f"{path}:{n}"
                for n in names
                if n.split(".")[0] in {"pickle", "cloudpickle", "marshal", "shelve", "dill"}
            ]
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if called == "eval" and str(path.relative_to(ROOT)) not in EVALUATES:
                found.append(f"{path}:{node.lineno}: {called}")
    assert not found, found


def test_the_tree_names_no_machine_of_its_makers() -> None:
    forbidden = re.compile("/" + r"work/|/root/|/opt/pypi|pypi\.org|deb\.debian\.org|\.\./shared")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked(".py", ".md", ".toml", ".txt", ".sh", ".awk", ".yml", ".cfg")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found, found


@pytest.mark.parametrize("floor", FLOORS)
def test_every_floor_says_what_it_is(floor: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / floor / "__init__.py").read_text(encoding="utf-8")))
    assert docstring, f"{floor}/__init__.py has no docstring"
