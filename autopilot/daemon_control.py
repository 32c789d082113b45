"""What the daemon does about plans that run, on request: pause, resume, cancel, hold, release."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from sidestep.autopilot.executor_control import PlanControl
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.hold import HoldWatch
from sidestep.autopilot.protocol import Answer, Done, PlanView
from sidestep.autopilot.protocol_control import (
    CancelPlan,
    CancelView,
    ControlRequest,
    HoldAll,
    PausePlan,
    ReleaseHold,
    ResumePlan,
    UndoPlan,
)
from sidestep.autopilot.server_service import UnknownReference
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import PlanStatus
from sidestep.fleet.resources import REPORTED

_LONGEST_REASON: Final = 500
#: the columns of pressure, each with a threshold of the policy
_PRESSURES: Final = ("cpu", "memory", "io")
_LATENCY: Final = REPORTED.index("latency_p95")


@dataclass(kw_only=True)
class ControlDesk:
    """Answers the requests of ``protocol_control``; every method may raise SidestepError."""

    control: PlanControl
    #: the newest picture, once somebody makes them
    picture: Callable[[], Picture | None] = field(default=lambda: None, init=False)

    async def answer(self, request: ControlRequest, actor: Label) -> Answer:
        """One answer."""
        reason, control = scrub(request.reason, _LONGEST_REASON), self.control
        match request:
            case PausePlan():
                return self._view(control.pause(self._digest(request.ref), actor=actor, reason=reason))
            case ResumePlan():
                return self._view(control.resume(self._digest(request.ref), actor=actor, reason=reason))
            case CancelPlan():
                return self._cancel(request, actor, reason)
            case UndoPlan():
                made = control.executor.undo(self._digest(request.ref), author=actor, reason=reason)
                return self._view(made)
            case HoldAll():
                return Done(scrub(control.hold_all(actor=actor, reason=reason), 2 * _LONGEST_REASON))
            case ReleaseHold():
                return Done(scrub(control.release(actor=actor, reason=reason), 2 * _LONGEST_REASON))

    @contextmanager
    def watched(self, picture: Callable[[], Picture | None]) -> Iterator[ControlDesk]:
        """Hear SIGUSR1 and see the hold file, and know the newest picture, until the end."""
        loop, self.picture = asyncio.get_running_loop(), picture

        def told(why: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nothing begins any more
                loop.call_soon_threadsafe(self.control.told, why)

        watch = HoldWatch(self.control.hold, told)
        watch.start()
        try:
            yield self
        finally:
            watch.stop()

    def strain(self, host: str) -> str:
        """Why that host should have less to do, by the newest picture; or ""."""
        picture = self.picture()
        return strain_in(picture, host) if picture is not None else ""

    def notices(self) -> tuple[Label, ...]:
        """What every screen has to say of the hold."""
        why = self.control.hold.why()
        return (scrub(f"{why}; nothing new begins until: sidestep release", 2 * _LONGEST_REASON),) if why else ()

    def _cancel(self, request: CancelPlan, actor: Label, reason: str) -> CancelView:
        journal, digest = self.control.journal, self._digest(request.ref)
        if request.dry:
            effects = self.control.effects(digest)
        else:
            effects = self.control.cancel(digest, actor=actor, reason=reason)
        plan, status = journal.plan(digest)
        return CancelView(number=plan.number, digest=digest, state=status.state, done=not request.dry, effects=effects)

    def _digest(self, ref: str) -> str:
        try:
            return self.control.journal.find(ref.lstrip("#"))[1].digest
        except UsageError as error:
            raise UnknownReference(str(error.args[0]), hint=error.hint) from error

    def _view(self, status: PlanStatus) -> PlanView:
        plan, _ = self.control.journal.plan(status.digest)
        return PlanView(status.digest, plan, status)


def strain_in(picture: Picture, host: str) -> str:
    """Why a host should have less to do, or "": tasks stand still, or its shards answer slowly."""
    limits, hosts, shards = picture.policy, picture.snapshot.hosts, picture.snapshot.shards
    if host not in hosts.names:
        return ""
    row = hosts.names.index(Label(host))
    for column, what in enumerate(_PRESSURES):
        pressure = float(hosts.pressure[row, column]) / 100.0
        most = float(getattr(limits, f"threshold_psi_{what}"))
        if most and math.isfinite(pressure) and pressure > most:
            return f"tasks stand still for {what} {pressure:.0%} of the time (at most {most:.0%})"
    if not limits.split_latency or not len(shards.reported):
        return ""
    slow = np.where(shards.host == row, np.nan_to_num(shards.reported[:, _LATENCY]), 0.0)
    if slow.max(initial=0.0) <= limits.split_latency:
        return ""
    at = int(slow.argmax())
    return f"{shards.names[at]} answers in {slow[at] * 1e3:.0f} ms (at most {limits.split_latency * 1e3:.0f} ms)"
