"""Since when an old owner is surely gone: what may be lost by a failover was written before that (S2.21)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from world_doubles import FakeTime, small_fleet

from sidestep.autopilot.fencing.host import LeaseHost
from sidestep.autopilot.fencing.proof import Proof
from sidestep.fleet.inventory import ShardSpec

MARGIN = 1.5


class Desk:
    """One host, h1, whose lease ends at 1010 s by our clock."""

    seconds, margin = 15.0, MARGIN

    def __init__(self) -> None:
        self.time, self.fleet, self.off = FakeTime(), small_fleet(), dict[str, float]()
        self.clock = self.time.clock()
        self.kept = LeaseHost("h1", "f", self, transport=self.nowhere, clock=self.clock, until=1010.0)
        self.kept.known = frozenset({"s1"})

    def nowhere(self, host: str) -> object:
        raise AssertionError(f"{host} is asked")

    def host(self, name: str, step: str = "lease") -> LeaseHost:
        return self.kept

    def leasable(self, shard: str) -> bool:
        return True

    def learned(self, host: LeaseHost) -> None: ...

    def complain(self, host: str, text: str) -> None: ...

    def command_says_off(self, host: str) -> None: ...

    def gone(self, shard: ShardSpec) -> float:
        return Proof(self, {}, self.nowhere).gone("h1", shard)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def shard() -> ShardSpec:
    return replace(small_fleet().shards[0], name="s1", failover="capsule")


def test_a_leased_shard_is_gone_since_its_lease_and_the_margin_were_over(desk: Desk, shard: ShardSpec) -> None:
    """A failover that somebody approves an hour later loses no hour."""
    desk.time.now = 1010.0 + MARGIN + 3600.0
    assert desk.gone(shard) == 3600.0
    assert desk.gone(replace(shard, failover="wait")) == 0.0, "it is under no lease"
    desk.kept.known = frozenset()
    assert desk.gone(shard) == 0.0, "the host never acknowledged to hold it under one"


def test_before_its_lease_is_over_a_shard_is_gone_only_since_now(desk: Desk, shard: ShardSpec) -> None:
    desk.time.now = 1009.0
    assert desk.gone(shard) == 0.0


def test_a_host_that_is_declared_off_serves_nothing_since_then(desk: Desk, shard: ShardSpec) -> None:
    """Whichever was known to hold first counts; that of a daemon before us has no time."""
    desk.time.now, desk.off = 1100.0, {"h1": 1005.0}
    assert desk.gone(shard) == 95.0
    desk.off = {"h1": 1050.0}
    assert desk.gone(shard) == 1100.0 - 1010.0 - MARGIN
    desk.kept.known, desk.off = frozenset(), {"h1": -float("inf")}
    assert desk.gone(shard) == 0.0
