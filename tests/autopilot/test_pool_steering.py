"""From decisions to instances: what is begun for which one, over a real journal, with hosts that obey at once."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.pool.ledger import PoolInstance
from sidestep.autopilot.pool.steering import Steering
from sidestep.fleet.instances import InstanceState
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.pools import PoolSpec
from sidestep.planning.pool import Decision, Terms

I = InstanceState  # noqa: E741


class Obedient:
    """Hosts that do at once, and without fail, what they are asked."""

    def __init__(self, journal: Journal, pools: tuple[PoolSpec, ...]) -> None:
        self._journal, self.pools = journal, {str(pool.name): pool for pool in pools}

    def busy(self, one: PoolInstance) -> bool:
        return False

    def paused(self, pool: str, host: str) -> bool:
        return False

    def begin(self, one: PoolInstance, work: Coroutine[Any, Any, None]) -> None:
        with pytest.raises(StopIteration):
            work.send(None)

    def _to(self, one: PoolInstance, *states: InstanceState) -> None:
        for state in states:
            one = self._journal.pool_move(one, state, self.pools[one.pool], checked=state is I.READY)

    async def warm(self, one: PoolInstance) -> None:
        self._to(one, I.READY)

    async def cold(self, one: PoolInstance) -> None:
        pass

    async def activate(self, one: PoolInstance) -> None:
        self._to(one, I.ACTIVE)

    async def retire(self, one: PoolInstance) -> None:
        self._to(one, I.DEACTIVATING, I.SCRUBBING, I.DEAD)

    async def discard(self, one: PoolInstance) -> None:
        self._to(one, I.SCRUBBING, I.DEAD)

    async def drill(self, one: PoolInstance, number: int) -> None:
        self._to(one, I.READY, I.SCRUBBING, I.COLD)
        self._journal.drill_end(number, ok=True, seconds=1.0, detail="")


class Stage:
    def __init__(self, folder: Path, *pools: PoolSpec) -> None:
        hosts = tuple(HostSpec(name=Label(n), address=n, cpu=4.0, memory=8 << 30) for n in ("a", "b"))
        fleet = FleetSpec(name=Label("f"), source="", hosts=hosts, shards=(), pools=pools)
        self.journal, self.pools = Journal(folder / "j.db"), pools
        self.apps = [(row, str(app)) for row, pool in enumerate(pools) for app in pool.apps]
        hands = Obedient(self.journal, pools)
        self.steering = Steering(pools, self.apps, Terms.of(pools), self.journal, hands, fleet, 1.0)  # type: ignore[arg-type]
        self.states, self.now = {"a": HostState.READY, "b": HostState.READY}, 0.0

    def act(self, active: list[int], ready: list[int], rounds: int = 4) -> tuple[int, ...]:
        none = np.zeros(len(active), dtype=np.int64)
        costs = np.zeros(len(ready))
        decision = Decision(np.array(active), none, none, none, np.array(ready), costs, costs)
        reached = frozenset((str(pool.name), host) for pool in self.pools for host in self.states)
        for _ in range(rounds):
            self.now += 1.0
            unmet = self.steering.act(self.now, decision, self.steering.count(reached, self.states), {})
            for pool in self.pools:
                held = [one for one in self.journal.pool_instances() if one.pool == pool.name]
                assert sum(one.state is not I.COLD for one in held) <= pool.max
        return unmet

    def count(self, pool: str, state: InstanceState, host: str = "") -> int:
        return sum(
            one.pool == pool and one.state is state and host in ("", one.host) for one in self.journal.pool_instances()
        )


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Stage]]:
    stages: list[Stage] = []
    yield stages
    for stage in stages:
        stage.journal.close()


def pool(name: str, **changes: object) -> PoolSpec:
    known: dict[str, object] = {
        "name": Label(name), "apps": (Label(name),), "hosts": (Label("a"), Label("b")), "service": "s", "max": 6,
        "stabilise": 0.0,
    }  # fmt: skip
    return PoolSpec(**{**known, **changes})  # type: ignore[arg-type]


def test_a_pool_becomes_what_was_decided_and_shrinks_again(tmp_path: Path, made: list[Stage]) -> None:
    """S4.12, S4.17, S4.19"""
    made.append(stage := Stage(tmp_path, pool("p", cold=1)))
    assert stage.act([3], [2]) == (0,)
    assert (stage.count("p", I.ACTIVE), stage.count("p", I.READY), stage.count("p", I.COLD)) == (3, 2, 1)
    stage.act([1], [1])
    assert (stage.count("p", I.ACTIVE), stage.count("p", I.READY), stage.count("p", I.COLD)) == (1, 1, 1)
    before = stage.journal.pool_instances()
    stage.act([1], [1])
    assert stage.journal.pool_instances() == before, "the same decision again changes nothing"


def test_what_does_not_fit_is_unmet_and_the_lower_priority_gives_way(tmp_path: Path, made: list[Stage]) -> None:
    """S4.16, S4.18: 4 cores a host, 1 core an instance"""
    low, high = (
        pool("low", cpu=1.0, priority=5, guarantee=1),
        pool("high", cpu=1.0, priority=1, max=8, ports=(40000, 40100)),
    )
    made.append(stage := Stage(tmp_path, low, high))
    stage.act([6, 1], [0, 0])
    assert stage.count("low", I.ACTIVE) == 6
    unmet = stage.act([6, 8], [0, 0], rounds=8)
    assert stage.count("low", I.ACTIVE) == 1
    assert stage.count("high", I.ACTIVE) == 7
    assert unmet == (5, 1)


def test_a_host_that_is_drained_loses_its_instances_once_others_serve(tmp_path: Path, made: list[Stage]) -> None:
    made.append(stage := Stage(tmp_path, pool("p")))
    stage.act([2], [1])
    assert stage.count("p", I.ACTIVE, "a") + stage.count("p", I.READY, "a") > 0
    stage.states["a"] = HostState.DRAINING
    stage.act([2], [1], rounds=6)
    assert [stage.count("p", state, "a") for state in I] == [0] * len(I)
    assert (stage.count("p", I.ACTIVE, "b"), stage.count("p", I.READY, "b")) == (2, 1)


def test_a_drill_wakes_what_slept_longest_and_comes_again_when_it_is_due(tmp_path: Path, made: list[Stage]) -> None:
    """S4.14"""
    made.append(stage := Stage(tmp_path, pool("p", cold=2, drill_every=1000.0)))
    stage.act([1], [0])
    first = stage.journal.drills()["p"]
    assert first.ok
    stage.act([1], [0])
    assert stage.journal.drills()["p"] == first
    assert stage.steering.drill(0) is not None
    assert stage.journal.drills()["p"].instance != first.instance
    assert stage.count("p", I.COLD) == 2
