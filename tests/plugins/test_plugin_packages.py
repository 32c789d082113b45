"""X5: a package from the scaffold is found beside ours, tells what it is, and keeps the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sidestep.fleet.errors import UsageError
from sidestep.plugins import catalogue, scaffold


def sidestep(*words: str, beside: Path) -> subprocess.CompletedProcess[str]:
    """The program, with a folder of installed packages besides."""
    return subprocess.run(
        [sys.executable, "-m", "sidestep", *words],
        env=os.environ | {"PYTHONPATH": str(beside)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of the scaffold, built and installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    made = subprocess.run([sys.executable, "-m", "sidestep", "plugin", "new", "my_app", "--into", str(folder)],
                          check=True, capture_output=True, text=True)  # fmt: skip
    assert made.stdout.count("wrote ") == 4
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target",
         str(folder / "site"), str(folder / "sidestep-my-app")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "site"


def test_a_package_of_the_scaffold_is_listed_and_told_like_ours(beside: Path) -> None:
    """X2, X5: in-tree backends and a third party's are registered and told in the same way."""
    listed = json.loads(sidestep("plugin", "list", "--json", beside=beside).stdout)
    backends = {row["name"]: row["distribution"] for row in listed if row["group"] == "sidestep.backends"}
    assert backends["my_app"] == "sidestep-my-app"
    assert {"process", "systemd"} <= {name for name, owner in backends.items() if owner == "sidestep"}
    told = sidestep("plugin", "info", "my_app", beside=beside)
    assert told.returncode == 0
    assert "Runs each shard of my_app as a process group" in told.stdout
    assert "discover, freeze, " in told.stdout and "replicate" in told.stdout


@pytest.mark.fleet
def test_a_package_of_the_scaffold_keeps_the_contract(beside: Path) -> None:
    """X5: here a few rules; `sidestep plugin check` tries all."""
    checked = sidestep("plugin", "check", "my_app", "--only", "declared,names,move,fence.owner", beside=beside)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "4 holds" in checked.stdout
    assert checked.stdout.startswith("my_app (counter, driver hook): ")


def test_a_plugin_that_cannot_be_loaded_is_told_with_its_reason_and_the_others_are_listed(tmp_path: Path) -> None:
    info = tmp_path / "hostile-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sidestep.backends]\nbroken = nowhere_at_all:Thing\n[sidestep.goals]\n")
    listed = sidestep("plugin", "list", beside=tmp_path)
    assert listed.returncode == 0
    assert "broken" in listed.stdout and "process" in listed.stdout
    told = sidestep("plugin", "info", "broken", beside=tmp_path)
    assert told.returncode == 1
    assert "CANNOT BE LOADED" in told.stdout and "nowhere_at_all" in told.stdout
    assert "Traceback" not in told.stderr


CONSTRAINT = """
import numpy as np
from sidestep.plugins import About

class Residency:
    "Apps called eu-... run in zones called eu-... only."
    def __init__(self, about: About) -> None:
        self.about = about
    def forbidden(self):
        european = np.char.startswith(self.about.shard_apps, "eu-")
        return np.where(european, 0, -1), ~np.char.startswith(self.about.zones, "eu-")[None, :]
"""
FLEET = """
[fleet]
name = "demo"
[policy]
constraints = ["residency"]
[hosts.h1]
address = "192.0.2.1"
cpu = 4
memory = "8G"
"""
SHARD = """
[shards.b-1]
app = "batch"
host = "h1"
start = "run"
"""


def test_a_constraint_that_is_installed_is_listed_checked_and_named_by_a_fleet_file(tmp_path: Path) -> None:
    """X3, X5."""
    file, site = tmp_path / "fleet.toml", tmp_path / "site"
    info = site / "residency-1.dist-info"
    info.mkdir(parents=True)
    file.write_text(FLEET)
    without = sidestep("fleet", "check", str(file), beside=site)
    assert without.returncode == 2 and "is no constraint of a plugin" in without.stdout + without.stderr
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: residency\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sidestep.constraints]\nresidency = residency_of_data:Residency\n")
    (site / "residency_of_data.py").write_text(CONSTRAINT)
    assert "sidestep.constraints" in sidestep("plugin", "list", beside=site).stdout
    checked = sidestep("plugin", "check", "residency", beside=site)
    assert checked.returncode == 0 and "6 holds" in checked.stdout, checked.stdout + checked.stderr
    assert sidestep("fleet", "check", str(file), beside=site).returncode == 0
    (site / "residency_of_data.py").write_text(CONSTRAINT.replace("np.where(european, 0, -1)", "european"))
    broken = sidestep("plugin", "check", "residency", beside=site)
    assert broken.returncode == 1 and "not whole numbers" in broken.stdout


@pytest.mark.fleet
def test_a_package_that_begins_with_an_action_keeps_the_contract(tmp_path: Path) -> None:
    """X5: and is named by a fleet file; here a few rules."""
    scaffold.write("calm", tmp_path, "action")
    package, info = tmp_path / "sidestep-calm", tmp_path / "sidestep-calm" / "src" / "calm-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: calm\nVersion: 1\n")
    entry = tomllib.loads((package / "pyproject.toml").read_text())["project"]["entry-points"]["sidestep.actions"]
    (info / "entry_points.txt").write_text(f"[sidestep.actions]\ncalm = {entry['calm']}\n")
    checked = sidestep("plugin", "check", "calm", "--params", '{"score": 300}', "--only", "answers,revert,twice",
                       beside=info.parent)  # fmt: skip
    assert checked.returncode == 0 and "3 holds" in checked.stdout, checked.stdout + checked.stderr
    refused = sidestep("plugin", "check", "calm", "--params", '{"score": 0}', "--only", "same", beside=info.parent)
    assert refused.returncode == 1 and "score is 0" in refused.stdout
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET.replace('constraints = ["residency"]', "") + SHARD + '[action.calm]\napps = ["batch"]\n')
    assert sidestep("fleet", "check", str(file), beside=info.parent).returncode == 0
    without = sidestep("fleet", "check", str(file), beside=tmp_path)
    assert without.returncode == 2 and "is no action of a plugin" in without.stdout + without.stderr


@pytest.mark.parametrize("name", ["", "Upper", "1st", "a-b", "__x", "class", "a" * 3 + "\x1b", "../up"])
def test_a_name_that_is_none_is_refused_with_the_remedy(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a plugin"):
        scaffold.write(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_kind_that_nobody_begins_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to begin a goal with"):
        scaffold.write("mine", tmp_path, "goal")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    scaffold.write("mine", tmp_path)
    with pytest.raises(UsageError, match="is there already"):
        scaffold.write("mine", tmp_path)


def test_a_plugin_that_nobody_has_is_an_error_that_names_the_others() -> None:
    with pytest.raises(UsageError, match="no plugin is called") as error:
        catalogue.about("fly")
    assert "process" in error.value.hint
