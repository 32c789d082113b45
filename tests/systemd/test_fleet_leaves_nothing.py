"""The test fleet itself: whatever happens to it, nothing of it stays on the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scripts.testfleet.cgroups import ROOT
from scripts.testfleet.fleet import Fleet
from scripts.testfleet.plan import plan
from sidestep.fleet.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]


def left(name: str) -> list[str]:
    """Traces of a fleet: mounts, control groups, files, processes and interfaces."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = [mount for mount in mounts if f"/{name}/" in f"{mount}/"]
    found += [
        str(path) for path in [*ROOT.glob(f"sidestep-testfleet.{name}"), *ROOT.glob(f"*/sidestep-testfleet.{name}")]
    ]
    found += [str(path) for path in Path("/run/sidestep-testfleet").glob(f"{name}*")]
    for group in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            words = group.read_text() + (group.parent / "cmdline").read_text()
            state = (group.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if name in words and state not in "ZX":
            found.append(f"{group.parent.name}: {words[-200:]}")
    return found


def commands() -> list[str]:
    """The command lines of everything that runs here."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(file.read_text(errors="replace"))
    return found


def interfaces() -> list[str]:
    """The network interfaces where we are."""
    return sorted(line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:])


@pytest.fixture
def name() -> Iterator[str]:
    """A fleet of the test's own, beside the one that it runs in."""
    chosen = f"self-{os.getpid()}"
    yield chosen
    Fleet(chosen).down()


def started(name: str, command: str) -> subprocess.Popen[str]:
    """``run`` with one host; returns once its command has said that it runs."""
    argv = [sys.executable, "-m", "scripts.testfleet", "--fleet", name, "run", "x1", "--", "sh", "-c", command]
    run = subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "running\n"
    return run


def test_a_fleet_that_is_taken_down_leaves_no_trace(name: str) -> None:
    before = interfaces()
    fleet = Fleet(name)
    fleet.up(plan(["x1:layout=hybrid", "x2:layout=unified"]))
    assert left(name)
    # In no good order: one host hangs, and somebody is still in the other.
    fleet.freeze("x1")
    command = fleet.command("x2", ["sh", "-c", "echo in; exec sleep 600"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as inside:
        assert inside.stdout is not None
        assert inside.stdout.readline() == "in\n"
        fleet.down()
        assert inside.wait(10) == -signal.SIGKILL
    assert left(name) == []
    assert interfaces() == before


def test_a_fleet_that_is_up_is_not_made_again(name: str) -> None:
    fleet = Fleet(name)
    fleet.up(plan(["x1"]))
    with pytest.raises(UsageError, match="is up already"):
        fleet.up(plan(["x1"]))
    assert fleet.is_on("x1")


def test_a_run_returns_its_commands_status_and_removes_its_fleet(name: str) -> None:
    run = started(name, "echo running; exit 7")
    assert run.wait(30) == 7
    assert left(name) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_ends_its_command_and_removes_its_fleet(name: str, number: int) -> None:
    run = started(name, "echo running; exec sleep 600")
    run.send_signal(number)
    assert run.wait(60) == 128 + number
    assert left(name) == []


def test_what_a_killed_run_left_is_removed_by_the_next_one(name: str) -> None:
    run = started(name, f"echo running; exec sleep 600.{os.getpid()}")
    run.kill()
    run.wait()
    deadline = time.monotonic() + 10
    while any(f"600.{os.getpid()}" in words for words in commands()):
        assert time.monotonic() < deadline, "the command outlives its run"
        time.sleep(0.05)
    assert left(name), "a killed run cannot clean up"
    again = started(f"{name}-b", "echo running")
    assert again.wait(30) == 0
    assert left(name) == []


def test_a_fleet_whose_state_was_lost_is_removed_all_the_same(name: str) -> None:
    fleet = Fleet(name)
    fleet.up(plan(["x1"]))
    fleet.places.file.write_text("{ not even json")
    fleet.down()
    assert left(name) == []
