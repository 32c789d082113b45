"""S2.21: ``sidestep fenced``: a person's word that a host is off, with a reason and never by accident."""

from __future__ import annotations

from frames import Daemon
from test_command_line import ask

from sidestep.autopilot.protocol_control import DeclareOff


async def test_a_host_is_said_to_be_off_with_a_reason(daemon: Daemon) -> None:
    ran = await ask(daemon, "fenced", "h2", "--reason", "pulled the plug", "--yes")
    assert (ran.code, ran.out) == (0, "h2 is taken to be off\n")
    assert daemon.steered == [DeclareOff("h2", "pulled the plug")]


async def test_nothing_is_said_without_a_reason_or_without_anybody_to_ask(daemon: Daemon) -> None:
    silent = await ask(daemon, "fenced", "h2", "--yes")
    assert silent.code == 2 and "a reason is needed" in silent.err
    alone = await ask(daemon, "fenced", "h2", "--reason", "pulled the plug")
    assert alone.code == 2 and "nobody is there to confirm" in alone.err
    assert "it then runs twice" in alone.err
    assert daemon.steered == []
