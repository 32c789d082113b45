"""The main job, end to end: a predicted contention is avoided, and the control run proves it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.fleet, pytest.mark.slow, pytest.mark.alone]

KEYS = {
    "predicted_at", "lead_s", "probability", "plan_digest", "actions", "freeze_ms", "requests", "lost",
    "duplicated", "peak_before", "peak_after", "peak_without",
}  # fmt: skip


def test_the_headless_story_avoids_a_predicted_contention() -> None:
    """S1.1 S3.7 S3.14 S5.6 S5.16: predicted at least 20 s ahead, moved in time, nothing lost or served twice."""
    sidestep = str(Path(sys.executable).with_name("sidestep"))
    command = [sidestep, "demo", "--headless", "--json", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert done.returncode == 0, "\n".join([*told["problems"], done.stderr])
    assert told.keys() >= KEYS
    assert told["lead_s"] >= 20
    assert 0 < told["probability"] <= 1
    assert len(told["plan_digest"]) == 64
    assert told["actions"]
    assert all(action["state"] == "DONE" for action in told["actions"])
    assert told["peak_after"] < told["threshold"] < told["peak_without"]
    assert (told["lost"], told["duplicated"]) == (0, 0)
    assert told["requests"] > 1000
