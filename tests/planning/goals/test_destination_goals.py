"""Goals choose between hosts that all may receive a shard, in the order in which the policy names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import contentions, problem
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.inventory import FleetSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Plan
from sidestep.fleet.policies import GOALS
from sidestep.planning.build import Built, build
from sidestep.planning.goals import BUILT_IN, About, Goal, Guarded, make
from sidestep.planning.model import Budget, Move, Problem, State
from sidestep.planning.planner import propose
from sidestep.planning.relief import final
from sidestep.planning.relief.goals import best_place

HOT = ShardIn("a", "h1", cpu=(0.5, 2.5), app="web")
REST = ShardIn("b", "h1", cpu=1.5, app="other", pinned=True)


def built(hosts: Sequence[HostIn], *shards: ShardIn) -> Built:
    """A fleet in which ``a`` has to leave h1, which runs hot."""
    small = Small([HostIn("h1", zone="z1", rack="r1"), *hosts], [HOT, REST, *shards])
    return build(small.snapshot(), small.forecast(), small.policy, small.placement(), small.spec())


def about(made: Built) -> About:
    shards = made.rules.snapshot.shards
    return About(
        fleet=made.rules.fleet, hosts=made.rules.host_names, names=shards.names, apps=shards.apps,
        shards=made.rows.shards, domains=made.problem.constraints.domains,
    )  # fmt: skip


def goes_to(made: Built, *goals: str) -> dict[str, str]:
    """Where the plan by these goals sends every shard that it moves."""
    outcome = final(made.problem, made.duties, places=make(goals, about(made)), budget=Budget(iterations=200))
    names, hosts = made.rules.shard_names, made.rules.host_names
    assert not outcome.left
    return {names[s]: hosts[m.destination] for m in outcome.moves for s in made.rows.shards[m.shard]}


def test_the_goals_that_the_fleet_file_knows_are_those_that_there_are() -> None:
    assert tuple(BUILT_IN) == GOALS
    for name, goal in zip(GOALS, make(GOALS, about(built([HostIn("h2")]))), strict=False):
        assert isinstance(goal, Goal)
        assert goal.name == name


@pytest.mark.parametrize("cheap", ["h2", "h3", "h4"])
def test_the_cheapest_of_equal_hosts_is_chosen(cheap: str) -> None:
    """S3.15."""
    hosts = [HostIn(name, cost=1.0 if name == cheap else 2.0) for name in ("h2", "h3", "h4")]
    on_all = [ShardIn(f"s-{name}", name, cpu=0.5) for name in ("h2", "h3", "h4")]
    assert goes_to(built(hosts, *on_all), "cost") == {"a": cheap}


def test_a_cheap_host_without_room_receives_nothing() -> None:
    """S3.15: capacity is a constraint, cost only a goal."""
    made = built([HostIn("h2", cost=0.1, own_cpu=2.0), HostIn("h3", cost=9.0)], ShardIn("c", "h2"), ShardIn("d", "h3"))
    assert goes_to(made, "cost") == {"a": "h3"}


def test_a_host_in_use_is_cheaper_than_opening_an_empty_one() -> None:
    """S3.15."""
    made = built([HostIn("h2", cost=1.0), HostIn("h3", cost=5.0)], ShardIn("c", "h3", cpu=0.2))
    assert goes_to(made, "cost") == {"a": "h3"}
    assert goes_to(made, "headroom") == {"a": "h2"}


def test_a_host_that_a_trial_opened_is_in_use_and_one_that_it_emptied_is_not() -> None:
    made = built([HostIn("h2", cost=1.0), HostIn("h3", cost=2.0)], ShardIn("c", "h3", cpu=0.2))
    (cost, _), rows = make(["cost"], about(made)), np.array([1, 2])
    row = int(made.rows.row_of[2])
    state = State(made.problem)
    assert cost.score(state, 0, rows).tolist() == [3.0, 2.0]
    state.push(Move(row, 2, 1, 2))
    assert cost.score(state, 0, rows).tolist() == [1.0, 4.0]
    state.pop()
    assert cost.score(state, 0, rows).tolist() == [3.0, 2.0]


def _costly(seed: int, noise: float) -> Problem:
    rng = np.random.default_rng(seed)
    made = problem(seed, hosts=6, shards=24, noise=noise, zones=3, hot=2)
    return replace(made, cost=rng.uniform(0, 5, 6).round(1))


def _bare(made: Problem, seed: int) -> About:
    """Names, apps and preferences for a problem of numbers."""
    rng = np.random.default_rng(seed)
    names = [Label(f"s{row}") for row in range(made.shards)]
    apps = [Label(f"app{rng.integers(5)}") for _ in names]
    specs = tuple(
        ShardSpec(name=n, app=a, host=Label("h0"), start="x", prefer_near=(Label(f"app{rng.integers(5)}"),))
        for n, a in zip(names, apps, strict=True)
    )
    fleet = FleetSpec(name=Label("f"), source="-", hosts=(), shards=specs)
    hosts = [f"h{h}" for h in range(made.hosts)]
    shards = [(row,) for row in range(made.shards)]
    return About(fleet=fleet, hosts=hosts, names=names, apps=apps, shards=shards, domains=made.constraints.domains)


ORDERS = st.lists(st.sampled_from(GOALS), max_size=4, unique=True)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), ORDERS, st.sampled_from([0.0, 0.2]))
def test_no_goal_ever_makes_a_host_hold_more_than_it_may(seed: int, goals: list[str], noise: float) -> None:
    """S3.15: destinations have room once the moves before are done, and no rule is broken, whatever is preferred."""
    made = _costly(seed, noise)
    places = make(goals, _bare(made, seed))
    outcome = final(made, contentions(made), places=places, budget=Budget(iterations=200))
    broken = len(made.constraints.broken(made.host))
    state = State(made)
    for move in outcome.moves:
        assert state.open(move.shard)[move.destination]
        assert state.spare(move.shard, np.array([move.destination]), during=False)[0] >= -1e-9
        state.push(move)
        assert len(made.constraints.broken(state.at)) <= broken


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), ORDERS, st.sampled_from(GOALS))
def test_a_later_goal_never_costs_an_earlier_one_anything(seed: int, goals: list[str], last: str) -> None:
    """Composition is a strict order: what is appended only tells equally good hosts apart."""
    made = _costly(seed, 0.0)
    known, state, rows = _bare(made, seed), State(made), np.arange(made.hosts)
    shard = seed % made.shards
    before, after = [BUILT_IN[name](known) for name in goals], make([*goals, last], known)
    chosen = best_place(after, state, shard, rows)
    best = rows
    for goal in before:
        scores = goal.score(state, shard, best)
        ranks = np.round(scores / goal.grain) if goal.grain else scores
        best = best[ranks == ranks.min()]
    assert chosen in best
    assert best_place(make([*goals, *goals], known), state, shard, rows) in best
    assert make([*goals, *goals], known)[-1].name == "headroom"


def test_room_that_is_nearly_the_same_leaves_the_choice_to_the_next_goal() -> None:
    hosts = [HostIn("h2", own_cpu=0.10, cost=2.0), HostIn("h3", own_cpu=0.12, cost=1.0)]
    held = [ShardIn("c", "h2", cpu=0.1), ShardIn("d", "h3", cpu=0.1)]
    assert goes_to(built(hosts, *held), "headroom", "cost") == {"a": "h3"}
    assert goes_to(built(hosts, *held), "headroom") == {"a": "h2"}
    full = [replace(hosts[0]), replace(hosts[1], own_cpu=0.5)]
    assert goes_to(built(full, *held), "headroom", "cost") == {"a": "h2"}
    assert goes_to(built(full, *held), "cost", "headroom") == {"a": "h3"}


def test_hosts_that_cost_the_same_are_told_apart_by_room() -> None:
    hosts = [HostIn("h2", own_cpu=0.4, cost=1.0), HostIn("h3", cost=1.0)]
    held = [ShardIn("c", "h2", cpu=0.1), ShardIn("d", "h3", cpu=0.1)]
    assert goes_to(built(hosts, *held), "cost") == {"a": "h3"}


PLACES = [
    HostIn("h2", zone="z1", rack="r1"), HostIn("h3", zone="z1", rack="r2"),
    HostIn("h4", zone="z2", rack="r3"), HostIn("h5", zone="z2", rack="r3"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("partner", "full", "chosen"),
    [
        ("h2", (), "h2"),
        ("h4", (), "h4"),
        ("h5", (), "h5"),
        ("h4", ("h4",), "h5"),
        ("h2", ("h2",), "h3"),
    ],
)
@pytest.mark.parametrize("asks", ["a", "partner"])
def test_a_shard_goes_as_near_as_it_can_to_those_it_prefers(
    partner: str, full: tuple[str, ...], chosen: str, asks: str
) -> None:
    """S3.16: preferred affinity, by host, else by rack, else by zone; whoever of the two declares it."""
    hosts = [replace(h, own_cpu=2.5 if h.name in full else 0.0) for h in PLACES]
    other = ShardIn("partner", partner, cpu=0.1, app="db", prefer_near=("web",) if asks == "partner" else ())
    small = Small(
        [HostIn("h1", zone="z1", rack="r1"), *hosts],
        [replace(HOT, prefer_near=("db",) if asks == "a" else ()), REST, other],
    )
    made = build(small.snapshot(), small.forecast(), small.policy, small.placement(), small.spec())
    assert goes_to(made, "affinity") == {"a": chosen}


def test_shards_that_must_be_near_each_other_move_together() -> None:
    """S3.16: required affinity; no goal tears a bundle apart."""
    pair = ShardIn("c", "h1", cpu=0.3, app="cache", near=("web",))
    for goals in ([], *([name] for name in GOALS)):
        made = built(PLACES, pair)
        moved = goes_to(made, *goals)
        assert moved["a"] == moved["c"]


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        # one more of the app in every zone but the second
        (("h2", "h3"), {"h4", "h5"}),
        # the second zone holds one: another rack of the first is better than that rack
        (("h4", "h5", "h2"), {"h3"}),
        # both racks of the first zone and one host of the second hold one: the other host there
        (("h2", "h3", "h4"), {"h5"}),
    ],
)
def test_shards_of_an_app_go_where_zone_rack_and_host_hold_least_of_it(others: Sequence[str], chosen: set[str]) -> None:
    """S3.17: anti-affinity as a goal, over hosts, racks and zones."""
    held = [ShardIn(f"w-{host}", host, cpu=0.1, app="web") for host in others]
    assert set(goes_to(built(PLACES, *held), "spread").values()) <= chosen


@pytest.mark.parametrize(
    ("domain", "allowed"), [("host", {"h3", "h4", "h5"}), ("rack", {"h3", "h4", "h5"}), ("zone", {"h4", "h5"})]
)
@pytest.mark.parametrize("goal", [*GOALS])
def test_a_rule_of_spread_holds_whatever_the_goal_prefers(domain: str, allowed: set[str], goal: str) -> None:
    """S3.17: anti-affinity as a constraint, over hosts, racks and zones."""
    near = ShardIn("w", "h2", cpu=0.1, app="web", prefer_near=("web",), spread=domain)
    hosts = [replace(h, cost=9.0, own_cpu=0.5) if h.name != "h2" else h for h in PLACES]
    small = Small([HostIn("h1", zone="z3", rack="r9"), *hosts], [replace(HOT, spread=domain), REST, near])
    made = build(small.snapshot(), small.forecast(), small.policy, small.placement(), small.spec())
    assert set(goes_to(made, goal).values()) <= allowed


def test_a_goal_of_a_plugin_chooses_like_ours() -> None:
    class Last:
        name = "last"
        grain = 0.0

        def __init__(self, known: About) -> None:
            self.hosts = known.hosts

        def score(self, state: State, shard: int, rows: np.ndarray) -> list[float]:
            return [-float(self.hosts[row][1:]) for row in rows]

    made = built(PLACES)
    places = make(["last"], about(made), {"last": Last})
    assert best_place(places, State(made.problem), 0, np.array([1, 2, 4, 3])) == 4


@pytest.mark.parametrize("fault", ["make", "grain", "score", "shape", "text"])
def test_a_goal_that_fails_is_named_and_has_no_say(fault: str) -> None:
    class Bad:
        name = "bad"
        grain = -1.0 if fault == "grain" else 0.0

        def __init__(self, known: About) -> None:
            if fault == "make":
                raise ValueError("no \x1b]52 luck")

        def score(self, state: State, shard: int, rows: np.ndarray) -> object:
            if fault == "score":
                raise KeyError("lost")
            return "much" if fault == "text" else np.zeros(1)

    made = built([HostIn("h2", cost=2.0), HostIn("h3", cost=1.0)], ShardIn("c", "h2"), ShardIn("d", "h3"))
    places = make(["bad", "cost"], about(made), {"bad": Bad})
    assert best_place(places, State(made.problem), 0, np.array([1, 2])) == 2
    assert isinstance(places[0], Guarded)
    assert places[0].fault.startswith("goal bad has no say: ") and places[0].fault.isprintable()
    assert places[0].score(State(made.problem), 0, np.array([1, 2])).tolist() == [0.0, 0.0]


def test_a_score_that_is_no_number_is_the_worst_and_rows_cannot_be_changed() -> None:
    class Odd:
        def __init__(self, known: About) -> None:
            pass

        def score(self, state: State, shard: int, rows: np.ndarray) -> np.ndarray:
            rows[:] = 0
            return np.array([np.nan, 7.0])

    made = built(PLACES)
    rows = np.array([1, 2])
    goal = make(["odd"], about(made), {"odd": Odd})[0]
    assert goal.score(State(made.problem), 0, rows).tolist() == [np.inf, 7.0]
    assert rows.tolist() == [1, 2]


def test_a_goal_that_nobody_has_is_left_out() -> None:
    made = built(PLACES)
    assert [goal.name for goal in make(["theirs", "cost"], about(made))] == ["cost", "headroom"]


def test_storage_that_is_short_is_never_filled_by_a_goal() -> None:
    """S3.15: capacity includes storage where it is declared."""
    hosts = [HostIn("h2", cost=0.1, disk=1 * GIB), HostIn("h3", cost=5.0, disk=100 * GIB)]
    small = Small(
        [HostIn("h1", disk=100 * GIB), *hosts],
        [replace(HOT, disk=10 * GIB), REST, ShardIn("c", "h2"), ShardIn("d", "h3")],
    )
    made = build(small.snapshot(), small.forecast(), small.policy, small.placement(), small.spec())
    assert goes_to(made, "cost") == {"a": "h3"}


def test_a_plan_follows_a_plugins_goal_and_says_which_had_no_say() -> None:
    class Odd:
        grain = 0.0

        def __init__(self, known: About) -> None:
            self.hosts = known.hosts

        def score(self, state: State, shard: int, rows: np.ndarray) -> list[float]:
            if shard < 0 or not len(rows):
                raise ValueError
            return [0.0 if self.hosts[row] == "h3" else 1.0 for row in rows]

    def planned(*goals: str) -> Plan:
        small = Small([HostIn("h1"), HostIn("h2", cpu=16.0), HostIn("h3")], [HOT, REST])
        policy = Policy(goals=tuple(Label(goal) for goal in goals))
        made = propose(
            small.snapshot(), small.forecast(), policy, small.placement(), fleet=small.spec(), number=1, created=NOW,
            goals={"odd": Odd, "broken": lambda known: 1 / 0},  # type: ignore[dict-item]
        )  # fmt: skip
        assert isinstance(made, Plan)
        return made

    assert [a.destination for a in planned("headroom").actions] == ["h2"]
    followed = planned("odd", "headroom")
    assert [a.destination for a in followed.actions] == ["h3"] and not followed.left
    without = planned("broken", "nobody")
    assert [a.destination for a in without.actions] == ["h2"]
    assert [reason.code for reason in without.left] == ["GOAL_FAILED", "GOAL_FAILED"]
    assert "ZeroDivisionError" in without.left[0].text and "nobody" in without.left[1].text
