"""The page of a plan: all of why, what is left out, how far it is, and what acts on it."""

from __future__ import annotations

from pathlib import Path

from conftest import Console, console_on
from frames import START, Daemon, make_plan, running, succeeded, view_of
from hypothesis import given
from hypothesis import strategies as st

from sidestep.autopilot.protocol_control import CancelPlan, PausePlan, ResumePlan, UndoPlan
from sidestep.console.planlive import Watch, left_over, reach, seconds_left, share, wants_number
from sidestep.console.screens.plan import PlanPage
from sidestep.console.settings import Settings
from sidestep.fleet.machines import ActionState, PlanState, StepName
from sidestep.fleet.plans import ActionStatus


def page(console: Console) -> PlanPage:
    place = console.app.place
    assert isinstance(place, PlanPage)
    return place


async def test_before_and_after_evidence_cost_deadline_and_undo_stand_on_one_page(daemon: Daemon, socket: Path) -> None:
    """Workflow 2: why this, why not there, what it costs, what it does to every host over the horizon."""
    async with console_on(socket, (160, 45)) as console:
        await console.press("4", "enter")
        for text in (
            "plan #12 PROPOSED", "why: h2 is predicted", "not h1: would itself run hot", "start before",
            "undo: move shop-01 back", "~38 ms", "12M", "95% → 73%", "0.83 → 0.06", "WITH PLAN",
            "h2 cpu: band without the plan", "no host is above its",
        ):  # fmt: skip
            assert text in console.text(), text
        assert "plans ▸ #12" in console.lines()[0]
        await console.press("enter")
        assert console.app.place.SCOPE == "shard"


async def test_actions_are_left_out_with_the_dependencies_shown(daemon: Daemon, socket: Path) -> None:
    daemon.fleet.plans = (view_of(make_plan(13, actions=3)),)
    async with console_on(socket) as console:
        await console.press("4", "enter", "j", "space")
        assert "1 of 3 actions are left out" in console.text()
        assert "action 3 waits for action 2, which is skipped" in console.text()
        assert any("✗ 3" in line and "broken" in line for line in console.lines())
        await console.press("a")
        await console.sees("approve is disabled: action 3 waits for action 2")
        await console.press("j", "space")
        assert "the rest holds together" in console.text()
        await console.press("a")
        assert "2. left out: migrate shop-05" in console.text() and "1 action, 12M in all" in console.text()
        await console.press(*"calm", "enter")
        await console.until(lambda: bool(daemon.approved))
        assert daemon.approved[0].skip == (2, 3) and daemon.approved[0].reason == "calm"


async def test_how_much_is_confirmed_by_number_is_a_setting(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, settings=Settings(free_shards=0)) as console:
        await console.press("4", "enter", "a", "enter")
        assert "not approved: type 12" in console.text() and "1 shards on 2 hosts" in console.text()
        await console.press("1", "2", "enter")
        await console.until(lambda: bool(daemon.approved))


async def test_a_plan_that_runs_shows_bars_and_is_paused_and_cancelled_with_its_effects_first(
    daemon: Daemon, socket: Path
) -> None:
    daemon.fleet.plans = (running(make_plan(11, actions=2), 5),)
    async with console_on(socket, (120, 50)) as console:
        await console.press("4", "enter")
        assert "0 of 2 actions" in console.text() and " left" in console.text()
        assert any("▶ 1" in line and "█" in line and " 42%" in line for line in console.lines())
        assert "▶ restore" in console.text()
        await console.press("p")
        await console.until(lambda: any(isinstance(asked, PausePlan) for asked in daemon.steered))
        await console.press("c")
        await console.sees("cancel: this is what happens")
        assert "does not begin" in console.text() and "shop-05" in console.text()
        assert [asked.dry for asked in daemon.steered if isinstance(asked, CancelPlan)] == [True]
        await console.press(*"no", "enter")
        await console.until(lambda: isinstance(daemon.steered[-1], CancelPlan) and not daemon.steered[-1].dry)
        assert daemon.steered[-1].reason == "no"
        await console.press("u")
        await console.sees("undo is disabled: plan #11 is RUNNING")


async def test_paused_plans_go_on_and_done_ones_are_undone(daemon: Daemon, socket: Path) -> None:
    paused = view_of(make_plan(11), PlanState.PAUSED)
    daemon.fleet.plans = (paused, succeeded(make_plan(10)))
    async with console_on(socket) as console:
        await console.press("4", "r", "enter")
        await console.until(lambda: bool(daemon.steered))
        assert daemon.steered == [ResumePlan(paused.digest, "")]
        await console.press("j", "enter")
        assert "predicted and measured peaks" in console.text()
        await console.press("u")
        await console.until(lambda: isinstance(daemon.steered[-1], UndoPlan))
        await console.sees("the way back of plan #10 is proposed")


async def test_nothing_acts_in_a_read_only_console(daemon: Daemon, socket: Path) -> None:
    async with console_on(socket, read_only=True) as console:
        console.app.NOTIFICATION_TIMEOUT = 600.0  # a busy machine may look at it late
        await console.press("4", "enter")
        for key in "axpcuH":
            told = len(console.app._notifications)
            await console.press(key)
            assert len(console.app._notifications) > told, key
        assert all("disabled: this console is read-only" in note.message for note in console.app._notifications)
        assert "READ-ONLY" in console.lines()[0] and not daemon.steered


@given(st.integers(1, 6), st.sets(st.integers(1, 6)))
def test_a_plan_holds_together_without_what_waits_for_nothing(actions: int, skip: set[int]) -> None:
    plan = make_plan(1, actions=actions)  # each action waits for the one before
    skip &= set(range(1, actions + 1))
    kept = [n for n in range(1, actions + 1) if n not in skip]
    good = not skip or (bool(kept) and kept == list(range(1, len(kept) + 1)))
    assert (not left_over(plan, skip)) is good
    touched = reach(plan, skip)
    assert touched.shards == len(kept) and touched.bytes == 12_400_000 * len(kept)
    assert wants_number(plan, skip, free_shards=3, free_hosts=6) is (len(kept) > 3)


def test_progress_and_time_left_follow_the_steps() -> None:
    plan = make_plan(11, actions=2)
    shares = [share(plan.actions[0], running(plan, k).status.actions[0]) for k in range(13)]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    left = [seconds_left(running(plan, k)) for k in range(13)]
    assert left == sorted(left, reverse=True) and left[-1] > 0, "the other action has not begun"
    done = ActionStatus(id=1, state=ActionState.DONE)
    assert share(plan.actions[0], done) == 1.0 and share(plan.actions[0], None) == 0.0
    assert START > 0


def test_how_long_a_step_runs_is_told_from_when_it_was_first_seen() -> None:
    """A status does not say when its steps began, nor how many bytes went: the clock and the plan's estimate do."""
    plan, watch = make_plan(11), Watch()
    item = running(plan, 5)
    assert item.status.actions[0].steps[5].name == StepName.RESTORE
    moving = running(plan, 4)
    assert str(watch.look(moving, START)[1]) == "0ms of about 1s"
    later = watch.look(moving, START + 0.7)[1]
    assert 0.4 < later.part < 0.6 and watch.look(moving, START + 99)[1].part < 1.0
    assert share(plan.actions[0], moving.status.actions[0], later) > share(plan.actions[0], moving.status.actions[0])
    next_step = watch.look(item, START + 100)[1]
    assert (next_step.step, next_step.ran, next_step.part) == (StepName.RESTORE, 0.0, 0.0)
