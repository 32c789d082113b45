"""Constraints of plugins: kept by whatever plans, repaired first, never worsened; nothing is planned without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.fleet.queue import Waiting
from sidestep.planning import plan_move, propose
from sidestep.planning.build import build
from sidestep.planning.constraints import MOST_GROUPS, Constraint, ConstraintFault, judge, refusal
from sidestep.planning.goals import About
from sidestep.planning.queries.drain import preflight
from sidestep.planning.queries.host_for import best_host
from sidestep.planning.queries.verdict import Ground
from sidestep.planning.queries.whatif import World
from sidestep.planning.resharding import plan_reshard

HOT = ShardIn("a", "h1", cpu=(0.5, 2.5), app="web")
REST = ShardIn("b", "h1", cpu=1.5, app="other", pinned=True)


class Resident:
    """Apps called eu-… stay in zones called eu-…; what names no zone is no place for them."""

    def __init__(self, about: About) -> None:
        self._about = about

    def forbidden(self) -> tuple[np.ndarray, np.ndarray]:
        european = np.char.startswith(self._about.shard_apps, "eu-")
        outside = ~np.char.startswith(self._about.zones, "eu-")
        return np.where(european, 0, -1), outside[None, :]


class Licensed:
    """Shards of the app ``other`` and of ``web`` run on hosts with the label licence = yes only, a group each."""

    def __init__(self, about: About) -> None:
        self.apps, self.held = about.shard_apps, about.labels("licence") == "yes"

    def forbidden(self) -> tuple[np.ndarray, np.ndarray]:
        group = np.select([self.apps == "other", self.apps == "web"], [0, 1], -1)
        return group, np.stack([~self.held, ~self.held])


MAKERS: dict[str, Callable[[About], Any]] = {"resident": Resident, "licensed": Licensed}


def under(small: Small, *names: str, **knobs: Any) -> Small:
    small.policy = msgspec.structs.replace(small.policy, constraints=tuple(map(Label, names)), **knobs)
    return small


def planned(small: Small, makers: Mapping[str, Callable[[About], Any]] = MAKERS, **given: Any) -> Plan | NoPlan:
    return propose(
        small.snapshot(), small.forecast(), small.policy, small.placement(), fleet=small.spec(), number=1, created=NOW,
        constraints=makers, **given,
    )  # fmt: skip


def goes_to(small: Small, **given: Any) -> dict[str, str]:
    plan = planned(small, **given)
    assert isinstance(plan, Plan), plan
    return {action.shard: action.destination for action in plan.actions}


def europe(*shards: ShardIn) -> Small:
    hosts = [
        HostIn("h1", zone="eu-1"), HostIn("h2", zone="us-1", cpu=16.0), HostIn("h3", zone="eu-2"), HostIn("h4", cpu=8),
    ]  # fmt: skip
    return Small(hosts, [replace(HOT, app="eu-web"), REST, *shards])


def test_a_shard_is_relieved_to_where_the_constraint_lets_it_be() -> None:
    """X3: the roomier hosts are forbidden."""
    assert goes_to(europe()) == {"a": "h2"}
    assert goes_to(under(europe(), "resident")) == {"a": "h3"}


def test_the_plan_names_the_constraint_that_forbade_the_better_host() -> None:
    plan = planned(under(europe(), "resident"))
    assert isinstance(plan, Plan)
    said = {each.destination: each.reason for each in plan.actions[0].alternatives}
    assert said["h2"].code == "FORBIDDEN" and "constraint resident forbids" in said["h2"].text
    assert plan.policy.constraints == ("resident",)


def test_a_broken_constraint_is_repaired_before_contention_and_the_action_says_why() -> None:
    astray = ShardIn("c", "h2", cpu=0.1, app="eu-api")
    small = under(europe(astray), "resident", max_moves=1)
    plan = planned(small)
    assert isinstance(plan, Plan)
    assert [(a.shard, a.reason.code) for a in plan.actions] == [("c", "REPAIRS")]
    assert plan.actions[0].destination in {"h1", "h3"}
    assert "c must not be on h2: constraint resident forbids" in plan.actions[0].reason.text
    assert {reason.code for reason in plan.left} == {"CHURN"}


def test_a_broken_constraint_that_cannot_be_repaired_is_told_and_not_worsened() -> None:
    """From one forbidden host a shard does not go to another, however hot it is there."""
    small = Small([HostIn("h1"), HostIn("h2", cpu=16.0)], [replace(HOT, app="eu-web"), REST])
    answer = planned(under(small, "resident"))
    assert isinstance(answer, NoPlan)
    texts = " ".join(reason.text for reason in answer.reasons)
    assert "constraint resident forbids a on h1" in texts and "resident forbids all of them" in texts
    assert not isinstance(planned(under(small)), NoPlan)


def test_a_drained_host_and_a_dead_one_empty_within_the_constraint() -> None:
    for state in (HostState.DRAINING, HostState.DEAD):
        small = europe(ShardIn("c", "h1", cpu=0.2, app="eu-api"))
        small.shards = [replace(shard, cpu=0.2, pinned=False) for shard in small.shards]
        small.hosts[0].state = state
        under(small, "resident", kinds=("migrate", "failover"))
        found = goes_to(small)
        assert found["a"] == found["c"] == "h3" and found["b"] in {"h2", "h4"}


def test_a_shard_of_the_queue_is_placed_where_the_constraint_lets_it_be() -> None:
    small = europe(ShardIn("new", "", cpu=0.2, app="eu-api", guarantee_cpu=0.2, guarantee_memory=GIB // 8))
    small.shards[0] = replace(small.shards[0], cpu=0.2)
    under(small, "resident", kinds=("migrate", "place"))
    queue = (queued("new"),)
    plan = planned(small, queue=queue)
    assert isinstance(plan, Plan)
    assert {a.shard: a.destination for a in plan.actions}["new"] in {"h1", "h3"}


def queued(name: str) -> Waiting:
    return Waiting(shard=Label(name), since=NOW - 60.0)


def test_every_constraint_holds_and_labels_of_the_file_besides() -> None:
    """Two constraints and a required label: what is left is the one host that all of them let it be on."""
    disk = ((Label("disk"), Label("ssd")),)
    yes = ((Label("licence"), Label("yes")),)
    hosts = [
        HostIn("h1", zone="eu-1", labels=(*disk, *yes)), HostIn("h2", cpu=16.0, labels=(*disk, *yes)),
        HostIn("h3", zone="eu-2", labels=disk), HostIn("h4", zone="eu-2", labels=yes),
        HostIn("h5", zone="eu-3", own_cpu=0.5, labels=(*disk, *yes)),
    ]  # fmt: skip
    hot = replace(HOT, app="web", requires=(("disk", "ssd"),))
    kin = ShardIn("c", "h1", cpu=0.1, app="eu-api", near=("a",))
    small = under(Small(hosts, [hot, REST, kin]), "licensed", "resident")
    assert goes_to(small) == {"a": "h5", "c": "h5"}


def test_an_operators_own_move_is_refused_by_name() -> None:
    small = under(europe(), "resident")
    given: dict[str, Any] = {
        "fleet": small.spec(), "shard": "a", "number": 1, "created": NOW, "author": Label("ops"), "reason": "",
        "constraints": MAKERS,
    }  # fmt: skip
    world = (small.snapshot(), small.forecast(), small.policy, small.placement())
    with pytest.raises(SidestepError, match=r"may not be on h2: FORBIDDEN: .*constraint resident forbids"):
        plan_move(*world, destination="h2", **given)
    assert plan_move(*world, destination="h3", **given).actions[0].destination == "h3"
    with pytest.raises(ConstraintFault, match="resident"):
        plan_move(*world, destination="h3", **given | {"constraints": None})


def world(small: Small) -> World:
    return World(
        snapshot=small.snapshot(), forecast=small.forecast(), fleet=small.spec(), placement=small.placement(),
        policy=small.policy, constraints=MAKERS,
    )  # fmt: skip


def test_questions_are_answered_under_the_constraint() -> None:
    small = under(europe(), "resident")
    ground = Ground.of(world(small))
    assert [each.reason.code for each in ground.obstacles(0, 1)] == ["FORBIDDEN"]
    offered = best_host(world(small), cpu=0.1, memory=GIB, app="eu-web")
    assert [offer.host for offer in offered.offers] == ["h3"]
    small.shards[0] = replace(small.shards[0], cpu=0.2)
    small.hosts[2].cordoned = True
    answer = preflight(
        world(small), 0, planner=lambda *a, **k: propose(*a, constraints=MAKERS, **k), number=1, created=NOW
    )
    assert not answer.possible


class Wrong:
    """Answers whatever it was told to."""

    def __init__(self, answer: Callable[[int, int], Any]) -> None:
        self._answer = answer

    def __call__(self, about: About) -> Any:
        made = self._answer(len(about.names), len(about.hosts))

        class Said:
            def forbidden(self) -> Any:
                return made

        return Said()


def none_of(shards: int, groups: int, hosts: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(shards, -1), np.zeros((groups, hosts), dtype=np.bool_)


NONSENSE: dict[str, Callable[[int, int], Any]] = {
    "nothing": lambda n, h: None,
    "one part": lambda n, h: none_of(n, 1, h)[:1],
    "fractions": lambda n, h: (np.zeros(n), none_of(n, 1, h)[1]),
    "too few shards": lambda n, h: none_of(n - 1, 1, h),
    "too many hosts": lambda n, h: none_of(n, 1, h + 1),
    "no masks": lambda n, h: (np.full(n, -1), np.zeros(h, dtype=np.bool_)),
    "numbers for truth": lambda n, h: (np.full(n, -1), np.zeros((1, h))),
    "a group that is not there": lambda n, h: (np.full(n, 1), none_of(n, 1, h)[1]),
    "a group below none": lambda n, h: (np.full(n, -2), none_of(n, 1, h)[1]),
    "too many groups": lambda n, h: none_of(n, MOST_GROUPS + 1, h),
    "texts": lambda n, h: (["a"] * n, none_of(n, 1, h)[1]),
}


@pytest.mark.parametrize("fault", [*NONSENSE, "make", "ask", "missing"])
def test_a_constraint_that_fails_leaves_no_plan_and_is_named(fault: str) -> None:
    """Safety: no plan rather than one that the constraint would have refused."""

    def bad(about: About) -> Constraint:
        if fault == "make":
            raise ValueError("no \x1b]52 luck")
        return object()  # type: ignore[return-value]

    maker: Any = Wrong(NONSENSE[fault]) if fault in NONSENSE else bad
    makers = {} if fault == "missing" else {"theirs": maker}
    answer = planned(under(europe(), "theirs"), makers)
    assert isinstance(answer, NoPlan)
    (reason,) = answer.reasons
    assert reason.code == "CONSTRAINT_FAILED"
    assert reason.text.startswith("constraint theirs cannot be judged: ") and reason.text.isprintable()
    assert "take theirs out of the policy" in reason.text


def test_the_remedy_is_told_however_much_a_constraint_says() -> None:
    def talks(about: About) -> Constraint:
        raise ValueError("blah " * 1000)

    answer = planned(under(europe(), "theirs"), {"theirs": talks})
    assert isinstance(answer, NoPlan) and "take theirs out of the policy" in answer.reasons[0].text


def test_a_constraint_that_forbids_nothing_changes_nothing() -> None:
    makers = {"theirs": Wrong(lambda n, h: none_of(n, 0, h)), "ours": Wrong(lambda n, h: none_of(n, 2, h))}
    assert goes_to(under(europe(), "theirs", "ours"), makers=makers) == {"a": "h2"}


def test_a_constraint_that_no_policy_names_is_not_asked() -> None:
    def never(about: About) -> Constraint:
        raise AssertionError

    assert goes_to(europe(), makers={"theirs": never}) == {"a": "h2"}


def test_an_answer_cannot_be_changed_afterwards() -> None:
    kept: list[np.ndarray] = []

    class Sly(Resident):
        def forbidden(self) -> tuple[np.ndarray, np.ndarray]:
            kept.extend(super().forbidden())
            return kept[0], kept[1]

    about = About.declared(europe().spec())
    judged = judge(["sly"], about, {"sly": Sly})
    kept[0][:], kept[1][:] = -1, False
    assert judged.against([0], 1) == ("sly",)


def test_a_declared_fleet_is_judged_without_a_snapshot() -> None:
    spec = under(europe(), "resident").spec()
    assert refusal(spec, MAKERS, "a", "h2") == "constraint resident forbids a on h2"
    assert refusal(spec, MAKERS, "a", "h3") == "" == refusal(spec, MAKERS, "b", "h2")
    with pytest.raises(ConstraintFault):
        refusal(spec, {}, "a", "h3")


def test_a_split_gives_no_keys_to_a_forbidden_host() -> None:
    small = under(europe(), "resident")
    spec = small.spec()
    giver = msgspec.structs.replace(spec.shards[0], keys=(0, 10), drop="drop")
    spare = msgspec.structs.replace(giver, name=Label("a-2"), spare=True, keys=None)
    spec = msgspec.structs.replace(spec, shards=(giver, *spec.shards[1:], spare))

    def split(host: str) -> Plan:
        return plan_reshard(
            "split", small.snapshot(), small.policy, small.placement(), {giver.name: (0, 10)}, fleet=spec, shard="a",
            destination=host, number=1, created=NOW, author=Label("ops"), reason="", constraints=MAKERS,
        )  # fmt: skip

    assert split("h3").actions[0].parts[1].destination == "h3"
    with pytest.raises(SidestepError, match="constraint resident forbids a-2 on h2"):
        split("h2")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_plan_ever_brings_a_shard_to_a_forbidden_host_and_none_more_are_astray(data: st.DataObject) -> None:
    """Whatever is forbidden to whom: every prefix of a plan breaks no more than was broken before."""
    hosts = [HostIn(f"h{at}") for at in range(data.draw(st.integers(2, 5)))]
    shards = []
    for at in range(data.draw(st.integers(1, 8))):
        end = data.draw(st.sampled_from([0.3, 1.0, 2.2]))
        where = f"h{data.draw(st.integers(0, len(hosts) - 1))}"
        near = (f"s{data.draw(st.integers(0, at - 1))}",) if at and data.draw(st.booleans()) else ()
        shards.append(ShardIn(f"s{at}", where, cpu=(0.2, end), app=f"app{at % 3}", near=near))
    groups = data.draw(st.integers(1, 3))
    group = np.array([data.draw(st.integers(-1, groups - 1)) for _ in shards])
    mask = np.array([[data.draw(st.booleans()) for _ in hosts] for _ in range(groups)], dtype=np.bool_)
    small = under(Small(hosts, shards, steps=4), "drawn", iterations=200)
    answer = planned(small, {"drawn": Wrong(lambda n, h: (group, mask))})
    if isinstance(answer, NoPlan):
        return
    names = [shard.name for shard in shards]
    for action in answer.actions:
        own = group[names.index(action.shard)]
        assert own < 0 or not mask[own, int(action.destination[1:])]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_rows_are_narrowed_by_exactly_what_is_forbidden_to_any_shard_of_them(seed: int) -> None:
    """The vectorised masks against the definition, shard by shard and host by host."""
    rng = np.random.default_rng(seed)
    hosts = [HostIn(f"h{at}", labels=((Label("k"), Label("v")),) if rng.integers(2) else ()) for at in range(4)]
    hosts[0].labels = ((Label("k"), Label("v")),)
    shards = [
        ShardIn(
            f"s{at}", f"h{rng.integers(2)}", cpu=0.1, near=("s0",) if at and rng.integers(2) else (),
            requires=(("k", "v"),) if rng.integers(2) else (),
        )
        for at in range(6)
    ]  # fmt: skip
    small = Small(hosts, shards)
    answers = [(rng.integers(-1, 3, 6), rng.integers(0, 2, (3, 4)).astype(np.bool_)) for _ in range(2)]
    makers = {str(at): Wrong(lambda n, h, at=at: answers[at]) for at in range(2)}
    parts = (small.snapshot(), small.forecast(), small.policy, small.placement(), small.spec())
    before = build(*parts).problem.constraints
    policy: Policy = msgspec.structs.replace(small.policy, constraints=(Label("0"), Label("1")))
    made = build(parts[0], parts[1], policy, *parts[3:], constraints=makers)
    after = made.problem.constraints
    for row, own in enumerate(made.rows.shards):
        for host in range(4):
            said = [str(at) for at in range(2) if any(_forbids(answers[at], shard, host) for shard in own)]
            assert list(made.judged.against(own, host)) == said
            assert after.masks[after.mask[row], host] == (before.masks[before.mask[row], host] and not said)


def _forbids(answer: tuple[np.ndarray, np.ndarray], shard: int, host: int) -> bool:
    group, mask = answer
    return bool(group[shard] >= 0 and mask[group[shard], host])
