"""Folders of agents that start at the same time in one home."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from typing import Any

import pytest

from sidestep.backends.functions import folder
from sidestep.backends.functions.folder import OwnFolder


def test_an_agent_that_starts_beside_another_leaves_it_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second sweeps at the moment at which the first has its lock's file, and not the lock."""
    flock, others = fcntl.flock, list[threading.Thread]()
    made, go = threading.Event(), threading.Event()

    def second() -> None:
        with OwnFolder.make(tmp_path):
            made.set()
            go.wait(60)

    def slow(file: Any, how: int) -> None:
        if not others and str(getattr(file, "name", "")).endswith("held"):
            others.append(threading.Thread(target=second))
            others[0].start()
            made.wait(0.3)  # it does not come to it where makers wait for each other
        flock(file, how)

    monkeypatch.setattr(folder.fcntl, "flock", slow)
    with OwnFolder.make(tmp_path) as first:
        assert made.wait(60) and first.is_dir() and len(list(tmp_path.iterdir())) == 2
        go.set()
        others[0].join()
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_agent_left_goes_with_the_next_one(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    (left / "held").touch()
    with OwnFolder.make(tmp_path) as mine:
        assert [mine] == list(tmp_path.iterdir())
