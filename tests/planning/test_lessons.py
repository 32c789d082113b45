"""Lessons that other systems paid for, as scenarios: each test is one line of the list, through ``propose`` alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from asked import answer, codes, moves, plan, refusal, rising
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.plans import NoPlan, Plan

#: knobs of the policy that planning does not turn: a name, what executing and sharding go by, pressure
#: (which no move of demand cures), and search effort
NOT_OURS = {
    "name", "settle", "observe", "step_deadline", "threshold_psi_cpu", "threshold_psi_memory", "threshold_psi_io",
    "split_cpu", "split_latency", "split_windows", "quantum_cpu", "quantum_memory", "seed", "iterations",
    # of approval and of the automation levels: tests/autopilot/test_approval_rules.py, test_levels_*.py
    "freezes", "quiet", "windows", "zone", "reason_required", "two_person", "semi_bytes", "semi_freeze",
    "semi_lead_least", "semi_lead_most", "semi_priority", "semi_probability",
    # of the executor, of the queue and of plugins: tests/autopilot/test_bandwidth.py, tests/planning/test_queue.py,
    # tests/planning/test_constraint_plugins.py
    "bandwidth", "preempt_most", "constraints",
}  # fmt: skip


def noisy() -> Small:
    small = rising()
    for shard in small.shards:
        shard.sd = 0.5
    return small


def early() -> Small:
    """Over the limit for a few seconds only, and early."""
    small = rising()
    small.shards[0].cpu, small.shards[1].cpu = (1.9, 0.5), (2.0, 1.5)
    return small


def slight() -> Small:
    return Small([HostIn("h1", own_cpu=3.17), HostIn("h2")], [ShardIn("kv-1", "h1", 0.04)])


def crowded() -> Small:
    """Two small shards or a big one, which has less state."""
    return Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3")],
        [
            ShardIn("a", "h1", (0.5, 1.0), state=100e6),
            ShardIn("b", "h1", (0.5, 1.0), state=10e6),
            ShardIn("c", "h1", (0.5, 1.0), state=10e6),
            ShardIn("d", "h1", (1.0, 1.9), state=100e6),
        ],
    )


def three() -> Small:
    """Three shards of one app have to leave, from one zone to another."""
    zone = {"zone": "z1"}
    return Small(
        [HostIn("h1", **zone), *(HostIn(f"h{n}", cpu=2.0, zone="z2") for n in (2, 3, 4))],  # type: ignore[arg-type]
        [ShardIn(f"kv-{n}", "h1", (0.6, 1.4)) for n in range(4)],
    )


def two() -> Small:
    """Two hot hosts, and one for the guests of each."""
    return Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3", cpu=2.5), HostIn("h4", cpu=2.5)],
        [ShardIn(f"{name}-{n}", f"h{n}", (0.5, 1.7)) for n in (1, 2) for name in ("kv", "web")]
        + [ShardIn(f"db-{n}", f"h{n}", 0.5, pinned=True) for n in (1, 2)],
    )


def zoned() -> Small:
    """What h2 and h3 hold has to find room in the zone that is left if theirs is lost."""
    return Small(
        [HostIn("h1", zone="a"), HostIn("h2", zone="b"), HostIn("h3", zone="a", own_cpu=1.0)],
        [ShardIn("kv-1", "h1", (0.5, 1.7), state=10e6), ShardIn("kv-2", "h1", (1.0, 2.0), state=90e6),
         ShardIn("kv-3", "h2", 1.2), ShardIn("kv-4", "h2", 0.2)],
    )  # fmt: skip


def dear() -> Small:
    small = rising(HostIn("h2", cost=9.0), HostIn("h3", own_cpu=1.0, cost=1.0))
    small.hosts[0].cost = 5.0
    return small


def dead() -> Small:
    small = rising()
    small.hosts[2].state = HostState.DEAD
    small.shards.append(ShardIn("kv-3", "h3", 0.1))
    return small


KNOBS: list[tuple[str, object, object, Callable[[], Small]]] = [
    ("quantile", 0.5, 0.99, noisy),
    ("threshold_cpu", 0.8, 0.95, rising),
    ("threshold_memory", 0.85, 0.01, rising),
    ("min_probability", 0.05, 0.99, noisy),
    ("min_duration", 2.0, 50.0, early),
    ("horizon", 60.0, 20.0, rising),
    ("margin", 5.0, 25.0, rising),
    ("max_moves", 8, 1, three),
    ("min_gain", 0.02, 0.005, slight),
    ("common_factor", 0.0, 1.0, noisy),
    ("expire", 300.0, 40.0, rising),
    ("aggressiveness", 1, 5, rising),
    ("prefer", "moves", "bytes", crowded),
    ("goals", ("headroom",), ("cost",), dear),
    ("kinds", ("migrate",), ("migrate", "failover"), dead),
    ("tolerate", "", "zone", zoned),
    ("concurrent", 4, 1, two),
    ("concurrent_per_host", 1, 2, three),
    ("concurrent_per_app", 0, 1, lambda: unlimited(three())),
    ("concurrent_per_zone", 0, 1, lambda: unlimited(three())),
]


def unlimited(small: Small) -> Small:
    small.policy = Policy(concurrent=0, concurrent_per_host=0)
    return small


def seen(small: Small) -> object:
    """All that an operator sees of an answer, but for the policy itself."""
    made = answer(small)
    if isinstance(made, NoPlan):
        return codes(made), made.reasons
    return made.actions, made.outlook, made.summary, made.expires


@pytest.mark.parametrize(("knob", "one", "other", "make"), KNOBS, ids=[row[0] for row in KNOBS])
def test_every_knob_has_an_effect_that_can_be_seen(
    knob: str, one: object, other: object, make: Callable[[], Small]
) -> None:
    """Lesson 4: turning it changes the answer, in the scenario that it is for."""
    answers = []
    for value in (one, other):
        small = make()
        small.policy = msgspec.structs.replace(small.policy, **{knob: value})
        answers.append(seen(small))
    assert answers[0] != answers[1]


def test_no_knob_is_without_such_a_test() -> None:
    """Lesson 4: a new knob of the policy is turned here, or said to be another part's."""
    knobs = {field.name for field in msgspec.structs.fields(Policy)}
    assert knobs == {row[0] for row in KNOBS} | NOT_OURS


def test_the_forecast_has_an_effect_that_can_be_seen() -> None:
    """Lesson 4: what would have been done without it stands beside the plan, and differs where it should."""
    coming, here, gone = rising(), rising(), rising()
    assert plan(coming).without_forecast == "from present load alone: no move"
    for shard, now in zip(here.shards, (1.7, 2.0), strict=True):
        shard.cpu = now
    assert plan(here).without_forecast == "from present load alone: the same moves"
    # above the limit now, but about to calm down: without a forecast a move, with it none
    gone.shards[0].cpu, gone.shards[1].cpu = (1.7, 0.2), (2.0, 0.5)
    gone.policy = Policy(min_duration=20.0)
    assert codes(refusal(gone)) == ["NO_CONTENTION"]


def after(small: Small, made: Plan) -> Small:
    """The fleet when the plan has run."""
    ends = {str(a.shard): str(a.destination) for a in made.actions}
    return replace(small, shards=[replace(s, host=ends.get(s.name, s.host)) for s in small.shards])


def pulsing(seed: int, tick: int) -> list[float]:
    """Demand of eight shards that goes up and down on its own, a different one at the top each time."""
    rng = np.random.default_rng(seed)
    return [0.55 + 0.25 * np.sin(tick * 0.9 + phase) for phase in rng.uniform(0, 6.28, 8)]


@pytest.mark.parametrize("seed", range(6))
def test_shards_do_not_play_ping_pong(seed: int) -> None:
    """Lesson 5: no shard goes back where it came from, however demand swings, and a solved fleet stays still."""
    small = Small(
        [HostIn(f"h{n}", cpu=3.0) for n in range(3)],
        [ShardIn(f"kv-{n}", f"h{n % 3}", float(cpu), app=f"a{n}") for n, cpu in enumerate(pulsing(seed, 0))],
    )
    trips: list[tuple[str, str, str]] = []
    for tick in range(10):
        for shard, cpu in zip(small.shards, pulsing(seed, tick), strict=True):
            shard.cpu = float(cpu)
        made = answer(small)
        if isinstance(made, Plan):
            trips += moves(made)
            small = after(small, made)
            again = answer(small)
            assert isinstance(again, NoPlan) or not set(moves(again)) & {(s, b, a) for s, a, b in moves(made)}
    back = [trip for at, trip in enumerate(trips) if (trip[0], trip[2], trip[1]) in trips[max(0, at - 1) : at]]
    assert not back
    assert len(trips) <= 6


def test_the_effect_of_a_move_that_is_not_visible_yet_is_waited_for() -> None:
    """Lesson 5: the shard has moved, what is measured and forecast is of before: nothing is decided on that."""
    small = rising()
    made = plan(small)
    hosts = frozenset({str(a.source) for a in made.actions} | {str(a.destination) for a in made.actions})
    shards = frozenset(str(a.shard) for a in made.actions)
    assert codes(refusal(small, settling=hosts | shards)) == ["SETTLING"]
    # an action in flight blocks both its ends and itself in the same way
    assert codes(refusal(small, busy=hosts | shards)) == ["BUSY"]


def test_what_is_in_flight_is_counted_where_it_goes() -> None:
    """Lesson 5: the destination of a running move is not given a second shard on the strength of its old numbers."""
    small = rising()
    small.shards += [ShardIn("web-1", "h4", (0.5, 1.7), state=1e6), ShardIn("web-2", "h4", (1.0, 2.0), state=9e6)]
    small.hosts.append(HostIn("h4"))
    assert {to for _, _, to in moves(plan(small))} == {"h2", "h3"}
    made = plan(small, busy=frozenset({"kv-1", "h1", "h2"}))
    assert moves(made) == [("web-1", "h4", "h3")]
    assert "h1 BUSY" in made.summary


@pytest.mark.parametrize("seed", range(8))
def test_nothing_moves_for_one_percent(seed: int) -> None:
    """Lesson 6: whatever is proposed lowers the peak that it is for by the minimum gain at least."""
    rng = np.random.default_rng(seed)
    small = Small(
        [HostIn(f"h{n}", own_cpu=float(own)) for n, own in enumerate(rng.uniform(2.9, 3.3, 3))] + [HostIn("idle")],
        [ShardIn(f"kv-{n}", f"h{n % 3}", float(cpu), app=f"a{n}") for n, cpu in enumerate(rng.uniform(0.005, 0.09, 9))],
        Policy(min_gain=0.02, max_moves=30),
    )
    made = answer(small)
    if isinstance(made, NoPlan):
        assert set(codes(made)) <= {"MIN_GAIN", "NO_CONTENTION", "IMMOVABLE"}
        return
    peaks = {(o.host, o.dimension): (o.peak_before, o.peak_after) for o in made.outlook}
    for action in made.actions:
        before, later = peaks[(action.source, "cpu")]
        assert before - later >= 0.02 - 1e-6


@pytest.mark.parametrize(
    "still",
    [
        {"pinned": True},
        {"movable": False},
        *({"shard_state": state} for state in ShardState if state not in (ShardState.RUNNING, ShardState.DEGRADED)),
    ],
    ids=str,
)
def test_immovable_things_are_never_planned(still: dict[str, object]) -> None:
    """Lesson 7: pinned, moving, starting or broken shards stay where they are, to relieve, to empty or to make room."""
    assert moves(plan(rising(**still))) == [("kv-2", "h1", "h2")]
    small = rising(**still)
    small.hosts[0].state = HostState.DRAINING
    made = answer(small)
    assert isinstance(made, NoPlan) or "kv-1" not in {s for s, _, _ in moves(made)}


def test_one_destination_is_not_filled_beyond_what_it_holds() -> None:
    """Lesson 8: a host is emptied, one other is left: what fits goes, the rest stays and is named."""
    small = Small(
        [HostIn("h1", state=HostState.DRAINING), HostIn("h2", own_cpu=1.0), HostIn("h3", cordoned=True)],
        [ShardIn(f"kv-{n}", "h1", 0.9, app=f"a{n}") for n in range(4)],
    )
    made = plan(small)
    assert [(source, to) for _, source, to in moves(made)] == [("h1", "h2")] * 2
    peaks = {(o.host, o.dimension): o.peak_after for o in made.outlook}
    assert peaks["h2", "cpu"] <= 0.8
    assert "NO_ROOM" in made.summary
    small.hosts[1].own_cpu = 3.0
    assert set(codes(refusal(small))) == {"NO_ROOM"}


def test_what_is_emptied_next_receives_nothing() -> None:
    """Lesson 9: two hosts are being emptied; neither empties itself onto the other, though it has most room."""
    small = Small(
        [HostIn("h1", state=HostState.DRAINING), HostIn("h2", cpu=64.0, state=HostState.DRAINING), HostIn("h3"),
         HostIn("h4", cpu=64.0, cordoned=True)],
        [ShardIn("kv-1", "h1", 0.5), ShardIn("kv-2", "h2", 0.5), ShardIn("kv-3", "h1", 0.5)],
    )  # fmt: skip
    made = plan(small)
    assert sorted(moves(made)) == [("kv-1", "h1", "h3"), ("kv-2", "h2", "h3"), ("kv-3", "h1", "h3")]


def mourning(hosts: int, gone: int) -> Small:
    """So many hosts, so many of them dead, one shard each."""
    states = [HostState.DEAD if n < gone else HostState.READY for n in range(hosts)]
    return Small(
        [HostIn(f"h{n:02}", state=state) for n, state in enumerate(states)],
        [ShardIn(f"kv-{n:02}", f"h{n:02}", 0.1, app=f"a{n}") for n in range(hosts)],
        Policy(kinds=("migrate", "failover"), max_moves=100),
    )


def test_a_poison_shard_stays_where_it_is() -> None:
    """Lesson 11: what crashes its hosts goes to no other, neither to relieve nor to heal."""
    assert moves(plan(rising(shard_state=ShardState.POISONED))) == [("kv-2", "h1", "h2")]
    small = mourning(10, 1)
    small.shards[0].shard_state = ShardState.POISONED
    made = answer(small)
    assert isinstance(made, NoPlan) or "kv-00" not in {a.shard for a in made.actions}


@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_plan_counts_its_own_earlier_moves(count: int) -> None:
    """Lesson 13: many hosts want to move to the one that is best; it is given what it holds, and no more."""
    small = Small(
        [HostIn("best", own_cpu=0.1), *(HostIn(f"h{n}") for n in range(count)), HostIn("second", own_cpu=0.8)],
        [
            part
            for n in range(count)
            for part in (
                ShardIn(f"a-{n}", f"h{n}", (0.5, 1.3), state=1e6, app=f"a{n}"),
                ShardIn(f"b-{n}", f"h{n}", 2.2, state=9e6, app=f"b{n}", pinned=True),
            )
        ],
        Policy(max_moves=20),
    )
    made = plan(small)
    fits = {"best": 2, "second": 1}
    took = [to for _, _, to in moves(made)]
    assert {to: took.count(to) for to in set(took)} == {
        to: min(n, took.count(to)) for to, n in fits.items() if to in took
    }
    assert len(took) == min(count, 3)
    assert count <= 3 or "stays hot" in made.summary


def test_disk_is_part_of_the_fit() -> None:
    """Lesson 14: processors and memory are free, the disk is not: the shard goes where its files fit."""
    small = rising(HostIn("h2", disk=20 * GIB), HostIn("h3", own_cpu=1.0, disk=100 * GIB))
    small.hosts[0].disk = 100 * GIB
    small.shards[0].disk = small.shards[1].disk = 30 * GIB
    assert moves(plan(small)) == [("kv-1", "h1", "h3")]
    small.hosts[2].disk = 20 * GIB
    assert codes(refusal(small)) == ["NO_ROOM"]
    # what is there already takes its part
    small.hosts[1].disk = 50 * GIB
    small.shards.append(ShardIn("kv-3", "h2", 0.1, disk=30 * GIB))
    assert codes(refusal(small)) == ["NO_ROOM"]


def test_everything_is_said_at_the_time_of_planning() -> None:
    """Lessons 5 and 13: the same answer for the same arguments, whatever was asked before."""
    first = plan(rising())
    answer(crowded())
    assert plan(rising()).digest() == first.digest()
    assert first.created == NOW + 1
