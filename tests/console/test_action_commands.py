"""X5: whoever approves an action of a plugin sees every command, and what is declared and in force is listed."""

from __future__ import annotations

import pytest

from sidestep.autopilot.protocol_actions import ActionList, DeclaredAction
from sidestep.console.actiontext import action_rows, applied_line, command_lines, standing_rows
from sidestep.console.plantext import what_runs
from sidestep.console.text import ASCII, Line
from sidestep.fleet.actions import Applied, Standing
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Action, Reason

NAP = Applied(
    name=Label("nap"), plugin=Label("hook"), params="{}", says=Label("stops taking work"), validate="test -e a",
    execute="first line\nsecond " + "word " * 30, verify="is it", revert="undo it", seconds=5.0, loss=0.25, cpu=0.5,
    memory=float(1 << 30),
)  # fmt: skip


def act(kind: str = "apply") -> Action:
    return Action(
        id=2, kind=kind, shard=Label("batch-1"), source=Label("h1"), destination=Label("h1"), token=7, priority=3,  # type: ignore[arg-type]
        reason=Reason("APPLIES", Label("h1 runs hot")), applied=NAP,
    )  # fmt: skip


def plain(line: Line) -> str:
    return "".join(part.text for part in line)


def test_an_action_of_a_plugin_is_a_sentence_with_what_it_costs() -> None:
    said = plain(what_runs(act(), ASCII))
    assert said.startswith("2. apply batch-1  on h1, nap: stops taking work  in place")
    assert "at most 0.5 cores" in said and "1" in said and "users lose 25% of it" in said
    assert "takes it back" in plain(applied_line(act("lift"), NAP))


@pytest.mark.parametrize(
    ("kind", "order"),
    [("apply", ["test -e a", "first line", "is it", "undo it"]), ("lift", ["undo it", "is it", "first line"])],
)
def test_every_command_is_shown_word_for_word_in_the_order_in_which_it_runs(kind: str, order: list[str]) -> None:
    lines = [plain(line) for line in command_lines(act(kind), 60)]
    assert [line.split(" $ ")[1].strip() for line in lines if " $ " in line] == order
    shown = " ".join(line.split(" $ ")[-1].strip() for line in lines)
    assert shown.count("word") == 30 and all(len(line) <= 60 for line in lines)


def test_what_is_no_action_of_a_plugin_has_no_commands() -> None:
    moved = Action(id=1, shard=Label("a"), source=Label("h1"), destination=Label("h2"), token=1, priority=1,
                   reason=Reason("X", Label("y")))  # fmt: skip
    assert not list(command_lines(moved, 80))


def test_what_cannot_be_done_says_so_with_glyph_and_word_and_why() -> None:
    rows = (
        DeclaredAction(name=Label("nap"), plugin=Label("hook"), apps=(Label("batch"),)),
        DeclaredAction(name=Label("cap"), plugin=Label("cores"), shards=(Label("b-1"),), problem=Label("not here")),
    )
    standing = Standing(shard=Label("batch-1"), token=7, since=0.0, applied=NAP)
    listed = ActionList(rows, (standing,), planned=True)
    assert [row[1:] for row in action_rows(listed)[1:]] == [
        ("hook", "app batch", "✓ ready"), ("cores", "b-1", "✗ CANNOT BE DONE: not here")
    ]  # fmt: skip
    assert standing_rows(listed)[1][:2] == ("nap", "batch-1")
