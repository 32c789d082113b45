"""The wheel holds what the tree holds, under one name."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = (
    "autopilot", "backends", "console", "fleet", "forecasting", "locks", "planning", "plugins", "policies", "sharding",
    "testing", "themes",
)  # fmt: skip
DATA = {".md", ".npz", ".py", ".tcss", ".toml", ".sh", ".awk", ".pl", ".json", ".sql", ".tmpl", ".typed"}


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_floors_and_nothing_else(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    source = tmp_path / "tree"
    for name in listed:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        origin = ROOT / name
        if origin.is_symlink():
            target.symlink_to(origin.readlink())
        elif origin.exists():
            target.write_bytes(origin.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    expected = {
        f"sidestep/{name}" if name.split("/")[0] in FLOORS else name
        for name in listed
        if (name.split("/")[0] in FLOORS or name.startswith("sidestep/"))
        and not (ROOT / name).is_symlink()
        and Path(name).suffix in DATA
        and "/examples/" not in name
    } | {"sidestep/py.typed"}
    assert packed == expected
