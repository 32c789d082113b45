"""Levels and trust as peers and screens are shown them. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from sidestep.autopilot.frames import Picture
from sidestep.autopilot.levels_governor import Governor
from sidestep.autopilot.levels_shadow import Shade
from sidestep.autopilot.protocol_levels import AutopilotView, LevelRow, ShadowRow, TrustEvidence

#: plans of level shadow that are told
SHOWN: Final = 50


def autopilot_view(governor: Governor) -> AutopilotView:
    """Everything about how far the autopilot may go."""
    state = governor.gate.state
    return AutopilotView(
        level=governor.level,
        allowed=state.allowed,
        effective=governor.effective,
        reasons=state.reasons,
        offer=state.proposed,
        steady=state.steady,
        steady_needed=governor.gate.terms.steady,
        judged=state.since,
        evidence=TrustEvidence(**msgspec.structs.asdict(state.evidence)),
        shadow=tuple(map(_shadow, reversed(governor.shadow.rows[-SHOWN:]))),
        levels=tuple(LevelRow(**msgspec.structs.asdict(row)) for row in governor.levels.rows()),
    )


def _shadow(row: Shade) -> ShadowRow:
    return ShadowRow(
        plan=row.number,
        digest=row.digest,
        at=row.at,
        actions=row.actions,
        against=row.against,
        end=row.end,
        measured=row.measured,
        came=row.came,
    )


def with_notices(picture: Picture, governor: Governor) -> Picture:
    """The picture that also says what people have to know of trust."""
    notices = governor.notices()
    return replace(picture, alerts=(*picture.alerts, *notices)) if notices else picture
