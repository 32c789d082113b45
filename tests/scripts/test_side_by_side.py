"""``scripts/side-by-side``: both commands run at once, either's failure is the whole's, and what waits speaks last."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "side-by-side"
#: should they wait for each other in vain
BOUNDED = ("timeout", "--kill-after=5", "60", str(SCRIPT))


def beside(waiting: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BOUNDED, waiting, *command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("waiting", "other", "status"), [(0, 0, 0), (3, 0, 3), (0, 5, 5), (3, 5, 5)])
def test_either_failure_is_the_failure_of_both(waiting: int, other: int, status: int) -> None:
    done = beside(f"sh -c 'exit {waiting}'", "sh", "-c", f"exit {other}")
    assert done.returncode == status


def test_both_run_at_once_and_what_waits_is_told_last(tmp_path: Path) -> None:
    """Each waits for the other: one after the other they would never end."""
    first, second = tmp_path / "first", tmp_path / "second"
    os.mkfifo(first)
    os.mkfifo(second)
    done = beside(
        f"sh -c 'echo waiting speaks; echo go >{first}; read line <{second}; echo \"waiting heard $line\"'",
        "sh", "-c", f"read line <{first}; echo \"heard $line\"; echo on >{second}",
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if not line.startswith("beside that:")]
    assert [line for line in said if line] == ["heard go", "waiting speaks", "waiting heard on"]


def test_whoever_ends_it_ends_what_waits(tmp_path: Path) -> None:
    """A fleet that waits is told to end, and takes itself down."""
    ready, ended = tmp_path / "ready", tmp_path / "ended"
    os.mkfifo(ready)
    waiting = f"sh -c 'trap \"echo gone >{ended}; exit\" TERM; echo x >{ready}; while :; do sleep 0.1; done'"
    done = beside(waiting, "sh", "-c", f"read line <{ready}; kill -TERM $PPID")
    assert done.returncode == 128 + signal.SIGINT
    assert ended.read_text() == "gone\n"
