"""An operator's own plan: made if it is safe, refused by name of what blocks it."""

from __future__ import annotations

import msgspec
import pytest
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.plans import Plan
from sidestep.planning import plan_move


def small() -> Small:
    return Small(
        [HostIn("h1"), HostIn("h2"), HostIn("h3", own_cpu=3.0)],
        [ShardIn("kv-1", "h1", 1.0), ShardIn("web-1", "h2", 0.5, app="web")],
    )


def move(fleet: Small, shard: str = "kv-1", to: str = "h2", *, forecast: bool = True) -> Plan:
    return plan_move(
        fleet.snapshot(),
        fleet.forecast() if forecast else None,
        fleet.policy,
        fleet.placement(),
        fleet=fleet.spec(),
        shard=shard,
        destination=to,
        number=5,
        created=NOW,
        author=Label("alice"),
        reason="disk of h1 is odd",
    )


@pytest.mark.parametrize("forecast", [True, False])
def test_a_safe_move_becomes_a_plan_of_one_action(forecast: bool) -> None:
    made = move(small(), forecast=forecast)
    assert [(a.shard, a.source, a.destination, a.token) for a in made.actions] == [("kv-1", "h1", "h2", 1)]
    assert made.actions[0].reason.code == "OPERATOR"
    assert "disk of h1 is odd" in made.actions[0].reason.text
    assert made.actions[0].evidence is None
    assert made.author == "alice"
    assert {fact.host for fact in made.basis.hosts} == {"h1", "h2"}
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan).digest() == made.digest()


def test_relieving_a_hot_host_by_hand_carries_the_evidence() -> None:
    fleet = small()
    fleet.shards[0].cpu = (1.0, 3.1)
    fleet.shards.append(ShardIn("kv-2", "h1", 1.0))
    evidence = move(fleet, "kv-2").actions[0].evidence
    assert evidence is not None
    assert evidence.host == "h1"


@pytest.mark.parametrize(
    ("shard", "to", "words"),
    [("kv-7", "h2", "no shard kv-7"), ("kv-1", "h9", "no host h9")],
)
def test_names_that_do_not_exist_are_bad_input(shard: str, to: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        move(small(), shard, to)


def test_a_move_to_the_same_host_is_refused() -> None:
    with pytest.raises(SidestepError, match="on h1 already"):
        move(small(), "kv-1", "h1")


@pytest.mark.parametrize(
    ("state", "words"),
    [(HostState.CORDONED, "CORDONED"), (HostState.DEAD, "NOT_READY"), (HostState.SUSPECT, "NOT_READY")],
)
def test_a_host_that_takes_no_shards_is_refused_with_its_state(state: HostState, words: str) -> None:
    fleet = small()
    fleet.hosts[1].state = state
    with pytest.raises(SidestepError, match=words):
        move(fleet)


def test_nothing_leaves_a_dead_host_by_migration() -> None:
    fleet = small()
    fleet.hosts[0].state = HostState.DEAD
    with pytest.raises(SidestepError, match="the host is DEAD"):
        move(fleet)


def test_a_cordoned_host_may_be_emptied() -> None:
    fleet = small()
    fleet.hosts[0].state = HostState.CORDONED
    assert move(fleet).actions[0].source == "h1"


@pytest.mark.parametrize(("change", "words"), [({"pinned": True}, "PINNED"), ({"movable": False}, "PINNED")])
def test_a_pinned_shard_is_refused(change: dict[str, bool], words: str) -> None:
    fleet = small()
    vars(fleet.shards[0]).update(change)
    with pytest.raises(SidestepError, match=words):
        move(fleet)


def test_a_shard_that_does_not_run_is_refused() -> None:
    fleet = small()
    fleet.shards[0].shard_state = ShardState.FAILED
    with pytest.raises(SidestepError, match="NOT_RUNNING"):
        move(fleet)


def test_anti_affinity_is_refused_with_the_shard_it_avoids() -> None:
    """S3.17: also when an operator asks."""
    fleet = small()
    fleet.shards[0].avoid = ("web",)
    with pytest.raises(SidestepError, match="web-1, which h2 holds"):
        move(fleet)


def test_a_host_without_room_is_refused_with_what_is_missing() -> None:
    with pytest.raises(SidestepError, match=r"h3 has no room for shard kv-1: cpu .* 0\.80 cores"):
        move(small(), "kv-1", "h3")


def test_memory_counts_from_the_start_of_the_move() -> None:
    """Both hosts hold the shard while it moves: room that is only there later does not count."""
    fleet = small()
    fleet.shards[1].memory = (6.5 * GIB, 1.0 * GIB)
    fleet.shards[0].memory = 1.0 * GIB
    with pytest.raises(SidestepError, match="memory would pass its limit"):
        move(fleet)
