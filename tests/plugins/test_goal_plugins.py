"""Goals are found by entry point like backends; one that cannot be loaded is named and left out."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from sidestep.fleet import extensions
from sidestep.planning.goals import BUILT_IN, Spread
from sidestep.plugins import GOALS, available, load, load_goals
from sidestep.plugins.goals import Plugged


def test_our_goals_are_registered_like_anybodys() -> None:
    assert set(BUILT_IN) <= {entry.name for entry in available(GOALS)}
    assert all(load(GOALS, name) is maker for name, maker in BUILT_IN.items())


@pytest.mark.parametrize(
    "value", ["no_such_module_anywhere:X", "sidestep.fleet.labels:nothing", "sidestep.fleet.labels:LIMIT"]
)
def test_a_goal_that_cannot_be_loaded_is_named_and_the_others_are_there(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {
        "bad": EntryPoint(name="bad", value=value, group=GOALS),
        "theirs": EntryPoint(name="theirs", value="sidestep.planning.goals:Spread", group=GOALS),
    }
    monkeypatch.setattr(extensions, "entries", lambda _: entries)
    found, problems = load_goals(["bad", "cost", "theirs", "unknown"])
    assert list(found) == ["cost", "theirs"]
    assert ["bad" in str(problems[0]), "unknown" in str(problems[1])] == [True, True]
    assert all(problem.hint for problem in problems)


def test_goals_are_imported_when_a_plan_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {
        "bad": EntryPoint(name="bad", value="no_such_module:X", group=GOALS),
        "theirs": EntryPoint(name="theirs", value="sidestep.planning.goals:Spread", group=GOALS),
    }
    monkeypatch.setattr(extensions, "entries", lambda _: entries)
    plugged = Plugged()
    assert plugged["theirs"] is Spread and "bad" not in plugged and "unknown" not in plugged
    assert list(plugged) == ["theirs"] and len(plugged) == 1
