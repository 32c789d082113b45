"""``journal``, ``audit``, ``backup`` and ``restore`` on the command line, from files alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from sidestep.autopilot.journal import Journal
from sidestep.backends.base import StepResult
from sidestep.console.commandline import app
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState, StepName
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Action, Basis, Plan, Reason

NOON = 1_790_000_000.0


class Ticks:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def a_plan(journal: Journal, shard: str, source: str, destination: str) -> Plan:
    action = Action(
        id=1, shard=Label(shard), source=Label(source), destination=Label(destination), token=1, priority=2,
        reason=Reason("contention", Label(f"{source} runs hot")),
    )  # fmt: skip
    return Plan(
        number=journal.next_number(), fleet=Label("f"), created=NOON, expires=NOON + 300.0, author=Label("planner"),
        snapshot=1, forecast="fc", policy=Policy(), basis=Basis((), ()), actions=(action,),
        summary=Label(f"move {shard} away from {source}"),
    )  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    journal = Journal(folder / "journal.db", clock=Ticks())
    journal.adopt({Label("s1"): Owner(Label("h1"), 1), Label("s10"): Owner(Label("h2"), 1)}, Label("autopilot"))
    journal.record("host", "h1: connection lost")
    for shard, source in (("s1", "h1"), ("s10", "h2")):
        digest = journal.add(a_plan(journal, shard, source, "h3")).digest
        journal.set_state(digest, PlanState.APPROVED, actor=Label("kim"), reason=f"{source} at noon")
        journal.set_state(digest, PlanState.RUNNING, actor=Label("executor"))
        journal.begin_action(digest, 1)
        journal.begin_step(digest, 1, StepName.PREPARE)
        journal.end_step(digest, 1, StepName.PREPARE, StepResult(), ms=12.0)
        journal.set_action(digest, 1, ActionState.DONE)
        journal.set_state(digest, PlanState.SUCCEEDED, actor=Label("executor"))
    journal.close()
    return folder


def ran(state: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--state", str(state)])


def rows(state: Path, *words: str) -> list[dict[str, object]]:
    result = ran(state, "journal", "--json", *words)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_journal_is_listed_oldest_first_and_by_number_from_one(state: Path) -> None:
    all_ = rows(state, "--limit", "1000")
    assert [row["seq"] for row in all_] == list(range(1, len(all_) + 1))
    assert [row["seq"] for row in rows(state, "--limit", "3")] == [row["seq"] for row in all_[-3:]]
    shown = ran(state, "journal").stdout.splitlines()
    assert len(shown) == len(all_)
    assert "plan 2 SUCCEEDED (executor)" in shown[-1]
    assert "2026-09-21T" in shown[-1]


def test_rows_are_chosen_by_plan_shard_host_state_kind_actor_and_time(state: Path) -> None:
    """Issue 6: ``sidestep journal`` filters by plan, shard, host, time and state."""
    all_ = rows(state)
    digest = next(str(row["digest"]) for row in all_ if row["plan"] == 2)
    assert {row["plan"] for row in rows(state, "--plan", "2")} == {2}
    assert rows(state, "--plan", digest[:8]) == rows(state, "--plan", "#2") == [r for r in all_ if r["plan"] == 2]
    of_shard = rows(state, "--shard", "s1")
    assert {(row["shard"], row["plan"]) for row in of_shard} == {("", 0), ("", 1), ("s1", 1)}
    assert all("s10 away" not in str(row["text"]) for row in of_shard), "s10 is another shard"
    assert "h1: connection lost" in [row["text"] for row in rows(state, "--host", "h1")]
    assert {row["plan"] for row in rows(state, "--host", "h3", "--kind", "step")} == {1, 2}
    assert [(row["step"], row["state"]) for row in rows(state, "--in", "done", "--plan", "1")] == [
        ("prepare", "DONE"),
        ("", "DONE"),
    ]
    assert {row["actor"] for row in rows(state, "--actor", "kim")} == {"kim"}
    half = all_[len(all_) // 2]["time"]
    assert isinstance(half, float)
    stamp = f"@{half}"
    assert ran(state, "journal", "--since", stamp).exit_code != 0
    later = rows(state, "--since", "2026-09-21T14:13:30")
    sooner = rows(state, "--until", "2026-09-21T14:13:30")
    assert sooner + later == all_
    assert later
    assert sooner


@pytest.mark.parametrize("words", [["--plan", "abc"], ["--plan", "ffffffff"], ["--since", "yesterday"]])
def test_what_cannot_be_asked_is_said_with_a_remedy(state: Path, words: list[str]) -> None:
    result = ran(state, "journal", *words)
    assert "remedy" in str(result.exception)


def test_an_export_holds_every_row(state: Path, tmp_path: Path) -> None:
    lines, table = tmp_path / "j.jsonl", tmp_path / "j.parquet"
    for file in (lines, table):
        assert ran(state, "journal", "--export", str(file)).exit_code == 0
        assert file.stat().st_mode & 0o777 == 0o600
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert found == rows(state, "--limit", "1000")
    columns = pq.read_table(table).to_pydict()
    for name in ("seq", "kind", "text", "plan", "shard", "destination", "state"):
        assert columns[name] == [row[name] for row in found]
    assert columns["time"][0].timestamp() == found[0]["time"]
    again = ran(state, "journal", "--export", str(lines))
    assert "exists" in str(again.exception)
    assert "name a .jsonl" in str(ran(state, "journal", "--export", "x.csv").exception)


def test_following_shows_what_a_daemon_writes_meanwhile(state: Path) -> None:
    program = "import sys; from sidestep.console.cli import main; main()"
    command = [sys.executable, "-c", program, "journal", "--follow", "--limit", "1", "--state", str(state)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert reader.stdout is not None
    try:
        assert "SUCCEEDED" in reader.stdout.readline()
        journal = Journal(state / "journal.db")
        journal.record("host", "h2: back again")
        assert "h2: back again" in reader.stdout.readline()
        journal.close()
    finally:
        reader.send_signal(signal.SIGINT)
        assert reader.wait(20) == 0


def test_the_audit_log_is_listed_and_chosen_from(state: Path) -> None:
    result = ran(state, "audit", "--act", "approve")
    assert [line.split("  ", 1)[1].split("Z ")[1] for line in result.stdout.replace("     ", "  ").splitlines()] == [
        'approve by kim  plan 1  "h1 at noon"',
        'approve by kim  plan 2  "h2 at noon"',
    ]
    told = [json.loads(line) for line in ran(state, "audit", "--plan", "1", "--json").stdout.splitlines()]
    assert [entry["act"] for entry in told] == ["propose", "approve", "run", "begin", "done", "succeeded"]
    assert {len(entry["digest"]) for entry in told} == {64}
    assert json.loads(ran(state, "audit", "--actor", "kim", "--json", "--limit", "1").stdout)["n"] > 4


def test_verify_ends_with_0_for_a_whole_log_and_with_1_and_the_place_for_another(state: Path) -> None:
    """Issue 6, show 4."""
    good = ran(state, "audit", "verify")
    assert (good.exit_code, "is whole" in good.stdout) == (0, True)
    head = ran(state, "audit", "head").stdout.strip()
    assert head in good.stdout
    assert ran(state, "audit", "verify", "--anchor", head).exit_code == 0
    file = state / "audit.log"
    log = bytearray(file.read_bytes())
    at = log.index(b"h2 at noon")
    log[at] ^= 4
    file.write_bytes(log)
    bad = ran(state, "audit", "verify")
    assert bad.exit_code == 1
    n = log[:at].count(b"\n") + 1
    assert f"audit.log: entry {n} (byte {log.rfind(10, 0, at) + 1}): is not what was written" in bad.stdout
    assert "reason: here 'l2 at noon', journal 'h2 at noon'" in bad.stdout
    told = json.loads(ran(state, "audit", "verify", "--json").stdout)
    assert (told["whole"], told["faults"][0]["n"]) == (False, n)


def test_a_cut_log_ends_with_1_too(state: Path) -> None:
    file = state / "audit.log"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-2]))
    bad = ran(state, "audit", "verify")
    assert bad.exit_code == 1
    assert "the log was cut off here" in bad.stdout


def test_backup_and_restore(state: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "b.tar", tmp_path / "other"
    made = ran(state, "backup", str(file))
    assert made.exit_code == 0, made.output
    digest = made.stdout.split()[-1]
    again = ran(other, "restore", str(file), "--digest", digest, "--reason", "new controller")
    assert again.exit_code == 0, again.output
    assert "generation 1" in again.stdout
    assert ran(other, "audit", "verify").exit_code == 0
    assert "new controller" in ran(other, "audit", "--act", "restore").stdout
    refused = ran(other, "restore", str(file))
    assert "already; nothing was restored" in str(refused.exception)
    replaced = ran(other, "restore", str(file), "--replace", "--json")
    assert json.loads(replaced.stdout)["kept"].startswith("replaced-")


def test_without_a_journal_the_remedy_is_said(tmp_path: Path) -> None:
    for words in (["journal"], ["audit"], ["audit", "verify"], ["backup", str(tmp_path / "b")]):
        assert "--state DIR" in str(ran(tmp_path, *words).exception)


def test_the_state_folder_is_found_by_fleet_file_or_alone(state: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "conf"))
    (tmp_path / "home" / "sidestep").mkdir(parents=True)
    assert "no journal under" in str(CliRunner().invoke(app, ["journal"]).exception)
    state.rename(tmp_path / "home" / "sidestep" / "prod")
    assert CliRunner().invoke(app, ["journal"]).exit_code == 0
    file = tmp_path / "fleet.toml"
    file.write_text('[fleet]\nname = "prod"\n[hosts.h1]\naddress = "h1"\n')
    assert CliRunner().invoke(app, ["--fleet", str(file), "audit", "head"]).exit_code == 0
    assert CliRunner().invoke(app, ["audit", "--fleet", str(file)]).exit_code == 0
    (tmp_path / "home" / "sidestep" / "test").mkdir()
    (tmp_path / "home" / "sidestep" / "test" / "journal.db").touch()
    assert "several fleets" in str(CliRunner().invoke(app, ["journal"]).exception)


def test_an_older_journal_is_not_read_as_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"")
    assert "no journal" in str(ran(tmp_path, "journal").exception)
