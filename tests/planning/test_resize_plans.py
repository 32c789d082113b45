"""S3.24: limits are lowered in place before anything moves, where the shard's backend can do it."""

from __future__ import annotations

from asked import answer, plan
from small_fleets import GIB, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.plans import NoPlan

CAN = frozenset({"process"})


def hot(**changes: object) -> Small:
    """h1 grows to 3.8 of 4 cores: the batch shard may use 3 and is guaranteed 0.5, the other matters more."""
    batch = {"priority": 5, "limit_cpu": 3.0, "limit_memory": 4 * GIB, "guarantee_cpu": 0.5, **changes}
    return Small(
        [HostIn("h1"), HostIn("h2", own_cpu=0.2)],
        [ShardIn("web", "h1", (0.8, 1.2), priority=1), ShardIn("batch", "h1", (1.0, 2.6), **batch)],  # type: ignore[arg-type]
        Policy(kinds=("migrate", "resize"), quantum_cpu=0.5, quantum_memory=GIB),
    )


def test_a_hot_host_is_relieved_by_limits_in_whole_quanta_and_nothing_moves() -> None:
    made = plan(hot(), resizable=CAN)
    (action,) = made.actions
    assert (action.kind, action.shard, action.source, action.destination) == ("resize", "batch", "h1", "h1")
    assert action.limits is not None and action.limits.cpu_before == 3.0
    assert action.limits.cpu % 0.5 == 0 and 0.5 <= action.limits.cpu < 2.6
    assert action.token == 2 and action.reason.code == "RESIZES" and "batch" in made.summary
    (host,) = [o for o in made.outlook if (o.host, o.dimension) == ("h1", "cpu")]
    assert host.peak_after < 0.81 and host.peak_before > 0.9
    assert action.evidence is not None and max(action.evidence.upper_after) < max(action.evidence.upper)


def test_it_is_a_move_where_the_policy_or_the_backend_does_not_resize() -> None:
    small = hot()
    assert [a.kind for a in plan(small).actions] == ["migrate"]
    small.policy = Policy(kinds=("migrate",))
    assert [a.kind for a in plan(small, resizable=CAN).actions] == ["migrate"]


def test_nobody_is_held_below_the_guarantee_or_for_the_sake_of_equals() -> None:
    assert {a.kind for a in plan(hot(guarantee_cpu=2.6), resizable=CAN).actions} == {"migrate"}
    assert {a.kind for a in plan(hot(priority=1), resizable=CAN).actions} == {"migrate"}


def test_moves_of_a_resized_host_wait_for_it() -> None:
    """The host is relieved by both, or the resize is not worth its harm."""
    small = hot()
    small.hosts.append(HostIn("h3"))
    small.shards += [ShardIn("a", "h3", (1.0, 2.2)), ShardIn("b", "h3", (1.0, 1.7))]
    made = answer(small, resizable=CAN)
    assert not isinstance(made, NoPlan)
    first, *moves = made.actions
    assert first.kind == "resize" and moves and {a.kind for a in moves} == {"migrate"}
    assert [a.id for a in made.actions] == list(range(1, len(made.actions) + 1))
    for action in moves:
        assert (first.id in action.after) == ("h1" in (action.source, action.destination))


def test_a_shard_that_moves_now_is_left_alone() -> None:
    made = answer(hot(), resizable=CAN, busy=frozenset({"batch"}))
    assert isinstance(made, NoPlan) or all(a.shard != "batch" for a in made.actions)
