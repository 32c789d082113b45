"""X5, show 1: a package of the scaffold as a wheel, in an environment of its own beside sidestep from a wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def ran(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def sources(into: Path) -> Path:
    """The repository's packages, so that building leaves nothing beside them."""
    links = [link for link in (ROOT / "sidestep").iterdir() if link.is_symlink()]
    for link in links:
        kept = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / link.name, into / link.name, ignore=kept)
    shutil.copytree(ROOT / "sidestep", into / "sidestep", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, into / name)
    return into


def wheel(package: Path, name: str, into: Path) -> Path:
    ran(sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "-w", into, package,
        cwd=into)  # fmt: skip
    (made,) = into.glob(f"{name}-*.whl")
    return made


@pytest.mark.slow
@pytest.mark.fleet
def test_a_plugin_from_a_wheel_is_found_and_tried_where_it_is_installed_and_nowhere_else(tmp_path: Path) -> None:
    """X2, X5. What sidestep depends on is shared with the environment of the tests, so that no network is needed."""
    (tmp_path / "sources").mkdir()
    ours = wheel(sources(tmp_path / "sources"), "sidestep", tmp_path)
    assert not [name for name in zipfile.ZipFile(ours).namelist() if "examples" in name], (
        "those are packages of their own"
    )
    ran(sys.executable, "-m", "sidestep", "plugin", "new", "my_app", cwd=tmp_path)
    theirs = wheel(tmp_path / "sidestep-my-app", "sidestep_my_app", tmp_path)

    environment = tmp_path / "environment"
    ran(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    site = Path(ran(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    ran(sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", python, "install", "--no-deps",
        "--no-index", ours, theirs, cwd=tmp_path)  # fmt: skip
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = environment / "bin" / "sidestep"

    where = ran(
        python, "-c", "import sidestep, sidestep_my_app as m; print(sidestep.__file__, m.__file__)", cwd=tmp_path
    )
    assert all(Path(file).is_relative_to(site) for file in where.split()), where
    rows = json.loads(ran(program, "plugin", "list", "--json", cwd=tmp_path))
    assert [row["distribution"] for row in rows if row["name"] == "my_app"] == ["sidestep-my-app"]
    assert {"process", "systemd"} <= {row["name"] for row in rows}
    assert "Runs each shard of my_app as a process group" in ran(program, "plugin", "info", "my_app", cwd=tmp_path)
    checked = ran(program, "plugin", "check", "my_app", "--only", "declared", cwd=tmp_path)
    assert "1 holds" in checked

    here = ran(sys.executable, "-m", "sidestep", "plugin", "list", cwd=tmp_path)
    assert "my_app" not in here and "process" in here
