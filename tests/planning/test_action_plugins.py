"""X5: what plugins offer for shards of a hot host is planned before moves, and only where it helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
import pytest
from asked import answer, plan, refusal
from msgspec.structs import replace
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.actions import ActionSpec, Offer, ShardAction, Standing, Target, applied
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Plan, Reason

CAN = frozenset({"process"})


@dataclass
class Acting(Small):
    """A small fleet that declares actions, some of which may be in force."""

    actions: tuple[ActionSpec, ...] = ()
    standing: tuple[Standing, ...] = field(default=())

    def spec(self) -> FleetSpec:
        return replace(super().spec(), actions=self.actions, standing=self.standing)


def offer(**changes: Any) -> Offer:
    given: dict[str, Any] = {"says": "sleeps", "execute": "touch a", "verify": "test -e a", "revert": "rm -f a"}
    return Offer(**{**given, "loss": 0.5, "cpu": 0.8, **changes})


class Cap:
    """Holds a shard to ``cores``."""

    asked: ClassVar[list[Target]] = []

    def __init__(self, params: Mapping[str, Any]) -> None:
        if "cores" not in params:
            raise UsageError("params say no cores")
        self.params = params

    def offer(self, target: Target) -> Offer | None:
        self.asked.append(target)
        return offer(cpu=self.params["cores"], **{k: v for k, v in self.params.items() if k != "cores"})


MAKERS = {"cap": Cap}


def declared(name: str = "cap", params: str = '{"cores": 0.8}', **changes: Any) -> ActionSpec:
    return ActionSpec(**{"name": Label(name), "plugin": "cap", "apps": (Label("batch"),), "params": params, **changes})


def hot(*actions: ActionSpec, kinds: tuple[Any, ...] = ("migrate", "apply"), **changes: object) -> Acting:
    """h1 grows to 3.8 of 4 cores: a batch shard is on it, and one that matters more."""
    batch: dict[str, Any] = {"name": "batch", "host": "h1", "cpu": (1.0, 2.6), "priority": 5, "app": "batch"}
    return Acting(
        [HostIn("h1", labels=(("tier", "a"),)), HostIn("h2", own_cpu=0.2)],
        [ShardIn("web", "h1", (0.8, 1.2), priority=1), ShardIn(**{**batch, **changes})],
        Policy(kinds=kinds),
        actions=actions or (declared(),),
    )


def test_a_hot_host_is_relieved_by_what_a_plugin_offers_and_nothing_moves() -> None:
    made = plan(hot(), actions=MAKERS)
    (action,) = made.actions
    assert (action.kind, action.shard, action.source, action.destination) == ("apply", "batch", "h1", "h1")
    assert action.applied is not None and action.applied.name == "cap" and action.applied.execute == "touch a"
    assert action.applied.cpu == 0.8 and action.applied.cpu_before > 2.5
    assert action.token == 2 and action.reason.code == "APPLIES" and "applies cap to batch" in made.summary
    (host,) = [o for o in made.outlook if (o.host, o.dimension) == ("h1", "cpu")]
    assert host.peak_before > 0.9 and host.peak_after < 0.6
    assert action.evidence is not None and max(action.evidence.upper_after) < max(action.evidence.upper)
    assert action.latest_start == pytest.approx(action.evidence.starts_at - made.policy.margin - 5.0)
    assert {fact.host for fact in made.basis.hosts} == {"h1"}


def test_a_plugin_is_told_what_the_shard_is_and_needs() -> None:
    Cap.asked.clear()
    plan(hot(), actions=MAKERS)
    (target,) = Cap.asked
    assert (target.shard, target.app, target.host, target.priority) == ("batch", "batch", "h1", 5)
    assert target.labels == (("tier", "a"),) and 2.5 < target.cpu < 3.2 and target.memory > 0.09 * GIB


def test_it_is_a_move_where_the_policy_does_not_name_it_or_nobody_declares_it() -> None:
    assert [a.kind for a in plan(hot(kinds=("migrate",)), actions=MAKERS).actions] == ["migrate"]
    elsewhere = declared(apps=(), shards=(Label("other"),))
    assert [a.kind for a in plan(hot(elsewhere), actions=MAKERS).actions] == ["migrate"]


@pytest.mark.parametrize(
    "changes", [{"guarantee_cpu": 1.0}, {"priority": 1}, {"cpu": (0.1, 0.3)}], ids=["guarantee", "equals", "too little"]
)
def test_nobody_is_held_below_a_guarantee_or_for_equals_or_in_vain(changes: dict[str, Any]) -> None:
    """What is guaranteed is never taken away, nobody gives way to who matters no more, and half a relief is none."""
    small = hot(**changes)
    if "cpu" in changes:
        small.shards[0] = ShardIn("web", "h1", (0.8, 3.6), priority=1)
    made = answer(small, actions=MAKERS)
    assert not isinstance(made, Plan) or {a.kind for a in made.actions} == {"migrate"}


def test_limits_come_before_and_moves_after_what_plugins_do() -> None:
    small = hot(declared(), kinds=("migrate", "resize", "apply"), limit_cpu=3.0, limit_memory=4 * GIB)
    assert [a.kind for a in plan(small, actions=MAKERS, resizable=CAN).actions] == ["resize"]
    small = hot()
    small.hosts.append(HostIn("h3"))
    small.shards += [ShardIn("a", "h3", (1.0, 2.2)), ShardIn("b", "h3", (1.0, 1.7))]
    first, *moves = plan(small, actions=MAKERS).actions
    assert first.kind == "apply" and moves and {a.kind for a in moves} == {"migrate"}
    assert [a.id for a in (first, *moves)] == list(range(1, len(moves) + 2))
    for action in moves:
        assert (first.id in action.after) == ("h1" in (action.source, action.destination))


def test_the_least_important_shard_gives_way_first_and_by_what_costs_it_least() -> None:
    dear, cheap = declared("dear", '{"cores": 0.8, "loss": 0.9}'), declared("cheap", '{"cores": 0.8, "loss": 0.1}')
    (action,) = plan(hot(dear, cheap), actions=MAKERS).actions
    assert action.applied is not None and action.applied.name == "cheap"
    small = hot(declared(apps=(Label("batch"), Label("more"))))
    small.shards.append(ShardIn("more", "h1", (0.1, 0.2), priority=4, app="more"))
    assert [a.shard for a in plan(small, actions=MAKERS).actions] == ["batch"]


def test_whoever_can_be_spared_is_and_a_plan_has_no_more_of_them_than_moves() -> None:
    spec = declared(apps=(Label("batch"), Label("small")), params='{"cores": 0.1}')
    small = hot(spec, priority=4)
    small.shards[:] = [ShardIn("web", "h1", (0.4, 0.6), priority=1)]
    small.shards.append(ShardIn("batch", "h1", (1.0, 2.9), priority=4, app="batch"))
    small.shards.append(ShardIn("small", "h1", (0.5, 0.6), priority=5, app="small"))
    assert [a.shard for a in plan(small, actions=MAKERS).actions] == ["batch"]
    small.shards[1] = ShardIn("batch", "h1", (0.7, 1.5), priority=4, app="batch")
    small.shards[0] = ShardIn("web", "h1", (2.2, 2.9), priority=1)
    assert sorted(a.shard for a in plan(small, actions=MAKERS).actions) == ["batch", "small"]
    small.policy = Policy(kinds=("apply",), max_moves=1)
    refused = answer(small, actions=MAKERS)
    assert not isinstance(refused, Plan) or all(a.kind != "apply" for a in refused.actions)


def test_what_is_in_force_is_not_offered_again() -> None:
    small = hot()
    (action,) = plan(small, actions=MAKERS).actions
    assert action.applied is not None
    small.standing = (Standing(shard=Label("batch"), token=2, since=0.0, applied=action.applied),)
    assert [a.kind for a in plan(small, actions=MAKERS).actions] == ["migrate"]


def test_a_shard_that_moves_now_is_left_alone() -> None:
    made = answer(hot(), actions=MAKERS, busy=frozenset({"batch"}))
    assert not isinstance(made, Plan) or all(a.shard != "batch" for a in made.actions)


class Raises:
    def __init__(self, params: Mapping[str, Any]) -> None:
        pass

    def offer(self, target: Target) -> Offer:
        raise RuntimeError("no\x1b[31m idea")


class Talks(Raises):
    def offer(self, target: Target) -> Any:
        return "rm -rf"


def made_of(changes: dict[str, Any]) -> type[ShardAction]:
    class Made(Raises):
        def offer(self, target: Target) -> Offer:
            return offer(**changes)

    return Made


BAD = [
    ({"execute": ""}, "execute is empty"), ({"revert": "a\u202eb"}, "nobody can see"),
    ({"verify": "x" * 241}, "longer"),
    ({"says": "two\nlines"}, "one line"), ({"cpu": -1.0}, "cpu is -1"), ({"cpu": float("nan")}, "no number"),
    ({"seconds": 99.0}, "seconds is 99"), ({"loss": 2.0}, "loss is 2"), ({"validate": "y\n" * 5000}, "the most is"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("maker", "why"),
    [(None, "no plugin that could be loaded is called cap"), (Raises, "RuntimeError: no<1b>"),
     (Talks, "it offers str, not an Offer"), *((made_of(changes), why) for changes, why in BAD)],
    ids=str,
)  # fmt: skip
def test_an_action_that_fails_is_named_and_moves_do_it(maker: Any, why: str) -> None:
    """An offer that fails is left out, and said; what it would have done is done otherwise."""
    made = plan(hot(), actions={"cap": maker} if maker else {})
    assert [a.kind for a in made.actions] == ["migrate"]
    (said,) = [reason for reason in made.left if reason.code == "ACTION_FAILED"]
    assert why in said.text and said.text.isprintable() and "action cap is left out" in said.text


def test_with_nothing_else_to_do_the_answer_is_no_plan_that_names_it() -> None:
    small = hot(kinds=("apply",))
    small.hosts.pop()
    none = refusal(small, actions={})
    assert "ACTION_FAILED" in [reason.code for reason in none.reasons]
    wrong = hot(declared(params="{}"), kinds=("apply",))
    wrong.hosts.pop()
    assert any("params say no cores" in reason.text for reason in refusal(wrong, actions=MAKERS).reasons)


def test_every_word_of_it_is_in_the_digest_and_older_plans_keep_theirs() -> None:
    """S3.24: what is approved is, letter for letter, what runs."""
    made = plan(hot(), actions=MAKERS)
    (action,) = made.actions
    assert action.applied is not None
    for name, value in {"execute": "touch b", "revert": ":", "verify": ":", "validate": "x", "params": "{}", "cpu": 0.7,
                        "seconds": 4.0, "plugin": "other"}.items():  # fmt: skip
        other = replace(made, actions=(replace(action, applied=replace(action.applied, **{name: value})),))
        assert other.digest() != made.digest(), name
    again = msgspec.json.decode(msgspec.json.encode(made), type=Plan)
    assert again == made and again.digest() == made.digest()
    moved = plan(hot(kinds=("migrate",)), actions=MAKERS)
    assert b"applied" not in moved.canonical() and b'"applied"' in made.canonical()


def test_what_is_offered_becomes_words_of_a_plan() -> None:
    target = Target(fleet=Label("f"), shard=Label("s"), app=Label("a"), backend="process", host=Label("h"), priority=3,
                    cpu=2.0, memory=5.0, seconds=10.0)  # fmt: skip
    found = applied(declared(), target, offer(memory=4, cpu=None))
    assert (found.cpu, found.memory, found.cpu_before, found.validate) == (None, 4.0, 2.0, ":")
    assert Reason("X", found.says).text == "sleeps"


def quiet(*, since: float = 0.0, cpu_before: float = 1.0, own: float = 0.2, **changes: object) -> Acting:
    """h1 needs 1.4 cores of 4: cap has been in force on the batch shard, which needed one core before."""
    small = hot(**{"cpu": 0.2, **changes})
    small.shards[0] = ShardIn("web", "h1", 1.0, priority=1)
    small.hosts[0] = HostIn("h1", own_cpu=own)
    target = Target(fleet=Label("f"), shard=Label("batch"), app=Label("batch"), backend="process", host=Label("h1"),
                    priority=5, cpu=cpu_before, memory=0.0, seconds=15.0)  # fmt: skip
    one = applied(declared(), target, offer())
    small.standing = (Standing(shard=Label("batch"), token=2, since=since, applied=one),)
    return small


def test_what_is_in_force_is_taken_back_once_nothing_is_in_its_way() -> None:
    made = plan(quiet(), actions={})
    (action,) = made.actions
    assert (action.kind, action.shard, action.source, action.token) == ("lift", "batch", "h1", 2)
    assert action.reason.code == "LIFTS" and "takes back cap from batch" in made.summary
    assert action.applied is not None and action.applied.revert == "rm -f a"
    assert {fact.host for fact in made.basis.hosts} == {"h1"}


@pytest.mark.parametrize(
    "small",
    [
        quiet(cpu_before=2.4),
        quiet(own=1.9),
        quiet(since=NOW - 30.0),
    ],
    ids=["it needed more than there is room for", "the host is fuller now", "it was done a moment ago"],
)
def test_it_is_kept_while_its_host_would_run_hot_or_it_is_too_early(small: Acting) -> None:
    assert "NO_CONTENTION" in [reason.code for reason in refusal(small, actions={}).reasons]


def test_nobody_takes_back_what_the_policy_or_another_owner_has_nothing_to_do_with() -> None:
    small = quiet()
    small.policy = Policy(kinds=("migrate",))
    refusal(small, actions={})
    moved = quiet()
    moved.standing = (replace(moved.standing[0], token=1),)
    refusal(moved, actions={})
    refusal(quiet(), actions={}, busy=frozenset({"batch"}))
