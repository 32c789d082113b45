"""The daemon's event loop: uvloop where it is, the standard one where somebody says so."""

from __future__ import annotations

import asyncio
import sys

import pytest

from sidestep.autopilot import eventloop
from sidestep.fleet.errors import UsageError


async def _which() -> str:
    return type(asyncio.get_running_loop()).__module__.split(".", 1)[0]


def test_the_loop_is_uvloop_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(eventloop.VARIABLE, raising=False)
    assert eventloop.run(_which()) == "uvloop"
    monkeypatch.setenv(eventloop.VARIABLE, "asyncio")
    assert eventloop.run(_which()) == "asyncio"


def test_where_uvloop_is_missing_the_standard_loop_serves_unless_uvloop_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.delenv(eventloop.VARIABLE, raising=False)
    assert eventloop.run(_which()) == "asyncio"
    monkeypatch.setenv(eventloop.VARIABLE, "uvloop")
    with pytest.raises(UsageError, match="uvloop"):
        eventloop.run(_which())


def test_a_loop_that_there_is_not_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(eventloop.VARIABLE, "trio")
    with pytest.raises(UsageError, match="trio"):
        eventloop.run(_which())
