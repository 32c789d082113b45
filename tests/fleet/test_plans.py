"""Plans are named by their bytes, and say readably when the world is not theirs any more."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Action, Basis, Evidence, HostFact, PlacementFact, Plan, Reason

EVIDENCE = Evidence(
    host=Label("h1"), dimension="cpu", threshold=0.8, quantile=0.8, probability=0.9, starts_at=130.0, lead=30.0,
    times=(1.0, 2.0), median=(0.5, 0.6), upper=(0.7, 0.85), upper_after=(0.4, 0.5),
)  # fmt: skip
ACTION = Action(
    id=1, shard=Label("a"), source=Label("h1"), destination=Label("h2"), token=3, priority=2,
    reason=Reason("PREDICTED_CONTENTION", Label("h1 cpu")), evidence=EVIDENCE,
)  # fmt: skip
BASIS = Basis(
    (PlacementFact(Label("a"), Label("h1"), 3), PlacementFact(Label("b"), Label("h2"), 2)),
    (HostFact(Label("h1"), "READY", 4.0, 100), HostFact(Label("h2"), "READY", 4.0, 100)),
)
PLAN = Plan(
    number=7, fleet=Label("demo"), created=100.0, expires=400.0, author=Label("planner"), snapshot=12,
    forecast="f0", policy=Policy(), basis=BASIS, actions=(ACTION,),
)  # fmt: skip


def test_a_plan_comes_back_equal_from_its_canonical_bytes() -> None:
    again = msgspec.json.decode(PLAN.canonical(), type=Plan)
    assert again == PLAN
    assert again.digest() == PLAN.digest()
    assert len(PLAN.digest()) == 64


def variants(value: Any) -> list[Any]:
    """Other values of the same type; for a struct one variant a field."""
    match value:
        case msgspec.Struct():
            return [
                msgspec.structs.replace(value, **{field: other})
                for field in value.__struct_fields__
                for other in variants(getattr(value, field))
            ]
        case tuple():
            inside = [(*value[:i], other, *value[i + 1 :]) for i, item in enumerate(value) for other in variants(item)]
            return [*inside, value[:-1]] if value else [(9,)]
        case str():
            return [f"{value}x"]
        case bool() | None:
            return [not value]
        case int() | float():
            return [value + 1]
    raise AssertionError(type(value))


def test_whatever_differs_in_a_plan_gives_it_another_name() -> None:
    """Every field of the plan, its policy, its basis and its actions, down to single numbers."""
    others = variants(PLAN)
    assert len(others) > 60
    digests = {other.digest() for other in others}
    assert len(digests) == len(others)
    assert PLAN.digest() not in digests


def test_the_canonical_bytes_depend_on_values_alone() -> None:
    """Sorted keys, no spaces: the same plan has the same name wherever it was read and written."""
    data = json.loads(PLAN.canonical())
    assert PLAN.canonical() == json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    shuffled = dict(reversed(data.items()))
    assert msgspec.convert(shuffled, Plan).digest() == PLAN.digest()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(PLAN), type=Plan).digest() == PLAN.digest()


def test_a_plan_of_an_earlier_version_reads_back_as_itself() -> None:
    """What came later is not in its bytes, reads as it is by default, and does not change its name."""
    old = json.loads(PLAN.canonical())
    assert set(old["policy"]) == set(Policy.__struct_fields__[: Policy.__struct_fields__.index("step_deadline") + 1])
    assert set(old["actions"][0]) == set(Action.__struct_fields__[: Action.__struct_fields__.index("undo") + 1])
    assert {"proof", "advice", "left", "changes"}.isdisjoint(old)
    body = json.dumps(old, sort_keys=True, separators=(",", ":")).encode()
    again = msgspec.json.decode(body, type=Plan)
    assert again == PLAN
    assert again.canonical() == body


def test_what_came_later_is_in_the_bytes_as_soon_as_it_differs() -> None:
    for changed in (Policy(seed=2), Policy(goals=(Label("cost"),)), Policy(split_windows=(1, 1))):
        plan = msgspec.structs.replace(PLAN, policy=changed)
        assert msgspec.json.decode(plan.canonical(), type=Plan) == plan
        assert plan.digest() != PLAN.digest()


def test_the_same_world_has_no_differences() -> None:
    assert BASIS.differences(BASIS) == ()


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Basis((PlacementFact(Label("a"), Label("h2"), 9), BASIS.placements[1]), BASIS.hosts),
         "shard a: was on h1 (token 3), now on h2 (token 9)"),
        (Basis(BASIS.placements[1:], BASIS.hosts), "shard a: was on h1 (token 3), now on no host of this plan"),
        (Basis((*BASIS.placements, PlacementFact(Label("c"), Label("h2"), 5)), BASIS.hosts),
         "shard c: not on h2 when planned, now there (token 5)"),
        (Basis(BASIS.placements, (HostFact(Label("h1"), "READY", 2.0, 100), BASIS.hosts[1])),
         "host h1: cpu was 4.0, now 2.0"),
        (Basis(BASIS.placements, (HostFact(Label("h1"), "SUSPECT", 4.0, 100), BASIS.hosts[1])),
         "host h1: state was READY, now SUSPECT"),
        (Basis(BASIS.placements, BASIS.hosts[:1]), "host h2: is gone"),
    ],
)  # fmt: skip
def test_each_change_of_the_world_is_one_readable_line(now: Basis, said: str) -> None:
    assert BASIS.differences(now) == (said,)
