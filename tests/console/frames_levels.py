"""A daemon whose trust in the autopilot has fallen: the part of the console tests' daemon that says so."""

from __future__ import annotations

from typing import Any

from sidestep.autopilot.protocol import Answer, Done, SetLevel
from sidestep.autopilot.protocol_levels import AutopilotView, LevelRequest, LevelRow, Promote, TrustEvidence
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Reason

#: trust has taken the autopilot down, and offers more again
AUTOPILOT = AutopilotView(
    level="full",
    allowed="advise",
    effective="advise",
    reasons=(Reason("NO_SKILL", Label("forecasts are no better than the last value: skill -0.20, needed 0.00")),),
    offer="semi",
    steady=6,
    steady_needed=5,
    judged=1_700_000_000.0,
    evidence=TrustEvidence(
        forecasts=4200, skill=-0.2, coverage80=0.79, plans=3, succeeded=2, peak_over=0.02, freeze_ratio=None,
        bytes_ratio=1.1,
    ),
    levels=(
        LevelRow(scope="fleet", name=Label(""), level="full", actor=Label("ann"), reason=Label("go")),
        LevelRow(scope="app", name=Label("shop"), level="semi"),
    ),
)  # fmt: skip


class LevelAnswers:
    """Answers what is asked of levels and trust."""

    #: the fleet that is shown
    fleet: Any

    async def set_level(self, request: SetLevel, actor: Label) -> Answer:
        if request.level not in {"off", "shadow", "advise", "semi", "full"}:
            raise UsageError(f"{request.level} is no level")
        self.fleet.level = request.level
        return Done(Label(f"level is {request.level}"))

    async def levels(self, request: LevelRequest, actor: Label) -> Answer:
        if isinstance(request, Promote):
            return Done(Label(f"autopilot trust: advise -> {request.level}, allowed by {actor}"))
        return AUTOPILOT
