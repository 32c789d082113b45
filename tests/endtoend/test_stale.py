"""A plan runs in the world it was made for, or not at all."""

from __future__ import annotations

import pytest
from ground import Ground

from sidestep.autopilot.client import Refused
from sidestep.fleet.machines import PlanState

pytestmark = pytest.mark.fleet


def other(host: str) -> str:
    return {"h1": "h2", "h2": "h1"}[host]


def test_a_plan_whose_placement_changed_is_refused_with_the_difference(ground: Ground) -> None:
    """S2.27: the placement that a plan relies on is checked by its token."""
    with ground.daemon():
        at = {shard: ground.serving(shard)[0][0] for shard in ("kv-01", "kv-02")}
        first, second = (ground.propose(shard, other(host)) for shard, host in at.items())
        ground.approve(second)
        ground.wait(second.digest, PlanState.SUCCEEDED)
        with pytest.raises(Refused) as refused:
            ground.approve(first)
        assert refused.value.code == "stale"
        (moved,) = (line for line in refused.value.differences if "kv-02" in line)
        assert f"was on {at['kv-02']}" in moved
        assert f"now on {other(at['kv-02'])}" in moved
        assert ground.status(first.digest).status.state is PlanState.STALE
        assert ground.serving("kv-01")[0][0] == at["kv-01"]


def test_a_plan_whose_host_changed_capacity_is_refused_with_the_difference(ground: Ground) -> None:
    with ground.daemon():
        ((source, _),) = ground.serving("kv-03")
        view = ground.propose("kv-03", other(source))
    before = ground.file.read_text()
    changed = before.replace("memory = 268435456", "memory = 234881024", 1)
    assert changed != before
    ground.file.write_text(changed)
    try:
        with ground.daemon():
            with pytest.raises(Refused) as refused:
                ground.approve(view)
            assert refused.value.code == "stale"
            assert any("memory was 268435456, now 234881024" in line for line in refused.value.differences)
            assert ground.serving("kv-03")[0][0] == source
    finally:
        ground.file.write_text(before)


def test_what_was_refused_as_stale_is_never_revived(ground: Ground) -> None:
    with ground.daemon():
        ((source, _),) = ground.serving("kv-04")
        view, blocker = ground.propose("kv-04", other(source)), ground.propose("kv-04", other(source))
        ground.approve(blocker)
        ground.wait(blocker.digest, PlanState.SUCCEEDED)
        for _ in range(2):
            with pytest.raises(Refused):
                ground.approve(view)
        assert ground.serving("kv-04")[0][0] == other(source)
