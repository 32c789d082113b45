"""A sample of the fault matrix on real hosts; docs/faults.md says how to run all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.testfleet import criu
from scripts.testfleet.shell import Impossible

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("only", "sample"), [("migrate/*/hook,migrate/*/restart", 6), ("migrate/*/criu", 4)])
def test_a_sample_of_faults_loses_nothing_and_leaves_one_owner(only: str, sample: int) -> None:
    """S2.23 S2.25 S2.27 S3.9 S3.22: real power loss, real full and slow disks, real cables; files and memory."""
    if only.endswith("criu"):
        try:
            criu.archive()
        except Impossible as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"NO CRIU: {error}")
    command = [sys.executable, "-m", "scripts.faultmatrix", "--fleet", "systemd", "--lanes", "1", "--json"]
    command += ["--only", only, "--sample", f"{sample}", "--seed", "6"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    *lines, last = done.stdout.splitlines() or [""]
    cells = [json.loads(line) for line in lines]
    wrong = [cell for cell in cells if cell["result"] != "passed"]
    assert not wrong, wrong
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(cells) == sample
    assert last.startswith("cells: ")
