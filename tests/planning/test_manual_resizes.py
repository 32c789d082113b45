"""S3.2, S3.24: an operator's own resize: made if it can be, refused by name of what stands against it."""

from __future__ import annotations

import math

import msgspec
import pytest
from msgspec.structs import replace
from small_fleets import GIB, NOW, HostIn, ShardIn, Small

from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Limits, Plan
from sidestep.planning.manual_resize import plan_resize

MIB = 1 << 20


def resize(shard: str = "kv-1", backends: frozenset[str] = frozenset({"process"}), **wanted: float) -> Plan:
    sized = ShardIn("kv-1", "h1", 1.0, limit_cpu=2.0, limit_memory=4 * GIB, guarantee_cpu=0.5)
    fleet = Small([HostIn("h1"), HostIn("h2")], [sized])
    shards = tuple(replace(one, limit_read=50 * MIB) for one in fleet.spec().shards)
    return plan_resize(
        fleet.snapshot(), fleet.policy, fleet.placement(), fleet=replace(fleet.spec(), shards=shards),
        backends=backends, shard=shard,
        number=5, created=NOW, author=Label("alice"), reason="backups starve it",
        **wanted,  # type: ignore[arg-type]
    )  # fmt: skip


def test_what_is_not_named_stays_and_the_way_back_is_in_the_plan() -> None:
    made = resize(read=0, write=20 * MIB)
    (action,) = made.actions
    assert (action.kind, action.shard, action.source, action.destination) == ("resize", "kv-1", "h1", "h1")
    assert action.reason.code == "OPERATOR" and "backups starve it" in action.reason.text
    assert action.limits == Limits(
        cpu=2.0, memory=4 * GIB, read=0, write=20 * MIB, cpu_before=2.0, memory_before=4 * GIB, read_before=50 * MIB
    )
    back = action.limits.back()
    assert (back.read, back.write, back.read_before) == (50 * MIB, 0, 0) and back.back() == action.limits
    assert {fact.host for fact in made.basis.hosts} == {"h1"}
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan).digest() == made.digest()


def test_a_resize_that_leaves_the_disk_alone_is_written_down_as_ever() -> None:
    """So that plans of before are found again by their digests."""
    plan = resize(cpu=1.0)
    (action,) = plan.actions
    bare = replace(action, limits=Limits(cpu=1.0, memory=GIB, cpu_before=2.0, memory_before=GIB))
    text = replace(plan, actions=(bare,)).canonical()
    assert b'"memory_before":' in text and b'"read' not in text and b'"write' not in text


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"cpu": 0.25}, "guaranteed 0.5 cores"),
        ({"cpu": 2.0, "read": 50 * MIB}, "these limits already"),
        ({"shard": "kv-7", "cpu": 1.0}, "no shard kv-7"),
        ({"backends": frozenset(), "cpu": 1.0}, "backend process cannot resize"),
    ],
)
def test_what_cannot_be_is_refused(wanted: dict[str, float], words: str) -> None:
    with pytest.raises(SidestepError, match=words):
        resize(**wanted)


@pytest.mark.parametrize("cpu", [math.nan, math.inf, 5000.0])
def test_no_number_of_cores_is_a_limit_that_cannot_be(cpu: float) -> None:
    with pytest.raises(UsageError, match="cores is not between 0 and"):
        resize(cpu=cpu)
