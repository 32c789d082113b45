"""Dead hosts: what they held is planned elsewhere, unless too many are dead to believe it."""

from __future__ import annotations

import pytest
from asked import codes, plan, refusal
from small_fleets import HostIn, ShardIn, Small

from sidestep.fleet.inventory import Policy
from sidestep.fleet.machines import HostState


def mourning(hosts: int, gone: int) -> Small:
    """So many hosts, so many of them dead, one shard each."""
    states = [HostState.DEAD if n < gone else HostState.READY for n in range(hosts)]
    return Small(
        [HostIn(f"h{n:02}", state=state) for n, state in enumerate(states)],
        [ShardIn(f"kv-{n:02}", f"h{n:02}", 0.1, app=f"a{n}") for n in range(hosts)],
        Policy(kinds=("migrate", "failover"), max_moves=100),
    )


def test_one_dead_host_is_healed() -> None:
    """Lesson 10, the other side: what it held starts elsewhere."""
    made = plan(mourning(10, 1))
    assert [(a.kind, a.shard, a.source) for a in made.actions] == [("failover", "kv-00", "h00")]


@pytest.mark.parametrize(("hosts", "gone"), [(10, 5), (30, 11)])
def test_when_many_hosts_are_dead_nothing_is_healed(hosts: int, gone: int) -> None:
    """Lesson 10: it is likelier that we are blind. The brake says so."""
    assert "BRAKE" in codes(refusal(mourning(hosts, gone)))
