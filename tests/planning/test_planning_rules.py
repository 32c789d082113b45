"""Rules between shards and hosts: kept by every plan, and repaired first where they are broken."""

from __future__ import annotations

import pytest
from asked import answer, codes, moves, plan, refusal, rising
from small_fleets import GIB, HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.machines import HostState
from sidestep.fleet.plans import NoPlan


def test_a_broken_rule_is_repaired_before_contention_is_relieved() -> None:
    """S3.17: two replicas on one host are parted, though nothing runs hot."""
    small = Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3", own_cpu=1.0)],
        [
            ShardIn("r-1", "h1", 0.1, app="r", avoid=("r",)),
            ShardIn("r-2", "h2", 0.2, app="r", avoid=("r",), state=9e6),
            ShardIn("r-3", "h2", 0.1, app="r", avoid=("r",), state=1e6),
        ],
    )
    made = plan(small)
    assert moves(made) == [("r-3", "h2", "h3")]
    assert made.actions[0].reason.code == "REPAIRS"


def test_a_broken_rule_that_nothing_can_repair_is_named() -> None:
    """S3.17: with two hosts three replicas cannot be apart."""
    small = Small(
        [HostIn("h1"), HostIn("h2")],
        [ShardIn(f"r-{i}", "h1" if i else "h2", 0.1, app="r", avoid=("r",)) for i in range(3)],
    )
    assert codes(refusal(small)) == ["NO_ROOM"]


def test_shards_are_spread_over_failure_domains() -> None:
    """S3.17: the host with most room is in a zone that holds the app already."""
    small = rising(HostIn("h2", zone="a"), HostIn("h3", own_cpu=1.0, zone="b"), spread="zone", app="web")
    small.hosts[0].zone = "c"
    small.shards.append(ShardIn("web-2", "h2", 0.1, app="web"))
    made = plan(small)
    assert moves(made) == [("kv-1", "h1", "h3")]
    assert "AVOID" in {a.reason.code for a in made.actions[0].alternatives}


def test_shards_that_must_be_near_each_other_move_together() -> None:
    """S3.16: required affinity: the companion comes along, as a second action."""
    small = rising(near=("side",))
    small.shards.append(ShardIn("side", "h1", 0.1, state=1e6, app="side"))
    small.shards[1].pinned = True
    made = plan(small)
    assert sorted(moves(made)) == [("kv-1", "h1", "h2"), ("side", "h1", "h2")]


def test_a_shard_that_is_apart_from_what_it_must_be_near_comes_to_it() -> None:
    """S3.16, S3.17: a broken affinity is repaired where room is."""
    small = Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3")],
        [
            ShardIn("db", "h1", 0.5, app="db", state=9e9),
            ShardIn("web", "h2", 0.2, app="web", near=("db",), state=1e6),
        ],
    )
    made = plan(small)
    assert moves(made) == [("web", "h2", "h1")]
    assert made.actions[0].reason.code == "REPAIRS"


def test_a_shard_goes_only_where_its_labels_are() -> None:
    """S1.13: h2 has more room and no fast disk."""
    small = rising(requires=(("disk", "ssd"),))
    small.hosts[0].labels = small.hosts[2].labels = (("disk", "ssd"),)
    assert moves(plan(small)) == [("kv-1", "h1", "h3")]


def test_storage_is_part_of_the_fit() -> None:
    """Lesson 14: room for demand is not room for the state on disk."""
    small = rising(HostIn("h2", disk=5 * GIB), HostIn("h3", own_cpu=1.0, disk=50 * GIB), disk=8 * GIB)
    assert moves(plan(small)) == [("kv-1", "h1", "h3")]


def test_a_standby_host_receives_nothing_until_it_is_activated() -> None:
    """S3.15: it costs nothing while it sleeps."""
    small = rising(HostIn("h2", standby=True), HostIn("h3", own_cpu=1.0))
    made = plan(small)
    assert moves(made) == [("kv-1", "h1", "h3")]


def test_the_cheaper_of_two_hosts_is_taken_where_cost_comes_first() -> None:
    """S3.15: cost-aware; capacity is never given up for it."""
    small = rising(HostIn("h2", cost=2.0), HostIn("h3", own_cpu=1.0, cost=0.5), HostIn("h4", own_cpu=3.0, cost=0.1))
    small.policy = Policy(goals=("cost", "headroom"))  # type: ignore[arg-type]
    small.shards += [ShardIn(f"x-{n}", f"h{n}", 0.01) for n in (2, 3, 4)]
    made = plan(small)
    assert moves(made) == [("kv-1", "h1", "h3")]


def test_a_host_that_is_drained_is_emptied() -> None:
    """Lesson 9, S3.7: everything leaves, nothing comes, other drained hosts are no destination."""
    small = Small(
        [HostIn("h1", state=HostState.DRAINING), HostIn("h2", state=HostState.DRAINING), HostIn("h3"), HostIn("h4")],
        [ShardIn("a", "h1", 0.2), ShardIn("b", "h1", 0.3), ShardIn("c", "h2", 0.2)],
    )
    made = plan(small)
    assert sorted(a.shard for a in made.actions) == ["a", "b", "c"]
    assert {a.destination for a in made.actions} <= {"h3", "h4"}
    assert {a.reason.code for a in made.actions} == {"DRAINS"}


@pytest.mark.parametrize(("tolerate", "fits"), [("", True), ("host", False)])
def test_room_for_the_loss_of_a_host_is_kept_free(tolerate: str, fits: bool) -> None:
    """Design 6: N-1 headroom is a constraint on what hosts receive."""
    small = rising(HostIn("h2", own_cpu=1.0), HostIn("h3", own_cpu=1.2))
    small.policy = Policy(tolerate=tolerate)  # type: ignore[arg-type]
    assert isinstance(answer(small), NoPlan) is not fits


def test_a_plan_says_how_near_it_is_to_the_fewest_moves() -> None:
    """S2.7: one move is proven to be needed."""
    proof = plan(rising()).proof
    assert proof is not None
    assert (proof.moves, proof.bound, proof.proven, proof.left) == (1, 1, True, 0)


def test_where_moves_do_not_do_a_standby_host_is_advised() -> None:
    """S3.15, show 3: it is proven that nothing else does, and the move that it makes possible is named."""
    small = rising(HostIn("h2", own_cpu=3.0), HostIn("h3", standby=True))
    made = refusal(small, prove=True)
    assert [(a.kind, a.destination) for a in made.advice] == [("activate", "h3"), ("migrate", "h3")]
    assert made.impossible
    assert "1 more like h3 would do" in made.reasons[-1].text
