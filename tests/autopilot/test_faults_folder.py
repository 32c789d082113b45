"""Faults that a harness steers by files: pauses at exact points of one shard's move, and a wrong wall clock."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from sidestep.autopilot.faults import FolderFaults, clock_from, faults_from, faults_of
from sidestep.fleet.errors import UsageError


def made(folder: Path) -> FolderFaults:
    faults = faults_from({"SIDESTEP_FAULT": f"pause@{folder}"})
    assert isinstance(faults, FolderFaults)
    assert str(faults) == f"pause@{folder}"
    return faults


async def test_a_move_waits_at_the_point_that_a_file_names_until_it_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "kv-01@freeze:after").touch()
    mine = faults_of(made(tmp_path), "kv-01")
    await mine.at("freeze:before")
    await faults_of(made(tmp_path), "kv-02").at("freeze:after")
    waiting = asyncio.create_task(mine.at("freeze:after"))
    reached = tmp_path / "kv-01@freeze:after.reached"
    while not reached.exists():
        await asyncio.sleep(0.01)
    assert not waiting.done()
    reached.unlink()
    await waiting
    await mine.at("freeze:after")  # once for each file


def test_the_wall_clock_is_wrong_by_what_the_file_says(tmp_path: Path) -> None:
    clock = clock_from({"SIDESTEP_FAULT": f"pause@{tmp_path}"})
    assert abs(clock.wall() - time.time()) < 600
    (tmp_path / "clock").write_text("-3600")
    assert abs(clock.wall() + 3600 - time.time()) < 600


def test_a_clock_is_right_where_nothing_is_asked_for() -> None:
    assert clock_from({}).wall is time.time


@pytest.mark.parametrize("text", ["pause@relative", "pause@", "kill@nowhere:after"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no fault"):
        faults_from({"SIDESTEP_FAULT": text})
