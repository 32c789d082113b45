"""Answers of the console tests' daemon to what steers plans."""

from __future__ import annotations

from sidestep.autopilot.protocol import Answer, Done, GetPlan, PlanView
from sidestep.autopilot.protocol_control import (
    CancelPlan,
    CancelView,
    ControlRequest,
    Effect,
    HoldAll,
    ReleaseHold,
)
from sidestep.fleet.labels import Label


class ControlAnswers:
    """Remembers what was asked in ``steered``, and does nothing."""

    def __init__(self) -> None:
        self.steered: list[ControlRequest] = []

    async def get_plan(self, request: GetPlan) -> PlanView:
        raise NotImplementedError

    async def steer(self, request: ControlRequest, actor: Label) -> Answer:
        self.steered.append(request)
        match request:
            case HoldAll() | ReleaseHold():
                return Done(Label(f"held by {actor}: {request.reason}"))
            case CancelPlan():
                item = await self.get_plan(GetPlan(request.ref))
                effects = tuple(
                    Effect(id=a.id, shard=a.shard, state="PENDING", will="cancelled", text=Label("does not begin"))
                    for a in item.plan.actions
                )
                return CancelView(
                    number=item.plan.number,
                    digest=item.digest,
                    state="RUNNING" if request.dry else "CANCELLING",
                    done=not request.dry,
                    effects=effects,
                )
        return await self.get_plan(GetPlan(request.ref))
