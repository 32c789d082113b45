"""Plans are named by their bytes, and say readably when the world is not theirs any more."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "change",
    [
        {"number": 8}, {"created": 100.5}, {"snapshot": 13}, {"forecast": "f1"}, {"author": Label("ops")},
        {"policy": Policy(threshold_cpu=0.81)}, {"actions": ()}, {"summary": Label("other")}, {"basis": Basis((), ())},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_part_of_a_plan_is_in_its_digest(change: dict[str, Any]) -> None:
    assert msgspec.structs.replace(PLAN, **change).digest() != PLAN.digest()


def test_an_action_that_differs_in_anything_is_another_plan() -> None:
    for change in ({"destination": Label("h3")}, {"token": 4}, {"evidence": None}, {"bytes": 1}, {"after": (2,)}):
        other = msgspec.structs.replace(ACTION, **change)
        assert msgspec.structs.replace(PLAN, actions=(other,)).digest() != PLAN.digest()


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
