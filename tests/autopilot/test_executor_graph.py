"""Which actions may begin: after what they wait for, within the caps, neither too early nor too late."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from move_doubles import NOW, POLICY, an_action

from sidestep.autopilot.executor_graph import OPEN, Choice, Places, choose
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState
from sidestep.fleet.plans import Action, Basis, Plan, Reason

A = ActionState
PLACES = Places({f"s{n}": "web" if n % 2 else "kv" for n in range(1, 9)}, {"h1": "a", "h2": "a", "h3": "b", "h4": "b"})
WIDE = msgspec.structs.replace(POLICY, concurrent=0, concurrent_per_host=0)


def a_plan(*actions: Action, policy: Policy = WIDE) -> Plan:
    return Plan(
        number=1, fleet=Label("f"), created=NOW, expires=NOW + 300.0, author=Label("planner"), snapshot=7,
        forecast="fc-7", policy=policy, basis=Basis((), ()), actions=actions,
    )  # fmt: skip


def look(plan: Plan, states: dict[int, ActionState] | None = None, *, limit: int = 0, now: float = NOW) -> Choice:
    known = {action.id: A.PENDING for action in plan.actions} | (states or {})
    return choose(plan, known, places=PLACES, limit=limit, now=now)


def ids(choice: Choice) -> list[int]:
    return [action.id for action in choice.begin]


FOUR = (
    an_action(1, "s1", "h1", "h3"), an_action(2, "s2", "h1", "h4"),
    an_action(3, "s3", "h2", "h3"), an_action(4, "s4", "h2", "h4"),
)  # fmt: skip


def test_independent_actions_begin_side_by_side() -> None:
    """S3.19: nothing waits for what it does not depend on."""
    assert ids(look(a_plan(*FOUR))) == [1, 2, 3, 4]


def test_an_action_waits_until_everything_before_it_is_done() -> None:
    plan = a_plan(*FOUR[:3], an_action(4, "s4", "h2", "h4", after=(1, 3)))
    assert ids(look(plan, {1: A.DONE, 3: A.COMMITTED})) == [2]
    assert ids(look(plan, {1: A.DONE, 3: A.DONE})) == [2, 4]


def test_a_shard_is_moved_on_only_when_its_earlier_move_has_ended() -> None:
    plan = a_plan(an_action(1), an_action(2, "s1", "h3", "h2"))
    assert ids(look(plan)) == [1]
    assert ids(look(plan, {1: A.RUNNING})) == []
    assert ids(look(plan, {1: A.DONE})) == [2]


def test_the_caps_of_hosts_apps_zones_and_the_fleet_hold() -> None:
    """S3.20 S5.9: both ends of a move count, a zone once."""

    def of(**caps: int) -> list[int]:
        return ids(look(a_plan(*FOUR, policy=msgspec.structs.replace(WIDE, **caps)), limit=caps.get("concurrent", 0)))

    assert of(concurrent_per_host=1) == [1, 4]
    assert of(concurrent_per_app=1) == [1, 2]
    assert of(concurrent_per_zone=3) == [1, 2, 3]
    assert of(concurrent=2) == [1, 2]
    assert of() == [1, 2, 3, 4]


def test_what_runs_counts_and_what_has_ended_does_not() -> None:
    plan = a_plan(*FOUR, policy=msgspec.structs.replace(WIDE, concurrent_per_host=1))
    assert ids(look(plan, {1: A.ABORTING})) == [4]
    assert ids(look(plan, {1: A.DONE, 4: A.SKIPPED})) == [2, 3]


def test_an_action_behind_one_that_failed_is_cancelled_and_so_is_what_follows_it() -> None:
    plan = a_plan(an_action(1), an_action(2, "s2", after=(1,)), an_action(3, "s3", "h2", "h1", after=(2,)))
    choice = look(plan, {1: A.ABORTED})
    assert [(a.id, why) for a, why in choice.cancel] == [
        (2, "it may only follow action 1, which is ABORTED"),
        (3, "it may only follow action 2, which is CANCELLED"),
    ]
    assert look(plan, {1: A.SKIPPED}).cancel[0][1] == "it may only follow action 1, which is SKIPPED"


def test_an_action_that_would_begin_too_late_is_cancelled_with_its_dependents() -> None:
    """S3.8 S3.19: a move that ends after the contention has begun only adds to it."""
    plan = a_plan(an_action(1, latest_start=NOW + 10), an_action(2, "s2", after=(1,)), an_action(3, "s3", "h2", "h1"))
    assert look(plan, now=NOW + 10).cancel == ()
    assert look(plan, now=NOW + 4).wake == NOW + 10
    late = look(plan, now=NOW + 25)
    assert [(a.id, why[:44]) for a, why in late.cancel] == [
        (1, "too late: to end in time it had to begin 15 "), (2, "it may only follow action 1, which is CANCEL"),
    ]  # fmt: skip
    assert ids(late) == [3]


def test_what_was_late_when_it_was_approved_or_asked_for_by_name_still_runs() -> None:
    late = an_action(1, latest_start=NOW - 5)
    asked = msgspec.structs.replace(an_action(1, latest_start=NOW + 5), reason=Reason("OPERATOR", Label("asked")))
    never = an_action(1, latest_start=math.inf)
    for action in (late, asked, never, an_action(1)):
        assert ids(look(a_plan(action), now=NOW + 60)) == [1]


def test_an_action_waits_for_the_time_at_which_there_is_room() -> None:
    plan = a_plan(an_action(1, earliest=NOW + 20), an_action(2, "s2", earliest=NOW + 8))
    early = look(plan)
    assert (ids(early), early.wake) == ([], NOW + 8)
    assert ids(look(plan, now=NOW + 8)) == [2]
    assert ids(look(plan, now=NOW + 20)) == [1, 2]


HOSTS = st.sampled_from(("h1", "h2", "h3", "h4"))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    actions = [
        an_action(
            id,
            f"s{draw(st.integers(1, 5))}",
            draw(HOSTS),
            draw(HOSTS),
            after=tuple(sorted(draw(st.sets(st.integers(1, id - 1), max_size=2)))) if id > 1 else (),
        )
        for id in range(1, draw(st.integers(2, 9)))
    ]
    caps = {f"concurrent_per_{what}": draw(st.integers(0, 2)) for what in ("host", "app", "zone")}
    return a_plan(*actions, policy=msgspec.structs.replace(WIDE, **caps))


@settings(deadline=None)
@given(plans(), st.integers(0, 3), st.randoms(use_true_random=False))
def test_any_plan_ends_within_its_caps_and_in_its_order(plan: Plan, limit: int, random: Random) -> None:
    """Whatever ends when and how: no cap is exceeded, nothing overtakes what it waits for, nothing is forgotten."""
    states = {action.id: A.PENDING for action in plan.actions}
    caps = {kind: getattr(plan.policy, f"concurrent_per_{kind}") for kind in ("host", "app", "zone")}
    while any(state in OPEN | {A.RUNNING} for state in states.values()):
        choice = choose(plan, states, places=PLACES, limit=limit, now=NOW)
        for action, _ in choice.cancel:
            assert states[action.id] in OPEN
            states[action.id] = A.CANCELLED
        for action in choice.begin:
            assert states[action.id] in OPEN
            assert all(states[other] is A.DONE for other in action.after)
            states[action.id] = A.RUNNING
        running = [action for action in plan.actions if states[action.id] is A.RUNNING]
        used = Counter(slot for action in running for slot in PLACES.slots(action))
        assert all(not caps[kind] or count <= caps[kind] for (kind, _), count in used.items() if count > 1)
        assert not limit or len(running) <= limit
        assert len({action.shard for action in running}) == len(running)
        assert running or not any(state in OPEN for state in states.values()), "nothing goes on"
        if running:
            states[random.choice(running).id] = random.choice((A.DONE, A.DONE, A.ABORTED))
