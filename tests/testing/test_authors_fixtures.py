"""X5: in an author's suite every rule of the contract is a test, and a broken one fails under its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
from contextlib import nullcontext

import pytest

from sidestep.testing import FakeClock, Finding, MemoryBackend, MemoryFleet
from sidestep.testing.doubles import MemoryGround, MemorySubject

ground = MemoryGround()


class NoFence(MemoryBackend):
    def _fenced(self, *_):
        return


@pytest.fixture(scope="module")
def sidestep_subject():
    return MemorySubject(make=lambda: NoFence(lambda: next(ground.fleet.pids))).on(ground)


@pytest.fixture(scope="module")
def sidestep_ground():
    return lambda folder: nullcontext(ground)


def test_contract(sidestep_rule: Finding) -> None:
    assert sidestep_rule.verdict == "holds", sidestep_rule.detail


def test_doubles(sidestep_clock: FakeClock, sidestep_fleet: MemoryFleet) -> None:
    assert sidestep_clock() == 1000.0 and list(sidestep_fleet.hosts) == ["m1", "m2"]
"""


def suite(folder: Path, module: str, *options: str) -> str:
    """What pytest says of an author's suite, in a process of its own."""
    (folder / "conftest.py").write_text('pytest_plugins = ["sidestep.testing.fixtures"]\n', encoding="utf-8")
    (folder / "test_author.py").write_text(module, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *options, str(folder)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_a_broken_rule_is_a_failed_test_with_its_name(tmp_path: Path) -> None:
    said = suite(tmp_path, MODULE, "-k", "doubles or empty or replay or stop.fences")
    assert "PASSED test_author.py::test_contract[empty]" in said
    assert "FAILED test_author.py::test_contract[fence.replay]" in said
    assert "PASSED test_author.py::test_doubles" in said
    assert "test_contract[move]" not in said, "what was not chosen is not tried"


def test_who_gives_no_subject_is_told_what_to_write(tmp_path: Path) -> None:
    module = "def test_contract(sidestep_rule):\n    assert sidestep_rule\n"
    assert "write a fixture sidestep_subject" in suite(tmp_path, module, "-k", "empty")
