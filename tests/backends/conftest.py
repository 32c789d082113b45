"""Shared fixtures of the backends' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from counters import CounterProcess


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Callable[..., CounterProcess]]:
    """A maker of counter processes: ``counter("kv-01", 7, standby=True)``."""
    made: list[CounterProcess] = []

    def start(name: str = "kv-01", token: int = 1, *, standby: bool = False, report: bool = False) -> CounterProcess:
        made.append(CounterProcess(tmp_path, name, token, standby=standby, report=report))
        return made[-1]

    yield start
    for one in made:
        one.close()
