"""X5: example packages load by their entry points and need nothing but public names; `make examples` tries them."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sidestep.plugins import Backend, ShardAction
from sidestep.plugins.catalogue import GROUPS

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "plugins" / "examples").glob("*/pyproject.toml"))
PUBLIC = {"sidestep.plugins", "sidestep.testing"}


def named(project: Path) -> str:
    return project.parent.name


@pytest.mark.parametrize("project", EXAMPLES, ids=named)
def test_its_entry_points_lead_to_what_their_groups_ask_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project.parent / "src"))
    groups = tomllib.loads(project.read_text())["project"]["entry-points"]
    assert set(groups) <= set(GROUPS)
    for name, target in groups.get("sidestep.backends", {}).items():
        module, _, attribute = target.partition(":")
        backend = getattr(importlib.import_module(module), attribute)("kit")
        assert isinstance(backend, Backend) and backend.name == name
    for target in groups.get("sidestep.actions", {}).values():
        module, _, attribute = target.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute)({"cores": 1}), ShardAction)
    for target in groups.get("sidestep.subjects", {}).values():
        module, _, attribute = target.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))


@pytest.mark.parametrize("project", EXAMPLES, ids=named)
def test_it_imports_public_names_only(project: Path) -> None:
    """X1: whatever a package of a third party needs is in sidestep.plugins and sidestep.testing."""
    own = f"sidestep_{named(project)}"
    for path in (*project.parent.rglob("src/**/*.py"), *project.parent.glob("tests/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                top = module.partition(".")[0]
                fine = top in sys.stdlib_module_names or top in {own, "msgspec", "pytest"} or module in PUBLIC
                assert fine, f"{path.name} imports {module}"


@pytest.mark.parametrize("project", EXAMPLES, ids=named)
def test_its_shell_can_be_read(project: Path) -> None:
    scripts = sorted(project.parent.rglob("*.sh"))
    assert scripts
    for script in scripts:
        read = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)
        assert read.returncode == 0, read.stderr
