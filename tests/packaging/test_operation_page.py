"""docs/operation.md against the code: exit codes, metrics, what a reload switches, the log's schema."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from sidestep.autopilot import __main__ as daemon
from sidestep.autopilot import metrics
from sidestep.autopilot.daemon_log_lines import json_line
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.reload_merge import FLEET, HOST, POLICY_WAITS, SHARD
from sidestep.autopilot.server_lock import DaemonRunning
from sidestep.fleet.errors import ConfigError, ProtocolError, SidestepError, UsageError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operation.md").read_text(encoding="utf-8")


def part(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_exit_code_of_the_daemon_is_on_the_page_and_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The codes are those that main returns for each end there is."""
    found: set[int] = set()
    ends: list[Exception | None] = [
        None, DaemonRunning("x"), JournalError("x"), ConfigError("f", 1, "k", 1, "bad"), UsageError("x"),
        ProtocolError("x"), SidestepError("x"), OSError(98, "Address in use"),
    ]  # fmt: skip
    for end in ends:

        def run(work: object, end: Exception | None = end) -> None:
            work.close()  # type: ignore[attr-defined]
            if end is not None:
                raise end

        monkeypatch.setattr(daemon.eventloop, "run", run)
        found.add(daemon.main([]))
    with pytest.raises(SystemExit) as caught:
        daemon.main(["--no-such-option"])
    found.add(int(caught.value.code or 0))
    capsys.readouterr()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", part("Exit codes of the daemon"), re.MULTILINE)}
    assert documented == found == {0, 1, 2}


def test_every_metric_is_on_the_page_and_no_other() -> None:
    made = set(re.findall(r'"(sidestep_[a-z_]+)"', inspect.getsource(metrics)))
    named = {
        re.sub(r"(_total|_info)$", "", name) for name in re.findall(r"`(sidestep_[a-z_]+)[{`]", part("Metrics"))
    }  # fmt: skip
    assert named == made


def test_what_a_reload_switches_is_on_the_page() -> None:
    said = part("Reload")
    words = {"capacities": {"cpu", "memory"}, "reserves": {n for n in HOST if n.startswith("reserve")}}
    words |= {
        "guarantees": {"guarantee_cpu", "guarantee_memory"},
        "limits": {n for n in SHARD if n.startswith("limit_")},
    }
    spoken = {name for word, names in words.items() if word in said for name in names}
    for name in (*FLEET, *HOST, *SHARD, *POLICY_WAITS):
        assert name in spoken or f"`{name}`" in said or f"`policy.{name}`" in said, name


def test_the_keys_of_a_log_line_are_on_the_page() -> None:
    for key in json.loads(json_line("step", 0.0, "x", {"actor": "a", "source": "h", "logger": "l"})):
        assert f"`{key}`" in part("Log"), key
