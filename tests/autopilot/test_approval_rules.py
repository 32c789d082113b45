"""Who may approve what: exactly the plan that was read, while it still fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from move_doubles import NOW, OPERATOR, Bench

from sidestep.autopilot.approval import check_approval
from sidestep.autopilot.faults import EnvironmentFaults, InjectedFault, faults_from
from sidestep.fleet.errors import SidestepError, StalePlan, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import Basis


class Case:
    """A proposal as it stands, and an approval of it that is in order unless something is changed."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.plan = self.bench.plan()
        self.status = self.bench.journal.add(self.plan)

    def approve(self, **changed: Any) -> None:
        right: dict[str, Any] = {
            "digest": self.status.digest, "now": NOW + 1.0, "present": self.bench.basis(),
            "actor": OPERATOR, "reason": "",
        }  # fmt: skip
        check_approval(changed.pop("plan", self.plan), changed.pop("status", self.status), **{**right, **changed})


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_fitting_proposal_may_be_approved(case: Case) -> None:
    case.approve()
    case.approve(now=case.plan.expires)


@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_another_digest_is_refused(case: Case, digest: str) -> None:
    """Approving one plan and running a recomputed one is the oldest mistake of all."""
    with pytest.raises(UsageError, match="has the digest"):
        case.approve(digest=digest)
    with pytest.raises(UsageError, match="has the digest"):
        case.approve(digest=case.status.digest[:12])


def test_a_plan_whose_content_differs_from_its_digest_is_refused(case: Case) -> None:
    with pytest.raises(UsageError, match="has the digest"):
        case.approve(plan=msgspec.structs.replace(case.plan, snapshot=8))


@pytest.mark.parametrize("state", [s for s in PlanState if s not in {PlanState.PROPOSED, PlanState.STALE}])
def test_only_a_proposal_can_be_approved(case: Case, state: PlanState) -> None:
    with pytest.raises(SidestepError, match=f"is {state} and cannot be approved"):
        case.approve(status=msgspec.structs.replace(case.status, state=state))


def test_an_expired_plan_is_refused(case: Case) -> None:
    with pytest.raises(SidestepError, match="expired 30 s ago"):
        case.approve(now=case.plan.expires + 30.0)


def test_a_changed_placement_makes_it_stale_with_the_difference(case: Case) -> None:
    present = case.bench.basis()
    moved = msgspec.structs.replace(present.placements[0], host=Label("h2"), token=9)
    with pytest.raises(StalePlan) as caught:
        case.approve(present=Basis((moved, *present.placements[1:]), present.hosts))
    assert caught.value.differences == ("shard s1: was on h1 (token 1), now on h2 (token 9)",)


def test_a_changed_capacity_makes_it_stale_with_the_difference(case: Case) -> None:
    case.bench.cpus["h3"] = 0.5
    with pytest.raises(StalePlan, match=r"host h3: cpu was 2\.0, now 0\.5"):
        case.approve()


@pytest.mark.parametrize("change", [{"actor": Label(" ")}, {"reason": "x" * 501}])
def test_an_approval_has_an_actor_and_a_reason_of_bounded_length(case: Case, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        case.approve(**change)


def test_no_fault_is_injected_unless_it_is_asked_for() -> None:
    assert faults_from({}) is None
    assert str(faults_from({"SIDESTEP_FAULT": "kill@freeze:after"})) == "kill@freeze:after"


@pytest.mark.parametrize("text", ["kill", "burn@freeze:after", "kill@freeze", "kill@freeze:later", "kill@:after", "@"])
def test_a_misspelt_fault_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no fault"):
        faults_from({"SIDESTEP_FAULT": text})


async def test_an_environment_fault_strikes_its_point_once() -> None:
    faults = EnvironmentFaults("error@verify:before")
    await faults.at("verify:after")
    with pytest.raises(InjectedFault, match="error@verify:before"):
        await faults.at("verify:before")
    await faults.at("verify:before")
