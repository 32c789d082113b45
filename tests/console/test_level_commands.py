"""The commands about how far the autopilot may go."""

from __future__ import annotations

import json

import pytest
from frames import Daemon
from test_command_line import ask

from sidestep.console.headless.levels import wanted
from sidestep.fleet.errors import UsageError


async def test_the_autopilot_says_what_holds_why_and_what_is_offered(daemon: Daemon) -> None:
    """S4.22, Show 5: level set, level allowed, reasons, evidence, offer."""
    done = await ask(daemon, "autopilot", "status")
    assert done.code == 0
    for said in (
        "level advise holds: set to full, trust allows advise",
        "NO_SKILL: forecasts are no better than the last value",
        "offered: semi; to allow it: sidestep autopilot promote semi --reason TEXT",
        "4200 scored, skill -0.20, inside the 80 % band 79%",
        "2 of the last 3 succeeded",
        "freeze not known",
        "fleet: full, set by ann: go",
        "app shop: semi, as the fleet file says",
    ):
        assert said in done.out
    whole = json.loads((await ask(daemon, "autopilot", "status", "--json")).out)
    assert (whole["allowed"], whole["offer"], whole["evidence"]["skill"]) == ("advise", "semi", -0.2)


async def test_an_offer_is_taken_with_a_reason(daemon: Daemon) -> None:
    done = await ask(daemon, "autopilot", "promote", "semi", "--reason", "repaired")
    assert (done.code, done.out) == (0, "autopilot trust: advise -> semi, allowed by " + done.out.split("by ")[1])


def test_a_level_is_set_of_one_thing_at_a_time() -> None:
    asked = wanted(["set", "full"], app="kv", shard="", host="", reason="go")
    assert asked is not None and (asked.level, asked.scope, asked.name, asked.reason) == ("full", "app", "kv", "go")
    taken = wanted(["clear"], app="", shard="", host="h1", reason="")
    assert taken is not None and (taken.level, taken.scope, taken.name) == ("", "host", "h1")
    assert wanted([], app="", shard="", host="", reason="") is None
    for words, more in (
        (["set"], {}),
        (["full", "off"], {}),
        ([], {"app": "kv"}),
        (["off"], {"app": "a", "host": "b"}),
    ):
        with pytest.raises(UsageError):
            wanted(words, **{"app": "", "shard": "", "host": "", "reason": "", **more})
