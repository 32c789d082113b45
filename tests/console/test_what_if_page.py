"""What if: changes on paper, asked of the planner; nothing of it is ever proposed, also in a read-only console."""

from __future__ import annotations

from pathlib import Path

from conftest import console_on
from frames import Daemon
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.protocol_plans import GetPlanning, NewPlan, Planning
from sidestep.console import whatif
from sidestep.console.feed import looks
from sidestep.console.screens.whatif import WhatIfPage

NAMES = st.lists(st.sampled_from(["h1", "h2", "h3", "h4"]), max_size=3)


def asked(daemon: Daemon) -> tuple[str, ...]:
    return next(each.what_if for each in reversed(daemon.wanted) if isinstance(each, NewPlan))


async def test_marked_hosts_are_drained_and_lost_load_grows_and_hosts_are_added_on_paper(
    daemon: Daemon, socket: Path
) -> None:
    """Each key is one more change; backspace takes it back. Nothing is approved, ordered or proposed."""
    async with console_on(socket, (160, 40), read_only=True) as console:
        await console.press("g", "space", "space")
        marked = tuple(sorted(console.app.place.table.marked))
        await console.press("i")
        await console.sees("h2 ")
        assert isinstance(console.app.place, WhatIfPage) and console.app.place.hosts_meant() == marked
        await console.press("d")
        await console.until(lambda: asked(daemon) == (f"drain={','.join(marked)}",))
        await console.press("plus", "plus")
        await console.until(lambda: asked(daemon)[-1] == "load=+60%")
        console.app.place.table.select("h4")
        await console.press("n", "n")
        await console.until(lambda: asked(daemon)[-1] == "add=2:like:h4")
        console.app.place.table.select("h2")
        await console.press("z")
        await console.until(lambda: asked(daemon)[-1] == "lose=zone:z1")
        await console.press("backspace")
        await console.until(lambda: asked(daemon)[-1] == "add=2:like:h4")
        assert all(each.what_if for each in daemon.wanted if isinstance(each, NewPlan)), "one without would propose"
        assert not daemon.approved and not daemon.steered


async def test_every_host_is_shown_as_it_is_as_asked_and_with_the_plan(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, (160, 40)) as console:
        console.app.run_line("what-if drain=h2")
        await console.sees("1 action, 12M, would ease it")
        row = next(line for line in console.lines() if " h2 " in line and "%" in line)
        assert "draining" in row and "40%" in row and "95%" in row and "73%" in row
        assert any("new-1" in line and " new " in line for line in console.lines())
        assert "migrate shop-01" in console.text() and "if 1, with the plan 0" in console.text()
        await console.press("m")
        await console.sees("peaks within the horizon: memory")


async def test_a_search_shows_how_far_it_is_and_a_refusal_its_remedy(daemon: Daemon, socket: Path) -> None:
    daemon.steps = [Planning(job=4, state="running", elapsed=2.0, done=500, total=2000, moves=3)] * 200
    async with console_on(socket, (120, 40)) as console:
        console.app.run_line("what-if load=+30%")
        await console.sees("best 3 moves")
        daemon.steps.clear()
        daemon.failed = "the planner has no time"
        await console.sees("✗")
        assert any(isinstance(each, GetPlanning) for each in daemon.wanted)


@given(NAMES, NAMES)
def test_no_host_is_named_twice_however_often_it_is_drained(first: list[str], second: list[str]) -> None:
    changes = whatif.joined(whatif.joined((), "drain", sorted(set(first))), "drain", sorted(set(second)))
    named = [name for each in changes for name in each.removeprefix("drain=").split(",")]
    assert sorted(named) == sorted({*first, *second})


@given(st.integers(1, 8))
def test_growth_and_hosts_add_up_in_one_change(times: int) -> None:
    changes: tuple[str, ...] = ("drain=h1",)
    for _ in range(times):
        changes = whatif.added(whatif.grown(changes), "h2")
    assert changes == ("drain=h1", f"load=+{30 * times}%", f"add={times}:like:h2")


def test_only_a_plan_on_paper_is_a_question() -> None:
    assert looks(NewPlan(what_if=("load=+30%",)))
    assert not looks(NewPlan())
