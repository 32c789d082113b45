"""A sample of the fault matrix on the embedded fleet; docs/faults.md says how to run all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
#: of moves, drawn; of the other kinds, each in a world of its own
SAMPLE = 7
OTHERS = (
    "failover/commit:after/kill-daemon/hook",
    "preempt/capture:after/kill-shard@source/restart",
    "place/transfer:after/kill-daemon/hook",
)
#: which begins with a split that nothing disturbs
DIVIDING = ("merge/restore:before/kill-shard@source/hook",)


@pytest.fixture
def matrix() -> Iterator[Callable[[str, int], subprocess.Popen[str]]]:
    """Begins a run of the matrix; what runs still is ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(only: str, sample: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "scripts.faultmatrix", "--fleet", "embedded", "--lanes", "2", "--json"]
        command += ["--only", only, "--sample", f"{sample}", "--seed", "6"]
        environment = {**os.environ, "TMPDIR": "/tmp"}
        done = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(done)
        return done

    yield begin
    for one in running:
        one.terminate()
        one.communicate()


def test_a_sample_of_faults_loses_nothing_and_leaves_one_owner(
    matrix: Callable[[str, int], subprocess.Popen[str]],
) -> None:
    """S1.20 S1.21 S2.21 S2.23 S2.25 S2.27 S3.9: the same cells every time; without root none that needs a disk.

    Most of a cell is waiting: moves and the other kinds run side by side.
    """
    wanted = [("migrate/*", SAMPLE), *((",".join(cells), len(cells)) for cells in (OTHERS, DIVIDING))]
    for run, sample in [(matrix(only, sample), sample) for only, sample in wanted]:
        said, trouble = run.communicate(timeout=500)
        *lines, last = said.splitlines() or [""]
        cells = [json.loads(line) for line in lines]
        wrong = [cell for cell in cells if cell["result"] != "passed"]
        assert not wrong, wrong
        assert run.returncode == 0, trouble[-3000:]
        assert len(cells) == sample
        assert last.startswith("cells: ")
