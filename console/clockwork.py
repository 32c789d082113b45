"""Which picture is shown: the newest, a frozen one, or the one that is predicted for a later time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.protocol_levels import AutopilotView, GetAutopilot
from sidestep.console import timeline
from sidestep.console.context import Context, Picture, picture
from sidestep.console.settling import Settling
from sidestep.console.view import FleetView
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import PlanState

#: plans that may still run: the ones whose effect can be looked at
_AHEAD: Final = frozenset(
    {PlanState.PROPOSED, PlanState.APPROVED, PlanState.SCHEDULED, PlanState.RUNNING, PlanState.PAUSED}
)
_TRUST_EVERY: Final = 15.0
_KEPT: Final = 4


class Clockwork:
    """The time that is looked at, and the plan that is taken to have run by then."""

    def __init__(self, given: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._given, self._clock = given, clock
        self._frozen: Picture | None = None
        self._settling = Settling()
        self._made: dict[tuple[int, float, str], tuple[FleetView, FleetView]] = {}
        self.ahead = 0.0
        self.with_plan = False
        #: the digest of the plan that the timeline and the maps are about; "" is the newest that may still run
        self.chosen = ""
        self._trust, self._asked = "", -1e9

    def picture(self) -> Picture:
        """What the screens show in this beat."""
        newest = picture(self._given)
        if newest.present is not None:
            self._settling.look(newest.present.shards)
        if self._frozen is not None:
            newest = msgspec.structs.replace(self._frozen, status=newest.status, age=newest.age)
        item = self._plan(newest)
        newest = msgspec.structs.replace(newest, chosen=item, with_plan=self.with_plan and item is not None)
        newest = msgspec.structs.replace(newest, trust=self._trust)
        view = newest.present
        if view is None or not (self.ahead or newest.with_plan):
            return newest
        shown = self.predicted(view, self.ahead, item if newest.with_plan else None)
        return msgspec.structs.replace(newest, view=shown, ahead=shown.ahead)

    def predicted(self, view: FleetView, ahead: float, item: PlanView | None) -> FleetView:
        """The view at a later time; made once for the same picture, time and plan."""
        key = (view.frame.number, ahead, item.digest if item is not None else "")
        made = self._made.get(key)
        if made is None or made[0] is not view:
            made = (view, timeline.predicted(view, ahead, item))
            self._made[key] = made
            while len(self._made) > _KEPT:
                del self._made[next(iter(self._made))]
        return made[1]

    def _plan(self, newest: Picture) -> PlanView | None:
        ahead = [item for item in newest.plans if item.status.state in _AHEAD]
        return next((item for item in ahead if item.digest == self.chosen), ahead[0] if ahead else None)

    def freeze(self) -> None:
        """Keep the picture still, or let it go on."""
        self._frozen = None if self._frozen else msgspec.structs.replace(picture(self._given), frozen=True)

    def step(self, by: int) -> str:
        """Move the cursor; returns why that cannot be done, or ""."""
        view = self.picture().present
        if view is None or timeline.reach(view) <= 0:
            return "there is no forecast to move into yet"
        self.ahead = timeline.stepped(view, self.ahead, by)
        return ""

    def present(self) -> str:
        """Back to the present, and to what is without any plan."""
        self.ahead, self.with_plan = 0.0, False
        return ""

    def toggle_plan(self) -> str:
        """Take the selected plan to have run, or not; returns why that cannot be done, or ""."""
        if not self.with_plan and self._plan(self.picture()) is None:
            return "there is no plan that may still run"
        self.with_plan = not self.with_plan
        return ""

    def wants_trust(self) -> bool:
        """Whether it is time to ask what trust allows."""
        live = self._given.feed.status.kind == "live"
        if not live or self._clock() - self._asked < _TRUST_EVERY:
            return False
        self._asked = self._clock()
        return True

    async def ask_trust(self) -> None:
        """Ask what trust allows; what was said before stays if nobody answers."""
        try:
            answer = await self._given.feed.call(GetAutopilot())
        except SidestepError:
            return
        if isinstance(answer, AutopilotView):
            self._trust = answer.allowed
