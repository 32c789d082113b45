"""Plans of the lively fleet, in every state that a screen shows."""

from __future__ import annotations

import math

from frames_oracle import START

from sidestep.autopilot.protocol import (
    PlanView,
)  # fmt: skip
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, ActionState, PlanState, StepState
from sidestep.fleet.plans import (
    Action,
    ActionStatus,
    Alternative,
    Basis,
    Evidence,
    Measured,
    Outlook,
    Plan,
    PlanStatus,
    Reason,
    StepStatus,
)

PAST, FUTURE = 90, 60
GIB = 1024.0**3


def make_plan(number: int = 12, *, actions: int = 1, created: float = START, summary: str = "") -> Plan:
    """A plan that moves shards from h2 to h4, with evidence and alternatives."""
    times = tuple(float(k) for k in range(0, FUTURE, 2))
    rising = tuple(0.6 + 0.35 / (1 + math.exp(-(t - 30) / 6)) for t in times)
    evidence = Evidence(
        host=Label("h2"),
        dimension="cpu",
        threshold=0.8,
        quantile=0.8,
        probability=0.83,
        starts_at=created + 31,
        lead=31.0,
        times=times,
        median=tuple(v - 0.05 for v in rising),
        upper=rising,
        upper_after=tuple(v - 0.22 for v in rising),
    )
    made = tuple(
        Action(
            id=k + 1,
            shard=Label(f"shop-{k * 4 + 1:02d}"),
            source=Label("h2"),
            destination=Label("h4"),
            token=3,
            priority=1,
            reason=Reason("contention", Label("h2 is predicted above 80 % of its cpu in 31 s, for longer than 5 s")),
            evidence=evidence if k == 0 else None,
            alternatives=(
                Alternative(Label("h1"), Reason("capacity", Label("would itself run hot")), 0.91),
                Alternative(Label("h3"), Reason("gain", Label("leaves less headroom than h4")), 0.78),
            ),
            bytes=12_400_000,
            transfer_s=1.4,
            freeze_ms=38.0,
            latest_start=created + 24,
            after=(k,) if k else (),
            undo=Label(f"move shop-{k * 4 + 1:02d} back to h2"),
        )
        for k in range(actions)
    )
    return Plan(
        number=number,
        fleet=Label("demo"),
        created=created,
        expires=created + 300,
        author=Label("planner"),
        snapshot=9,
        forecast="f-9",
        policy=Policy(),
        basis=Basis((), ()),
        actions=made,
        outlook=(_outlook("h2", (0.95, 0.73), (0.83, 0.06)), _outlook("h4", (0.41, 0.63), (0.0, 0.01))),
        without_forecast=Label("from present load alone nothing would be planned: no host is above its threshold now"),
        summary=Label(summary or f"move {actions} shard{'s' if actions > 1 else ''} off h2 before it runs hot in 31 s"),
    )


def _outlook(host: str, peak: tuple[float, float], probability: tuple[float, float]) -> Outlook:
    return Outlook(
        host=Label(host),
        dimension="cpu",
        capacity=4.0,
        peak_before=peak[0],
        peak_after=peak[1],
        probability_before=probability[0],
        probability_after=probability[1],
    )


def view_of(plan: Plan, state: PlanState = PlanState.PROPOSED, **status: object) -> PlanView:
    """The plan with a status."""
    digest = plan.digest()
    given = {"updated": plan.created, **status}
    return PlanView(digest, plan, PlanStatus(digest=digest, state=state, **given))  # type: ignore[arg-type]


def running(plan: Plan, done: int, *, failed: bool = False) -> PlanView:
    """The plan with its first action ``done`` steps far."""
    steps = tuple(
        StepStatus(
            name=name,
            state=StepState.DONE if k < done else (StepState.FAILED if failed else StepState.RUNNING) if k == done
            else StepState.PENDING,
            ms=3.0 + k * 11.5 if k < done else 0.0,
            detail=Label("12.4 MB in 2 rounds" if name == "precopy" else ""),
        )
        for k, name in enumerate(MOVE_STEPS)
    )  # fmt: skip
    first = ActionStatus(id=1, state=ActionState.RUNNING, steps=steps, bytes=12_400_000, freeze_ms=41.0)
    return view_of(plan, PlanState.RUNNING, actions=(first,), approved_by=Label("ana"), updated=plan.created + done)


def succeeded(plan: Plan) -> PlanView:
    """The plan, done, with what was measured."""
    steps = tuple(StepStatus(name=name, state=StepState.DONE, ms=7.0 + k) for k, name in enumerate(MOVE_STEPS))
    first = ActionStatus(id=1, state=ActionState.DONE, steps=steps, bytes=12_400_000, freeze_ms=41.0)
    outcome = (
        Measured(host=Label("h2"), dimension="cpu", predicted_without=0.95, predicted_with=0.73, measured=0.71),
        Measured(host=Label("h4"), dimension="cpu", predicted_without=0.41, predicted_with=0.63, measured=0.66),
    )
    done = {"actions": (first,), "approved_by": Label("ana"), "updated": plan.created + 40, "outcome": outcome}
    return view_of(plan, PlanState.SUCCEEDED, **done)
