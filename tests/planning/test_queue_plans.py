"""Shards that wait are placed where there is room, by benefit; less important ones give way if that is worth it."""

from __future__ import annotations

from itertools import combinations, permutations

import msgspec
import numpy as np
import pytest
from asked import answer, codes, plan, refusal
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import Action, NoPlan, Plan
from sidestep.fleet.queue import AGEING, Look, Waiting, benefit
from sidestep.planning import basis_now

KINDS = ("migrate", "preempt", "place")
POLICY = Policy(kinds=KINDS, preempt_most=2, max_moves=20)
relaxed = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def waits(name: str, cpu: float, *, memory: float = 0.1 * GIB, priority: int = 3, **more: object) -> ShardIn:
    """A shard that is nowhere and declares what it needs."""
    return ShardIn(
        name, "", priority=priority, limit_cpu=cpu, limit_memory=int(memory), **{"app": name, **more}  # type: ignore[arg-type]
    )  # fmt: skip


def queue_of(small: Small, waited: float = 0.0, **more: object) -> tuple[Waiting, ...]:
    """Everybody who is nowhere, since so long."""
    return tuple(
        Waiting(shard=Label(s.name), since=NOW + 1 - waited, **more)  # type: ignore[arg-type]
        for s in small.shards
        if not s.host
    )


def done(made: Plan, kind: str) -> list[tuple[str, str, str]]:
    return [(a.shard, a.source, a.destination) for a in made.actions if a.kind == kind]


def looks(small: Small, **more: object) -> dict[str, Look]:
    found: list[Look] = []
    answer(small, looked=found.extend, **{"queue": queue_of(small), **more})
    return {str(look.shard): look for look in found}


# -- placing


def test_a_shard_that_waits_goes_to_the_host_with_most_headroom() -> None:
    """S1.13, S5.17, S5.20."""
    small = Small([HostIn("h1", own_cpu=2.0), HostIn("h2")], [waits("new", 1.0)], POLICY)
    made = plan(small, queue=queue_of(small))
    assert done(made, "place") == [("new", "", "h2")]
    (action,) = made.actions
    assert action.reason.code == "PLACES" and action.token == 0 and not action.after
    assert [a.destination for a in action.alternatives] == ["h1"] and action.alternatives[0].reason.code == "HOTTER"
    assert "places new on h2" in made.summary and made.proof is None
    assert made.outlook[0].host == "h2" and made.outlook[0].peak_after > made.outlook[0].peak_before
    assert msgspec.json.decode(made.canonical(), type=Plan).digest() == made.digest()


def test_nothing_is_placed_unless_the_policy_says_so() -> None:
    small = Small([HostIn("h1")], [waits("new", 1.0)], Policy())
    assert codes(refusal(small, queue=queue_of(small))) == ["NO_CONTENTION", "QUEUE"]
    assert looks(small)["new"].reasons[0].reason.code == "KIND"


def test_without_a_queue_nothing_is_different() -> None:
    small = Small([HostIn("h1"), HostIn("h2")], [ShardIn("a", "h1", (1.0, 2.9)), ShardIn("b", "h1", 0.5)], POLICY)
    assert plan(small).actions == plan(small, queue=()).actions
    assert {a.kind for a in plan(small).actions} == {"migrate"}


def test_who_has_no_host_waits_with_a_reason_for_every_host() -> None:
    """S5.18: reasons per host, coded."""
    small = Small(
        [HostIn("h1", own_cpu=3.0), HostIn("h2", cordoned=True), HostIn("h3", state=HostState.SUSPECT)],
        [waits("new", 1.0)], POLICY,
    )  # fmt: skip
    found = {str(one.host): one.reason for one in looks(small)["new"].reasons}
    assert {host: reason.code for host, reason in found.items()} == {
        "": "NO_VICTIM", "h1": "NO_ROOM", "h2": "CORDONED", "h3": "NOT_READY"
    }  # fmt: skip
    assert "0.80 cores more cpu on h1" in found["h1"].text


@pytest.mark.parametrize("lacks", ["cpu", "memory"])
def test_a_demand_that_nobody_knows_is_a_reason_to_wait(lacks: str) -> None:
    new = waits("new", 1.0)
    setattr(new, f"limit_{lacks}", 0)
    small = Small([HostIn("h1")], [new], POLICY)
    reason = looks(small)["new"].reasons[0].reason
    assert reason.code == "UNKNOWN" and f"guarantee_{lacks} or limit_{lacks}" in reason.text
    assert done(plan(small, queue=queue_of(small), expected={"new": (0.5, GIB)}), "place") == [("new", "", "h1")]


def test_a_state_that_cannot_be_had_is_waited_for() -> None:
    small = Small([HostIn("h1"), HostIn("h2", state=HostState.DEAD)], [waits("new", 1.0)], POLICY)
    queue = queue_of(small, waited=99.0, cause="preempted", host=Label("h2"), token=7)
    assert looks(small, queue=queue)["new"].reasons[0].reason.code == "CAPSULE_AWAY"
    small.hosts[1].state = HostState.DRAINED
    assert done(plan(small, queue=queue), "place") == [("new", "", "h1")], "an empty host still has what it keeps"


def test_a_pinned_shard_and_one_that_must_be_near_another_go_where_they_must() -> None:
    small = Small(
        [HostIn("h1", own_cpu=1.0), HostIn("h2")],
        [ShardIn("a", "h1", 0.5), waits("new", 0.5, near=("a",))], POLICY,
    )  # fmt: skip
    assert done(plan(small, queue=queue_of(small)), "place") == [("new", "", "h1")]
    full = Small([HostIn("h1", own_cpu=2.5), HostIn("h2")], small.shards, POLICY)
    assert {one.host: one.reason.code for one in looks(full)["new"].reasons}["h2"] == "NOT_ALLOWED"


def test_who_gains_most_comes_first() -> None:
    """S5.9: the predicted slowdown times the priority."""
    hosts = [HostIn("h1", own_cpu=2.0)]
    small = Small(hosts, [waits("low", 1.0, priority=4), waits("high", 1.0, priority=1)], POLICY)
    assert done(plan(small, queue=queue_of(small)), "place") == [("high", "", "h1")]
    aged = (
        Waiting(shard=Label("low"), since=NOW - 9 * AGEING),
        Waiting(shard=Label("high"), since=NOW),
    )
    assert done(plan(small, queue=aged), "place") == [("low", "", "h1")]


def test_what_waits_long_keeps_a_host_from_smaller_ones_that_come_later() -> None:
    """S5.18: fair: small shards do not fill for ever what a large one waits for."""
    hosts = [HostIn("h1", own_cpu=1.0)]
    small = Small(hosts, [waits("large", 2.5), waits("small", 1.0)], POLICY)
    assert done(plan(small, queue=queue_of(small)), "place") == [("small", "", "h1")]
    aged = (Waiting(shard=Label("large"), since=NOW - 2 * AGEING), Waiting(shard=Label("small"), since=NOW))
    assert looks(small, queue=aged)["small"].reasons[1].reason.code == "RESERVED"


# -- giving way


def crowded(priority: int = 5, **more: object) -> Small:
    return Small(
        [HostIn("h1"), HostIn("h2", own_cpu=3.1)],
        [
            ShardIn("high", "h1", 1.0, priority=1, app="a"),
            ShardIn("low", "h1", 1.5, priority=priority, app="b", **more),  # type: ignore[arg-type]
            waits("new", 1.5, priority=2),
        ],
        POLICY,
    )


def test_a_less_important_shard_gives_way_and_the_place_waits_for_it() -> None:
    """S5.19, S5.10."""
    made = plan(crowded(), queue=queue_of(crowded()))
    assert done(made, "preempt") == [("low", "h1", "")] and done(made, "place") == [("new", "", "h1")]
    first, second = made.actions
    assert second.after == (first.id,) and second.wave > first.wave
    assert first.reason.code == "PREEMPTS" and "new (priority 2)" in first.reason.text
    assert first.limits is not None and first.limits.cpu == pytest.approx(1.5)
    assert "with its state on h1" in first.undo and "waits in the queue then" in second.undo
    assert {fact.shard for fact in made.basis.placements} >= {"low", "new"} and made.basis.waiting == {"new"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"priority": 2}, "NO_VICTIM"),
        ({"pinned": True}, "NO_VICTIM"),
        ({"guarantee_cpu": 0.1}, "NO_VICTIM"),
        ({"keys": (0, 65536)}, "NO_VICTIM"),
    ],
)
def test_only_who_may_gives_way(change: dict[str, object], code: str) -> None:
    """S5.19: strictly lower priority; nothing that is guaranteed, pinned, or that the router sends keys to."""
    small = crowded(**change)  # type: ignore[arg-type]
    assert looks(small)["new"].reasons[0].reason.code == code


def test_nobody_gives_way_while_he_settles_or_if_the_policy_says_no() -> None:
    small = crowded()
    assert looks(small, settling=frozenset({"low"}))["new"].reasons[0].reason.code == "NO_VICTIM"
    small.policy = Policy(kinds=("migrate", "place"))
    assert looks(small)["new"].reasons[0].reason.code == "NO_ROOM"
    small.policy = msgspec.structs.replace(POLICY, preempt_most=0)
    assert looks(small)["new"].reasons[0].reason.code == "NO_ROOM"


def test_nobody_gives_way_for_less_than_he_is_worth() -> None:
    """S5.10, lesson 6: only if the gain is above the cost, by min_gain."""
    small = crowded(priority=3)
    small.shards[2] = waits("new", 0.72, priority=2)  # weighs twice as much, and is less than half of "low"
    assert looks(small)["new"].reasons[0].reason.code == "MIN_GAIN"
    assert done(plan(small, queue=queue_of(small, 2 * AGEING)), "preempt") == [("low", "h1", "")]
    small.policy = msgspec.structs.replace(POLICY, min_gain=3.0)
    assert looks(small, queue=queue_of(small, AGEING / 2))["new"].reasons[0].reason.code == "MIN_GAIN"


def test_who_gave_way_rests_and_comes_back_only_to_room_with_a_margin() -> None:
    """Lesson 5: no flapping."""
    small = Small([HostIn("h1", own_cpu=2.2)], [waits("low", 1.0)], POLICY)
    back = {"cause": "preempted", "token": 9, "host": Label("h1"), "cpu": 1.0, "memory": GIB // 8}
    assert looks(small, queue=queue_of(small, 1.0, **back))["low"].reasons[0].reason.code == "SETTLING"
    ahead = queue_of(small, -3600.0, **back)  # noted by a clock that was an hour fast: nobody waits for it
    assert "SETTLING" not in [r.reason.code for look in looks(small, queue=ahead).values() for r in look.reasons]
    rested = queue_of(small, POLICY.settle + 1, **back)
    assert isinstance(answer(small, queue=rested), NoPlan)  # it would just fit: 3.2 of 3.2
    small.hosts[0].own_cpu = 2.0
    made = plan(small, queue=rested)
    assert [(a.kind, a.reason.code, a.token) for a in made.actions] == [("place", "COMES_BACK", 9)]


def test_contention_that_no_move_removes_is_removed_by_who_matters_less() -> None:
    """S5.19: preemption is the last rung."""
    small = Small(
        [HostIn("h1"), HostIn("h2", own_cpu=3.0)],
        [ShardIn("high", "h1", (1.0, 2.6), priority=1), ShardIn("low", "h1", 1.0, priority=5, app="b")], POLICY,
    )  # fmt: skip
    made = plan(small)
    assert done(made, "preempt") == [("low", "h1", "")]
    (action,) = made.actions
    assert action.evidence is not None and max(action.evidence.upper_after) < 0.8 < max(action.evidence.upper)
    assert action.latest_start > NOW and not made.left
    h1 = next(o for o in made.outlook if (o.host, o.dimension) == ("h1", "cpu"))
    assert h1.probability_after < 0.5 < h1.probability_before
    roomy = Small([HostIn("h1"), HostIn("h2")], small.shards, POLICY)
    assert {a.kind for a in plan(roomy).actions} == {"migrate"}


def test_a_plan_is_stale_once_who_waits_has_been_placed_otherwise() -> None:
    small = Small([HostIn("h1"), HostIn("h2")], [waits("new", 1.0)], POLICY)
    made, placement = plan(small, queue=queue_of(small)), small.placement()
    assert not made.basis.differences(basis_now(made, small.snapshot(), placement))
    other = placement.place(Label("new"), Label("h2"), expected_token=0, token=5)
    (line,) = made.basis.differences(basis_now(made, small.snapshot(), other))
    assert line.startswith("shard new: was in the queue (token 0), now ")


# -- over random fleets


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Small, tuple[Waiting, ...]]:
    count = draw(st.integers(1, 3))
    hosts = [HostIn(f"h{n}", own_cpu=draw(st.sampled_from([0.0, 1.0]))) for n in range(count)]
    shards = [
        ShardIn(
            f"s{n}", f"h{draw(st.integers(0, count - 1))}", draw(st.sampled_from([0.3, 0.6, 1.1, (0.5, 1.4)])),
            priority=draw(st.integers(1, 5)), app=f"a{n}",
            guarantee_cpu=draw(st.sampled_from([0.0, 0.0, 0.0, 0.2])), pinned=draw(st.integers(0, 9)) == 0,
        )
        for n in range(draw(st.integers(1, 7)))
    ]  # fmt: skip
    shards += [
        waits(f"w{n}", draw(st.sampled_from([0.4, 0.9, 1.7])), priority=draw(st.integers(1, 5)))
        for n in range(draw(st.integers(1, 3)))
    ]
    small = Small(hosts, shards, msgspec.structs.replace(POLICY, preempt_most=draw(st.integers(0, 3))), steps=4)
    queue = tuple(
        Waiting(shard=Label(s.name), since=NOW - draw(st.sampled_from([0.0, 400.0, 4000.0])))
        for s in shards if not s.host
    )  # fmt: skip
    return small, queue


def load(small: Small, at: dict[str, set[str]], host: str) -> np.ndarray:
    """(2, T) what is on a host, the long way; everything is certain here."""
    own = next(h.own_cpu for h in small.hosts if h.name == host)
    total = np.zeros((2, small.steps))
    total[0] += own
    for row, shard in enumerate(small.shards):
        if host in at[shard.name]:
            asked = np.array([[shard.limit_cpu], [shard.limit_memory]])
            total += small.curves()[row] if shard.host else asked
    return total


def fits(small: Small, at: dict[str, set[str]], host: str, forgiven: float = 1e-6) -> bool:
    """Demand is in single precision: what fills a host exactly may be found to fit it or not."""
    return bool((load(small, at, host) <= np.array([[3.2], [0.85 * 8 * GIB]]) * (1 + forgiven)).all())


def orders(made: Plan) -> list[list[tuple[str, Action]]]:
    """Every order of beginnings and ends that ``after`` allows, of small plans; the unluckiest one of others."""
    if len(made.actions) <= 3:
        events = [(what, a) for a in made.actions for what in ("begin", "end")]
        return [list(one) for one in permutations(events) if _possible(one)]
    left, order = list(made.actions), []
    while left:
        ended = {a.id for what, a in order if what == "end"}
        now = [a for a in left if set(a.after) <= ended]
        order += [("begin", a) for a in reversed(now)] + [("end", a) for a in now]
        left = [a for a in left if a not in now]
    return [order]


def _possible(order: tuple[tuple[str, Action], ...]) -> bool:
    begun, ended = set(), set()
    for what, action in order:
        if what == "begin":
            if not set(action.after) <= ended:
                return False
            begun.add(action.id)
        elif action.id not in begun:
            return False
        else:
            ended.add(action.id)
    return True


@relaxed
@given(fleets())
def test_in_every_order_that_is_allowed_who_comes_finds_room(case: tuple[Small, tuple[Waiting, ...]]) -> None:
    small, queue = case
    made = answer(small, queue=queue)
    assume(isinstance(made, Plan))
    assert isinstance(made, Plan)
    for order in orders(made):
        at = {s.name: {s.host} - {""} for s in small.shards}
        for what, action in order:
            if what == "begin" and action.destination:
                at[action.shard].add(str(action.destination))
                assert fits(small, at, str(action.destination)), (action.id, order)
            elif what == "end":
                at[action.shard].discard(str(action.source))


@relaxed
@given(fleets())
def test_as_few_as_do_give_way_all_less_important_and_none_guaranteed(
    case: tuple[Small, tuple[Waiting, ...]],
) -> None:
    """S5.19: strictly lower priority, minimal, guarantees hold, within the budget."""
    small, queue = case
    made = answer(small, queue=queue)
    assume(isinstance(made, Plan))
    assert isinstance(made, Plan)
    gone = [a for a in made.actions if a.kind == "preempt"]
    assert len(gone) <= small.policy.preempt_most
    assert not [a for a in gone if small.named(a.shard).guarantee_cpu or small.named(a.shard).pinned]
    places = [a for a in made.actions if a.kind == "place"]
    ids = {a.id: a for a in gone}
    for place in places:
        mine = [ids[other] for other in place.after if other in ids and place.shard in ids[other].reason.text]
        assert all(small.named(a.shard).priority > small.named(place.shard).priority for a in mine)
        at = {s.name: {s.host} - {""} for s in small.shards}
        for action in made.actions:
            if action.kind != "preempt" and (action.kind != "place" or action.id <= place.id):
                at[action.shard] = {str(action.destination)}
        others = [a for a in gone if a not in mine]
        for fewer in (s for size in range(len(mine)) for s in combinations(mine, size)):
            left = {**at, **{str(a.shard): set[str]() for a in (*others, *fewer)}}
            assert not fits(small, left, str(place.destination), -1e-6), "somebody gave way for nothing"
    for action in gone:
        if action.evidence is not None:
            there = [s for s in small.shards if s.host == action.source]
            assert small.named(action.shard).priority > min(s.priority for s in there)


@relaxed
@given(fleets())
def test_everybody_in_the_queue_is_placed_or_told_why_not(case: tuple[Small, tuple[Waiting, ...]]) -> None:
    """S5.18."""
    small, queue = case
    found: list[Look] = []
    made = answer(small, queue=queue, looked=found.extend)
    placed = {str(a.shard) for a in made.actions if a.kind == "place"} if isinstance(made, Plan) else set()
    told = {str(look.shard) for look in found}
    assert not placed & told and placed | told == {str(one.shard) for one in queue}
    assert all(look.reasons[0].reason.code and len(look.reasons) == len(small.hosts) + 1 for look in found)
    assert made == answer(small, queue=queue)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5))
def test_nobody_starves_however_many_more_important_ones_come(low: int, high: int) -> None:
    """S5.9 with ageing: each round one finds room, and a more important one comes."""
    since, now = {"old": 0.0}, 0.0
    for round_ in range(2000):
        now += 60.0
        since[f"new{round_}"] = now
        first = max(since, key=lambda n: (benefit(low if n == "old" else high, now - since[n]), n))
        del since[first]
        if first == "old":
            return
    raise AssertionError("it waits still")
