"""The benchmark of moves: its client sees what users see, and its figures come from real moves."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import report, restart  # noqa: E402
from benchmarks.executor import _figures, freezes, quantile, rates  # noqa: E402
from benchmarks.executor_stage import fill, missing  # noqa: E402
from benchmarks.farm import SSHD, farm  # noqa: E402
from sidestep.autopilot.config_file import load_fleet  # noqa: E402
from sidestep.autopilot.executor import UNFINISHED  # noqa: E402
from sidestep.autopilot.journal import Journal  # noqa: E402
from sidestep.autopilot.recovery import Way, decide  # noqa: E402

needs_sshd = pytest.mark.skipif(SSHD is None or bool(missing()), reason="NOT CHECKED: sshd, ssh or rsync is missing")


def test_it_is_one_of_the_benchmarks_that_are_reported() -> None:
    assert "executor" in report.names()


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (51.0, 100.0, 7.0)
    rows = _figures({"downtime_ms": values, "cpu_s": [1.0, 2.0]})
    assert rows["downtime_p99_ms"].median == 100.0 and "cpu_s_p99" not in rows


def test_ballast_has_exactly_its_size(tmp_path: Path) -> None:
    fill(tmp_path, (8 << 20) + 5)
    assert sorted(p.stat().st_size for p in tmp_path.iterdir()) == [5, 8 << 20]


@needs_sshd
@pytest.mark.openssh
def test_moves_of_all_contenders_are_seen_by_a_client(tmp_path: Path) -> None:
    """S3.19: one real move of each; everybody is away for some time, and serves again."""
    with farm(2, tmp_path) as servers:
        rows = asyncio.run(freezes(servers, tmp_path, {"4 KiB": (4096, 1)}))
    assert set(rows) == {"move of 4 KiB", "stop; rsync; start of 4 KiB", "rsync; stop; rsync; start of 4 KiB"}
    assert all(row["downtime_ms"].median > 0 for row in rows.values())
    ours = rows["move of 4 KiB"]
    assert ours["freeze_ms"].median > 0 and ours["of it capture ms"].median > 0 and ours["cpu_s"].median > 0


@needs_sshd
@pytest.mark.openssh
def test_a_plan_of_moves_is_counted(tmp_path: Path) -> None:
    with farm(4, tmp_path) as servers:
        rows = asyncio.run(rates(servers, tmp_path, 1, 2))
    assert len(rows) == 3 and all(row["moves_per_min"].median > 0 for row in rows.values())


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="NOT CHECKED: ssh-keygen is missing")
def test_the_journal_of_the_restart_has_a_plan_that_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2.21: what is measured includes deciding about it."""
    monkeypatch.setattr(restart, "EVENTS", 10)
    monkeypatch.setattr(restart, "PLANS", 3)
    restart.fill(tmp_path / "journal.db", load_fleet(restart.fleet_file(tmp_path)))
    journal = Journal(tmp_path / "journal.db")
    ((plan, status),) = journal.plans_in(*UNFINISHED)
    assert decide(plan.actions[0], status.actions[0]).way is Way.BACK
    assert len(journal.placement().owners) == restart.SHARDS
    journal.close()
