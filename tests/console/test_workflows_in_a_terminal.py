"""How workflows are walked in tmux: keys go to a real console in a real terminal, and are counted."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from frames import Daemon

from scripts.workflows import page
from scripts.workflows.fleet import LOST, SPARE, prepared
from scripts.workflows.terminal import NotSeen, Terminal
from scripts.workflows.walks import WORKFLOWS, explain
from sidestep.autopilot.demo.stage import Stage

DOCS = Path(page.__file__).resolve().parents[2] / "docs"
DEMO = """
[hosts.h1]
zone = ""
[hosts.h2]
zone = ""
[shards.kv-01]
host = "h1"
start = "exec counter.py serve --standby --report"
ready = "exec counter.py ready"
failover = "wait"
drop = ""
[shards.kv-02]
host = "h2"
start = "exec counter.py serve --standby --report"
ready = "exec counter.py ready"
failover = "wait"
replicas = 0
drop = ""
[policy]
kinds = ["migrate"]
"""


async def test_a_workflow_is_walked_in_a_real_terminal_and_its_keys_are_counted(
    daemon: Daemon, socket: Path, tmp_path: Path
) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("NOT CHECKED: tmux is not installed")
    # what a shell has exported of an older size must not count: the terminal knows its own
    program = str(Path(sys.executable).with_name("sidestep"))
    command = ["env", "COLUMNS=80", "LINES=24", program, "--socket", str(socket)]
    terminal = Terminal(tmp_path, tmp_path, command)
    try:
        with terminal.aside():
            await terminal.sees(r"\bh2\b")  # what is typed before a program reads its terminal may be lost
            await terminal.press("2")
            await terminal.sees("shards by cpu")
        await explain(terminal, cast(Stage, SimpleNamespace()))
        assert (terminal.keys, terminal.words) == (3, 1)
        with pytest.raises(NotSeen) as missed:
            await terminal.sees("no such words", patience=0.1)
        assert "kind=plan" in missed.value.screen
    finally:
        terminal.close()
    assert "proposed: move 1 shard off h2" in (tmp_path / "8-log.txt").read_text()
    drawn = (tmp_path / "8-log.svg").read_text()
    assert drawn.startswith("<svg") and "proposed:" in drawn and "\x1b" not in drawn


def test_the_fleet_that_is_walked_has_what_the_workflows_are_about(tmp_path: Path) -> None:
    found: dict[str, Any] = tomllib.loads(prepared(DEMO, tmp_path))
    shards = found["shards"]
    assert found["policy"]["kinds"] == ["migrate", "failover"]
    assert shards[SPARE]["spare"] and all(shard["drop"].endswith("drop") for shard in shards.values())
    assert {name for name, shard in shards.items() if shard.get("failover") == "capsule"} == {"kv-02"}
    assert shards["kv-02"]["host"] == LOST and shards["kv-02"]["replicas"] == 1
    assert found["pool"]["shop"]["cold"] == 1 and found["hosts"]["h2"]["zone"] == "a"


def test_the_page_has_a_section_and_its_pictures_for_every_workflow() -> None:
    text = (DOCS / "workflows.md").read_text()
    headings = re.findall(r"(?m)^## (\d)\. (.+)$", text)
    titles = {str(number): (walks[0].__doc__ or "").strip() for number, walks in WORKFLOWS.values()}
    assert dict(headings) == titles and sorted(titles) == list("12345678")
    pictures = re.findall(r"\]\(pictures/([\w-]+)\.svg\)", text)
    assert set(page.PICTURES.values()) <= set(pictures)
    assert all((DOCS / "pictures" / f"{name}.svg").is_file() for name in pictures)
    results = [page.Walked(number, name, titles[str(number)], 3, 1, 9.0, "") for name, (number, _) in WORKFLOWS.items()]
    linked = re.findall(r"\(#([a-z0-9-]+)\)", page.table(results))
    assert linked == [
        f"{n}-{re.sub('[^a-z0-9 -]', '', t.lower()).replace(' ', '-')}" for n, t in sorted(titles.items())
    ]
    assert all(line.startswith(f"| {at} |") for at, line in enumerate(page.table(results).splitlines()[2:], 1))
