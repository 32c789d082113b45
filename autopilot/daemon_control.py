"""What the daemon does about plans that run, on request: pause, resume, cancel, hold, release."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from sidestep.autopilot.capsules.desk import CapsuleDesk
from sidestep.autopilot.executor_control import PlanControl
from sidestep.autopilot.failover.desk import losses_view
from sidestep.autopilot.failover.watch import LossWatch
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.hold import HoldWatch
from sidestep.autopilot.host_orders import OrderBook
from sidestep.autopilot.protocol import Answer, Done, PlanView
from sidestep.autopilot.protocol_capsules import GetCapsules, ScrubCapsules
from sidestep.autopilot.protocol_control import (
    CancelPlan,
    CancelView,
    ControlRequest,
    DeclareOff,
    HoldAll,
    PausePlan,
    ReleaseHold,
    ResumePlan,
    UndoPlan,
)
from sidestep.autopilot.protocol_failover import ClearPoison, GetLosses
from sidestep.autopilot.protocol_functions import FunctionsView, ListFunctions
from sidestep.autopilot.protocol_hosts import HostRequest
from sidestep.autopilot.protocol_pools import PoolRequest
from sidestep.autopilot.server_service import UnknownReference
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.functionruns import FunctionRun
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import PlanStatus
from sidestep.fleet.resources import REPORTED

if TYPE_CHECKING:
    from sidestep.autopilot.pool.desk import PoolDesk

_LONGEST_REASON: Final = 500
#: answered without a plan in sight
_OfHosts = GetLosses | GetCapsules | ScrubCapsules | HostRequest | PoolRequest | ListFunctions
#: the columns of pressure, each with a threshold of the policy
_PRESSURES: Final = ("cpu", "memory", "io")
_LATENCY: Final = REPORTED.index("latency_p95")


@dataclass(kw_only=True)
class ControlDesk:
    """Answers the requests of ``protocol_control``; every method may raise SidestepError."""

    control: PlanControl
    #: takes a person's word that a host is off; None takes it from nobody
    declare_off: Callable[..., str] | None = None
    #: who knows which hosts are lost
    losses: LossWatch | None = None
    #: who keeps capsules for the day on which a host is lost
    capsules: CapsuleDesk | None = None
    #: takes orders about hosts; None takes none
    orders: OrderBook | None = None
    #: keeps pools of instances; None keeps none
    pools: PoolDesk | None = None
    #: functions that run on hosts, by what those who run them say; unix time
    functions: Callable[[], tuple[FunctionRun, ...]] = tuple
    wall: Callable[[], float] = time.time
    #: the newest picture, once somebody makes them
    picture: Callable[[], Picture | None] = field(default=lambda: None, init=False)

    async def answer(self, request: ControlRequest, actor: Label) -> Answer:
        """One answer."""
        if isinstance(request, _OfHosts):
            return self._of_hosts(request, actor)
        reason, control = scrub(request.reason, _LONGEST_REASON), self.control
        match request:
            case ClearPoison():
                said = self._watch().clear(request.shard, actor=actor, reason=reason)
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
                said = control.hold_all(actor=actor, reason=reason)
            case ReleaseHold():
                said = control.release(actor=actor, reason=reason)
            case DeclareOff():
                if self.declare_off is None:
                    raise SidestepError("this daemon keeps no leases", hint="restart it with this release")
                said = self.declare_off(request.host, actor=actor, reason=reason)
        return Done(scrub(said, 2 * _LONGEST_REASON))

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

    def _of_hosts(self, request: _OfHosts, actor: Label) -> Answer:
        if isinstance(request, HostRequest):
            if self.orders is None:
                raise SidestepError("this daemon takes no orders about hosts", hint="restart it with this release")
            return self.orders.answer(request, actor)
        if isinstance(request, PoolRequest):
            if self.pools is None:
                raise SidestepError("this daemon keeps no pools", hint="restart it with this release")
            return self.pools.answer(request, actor)
        if isinstance(request, ListFunctions):
            return FunctionsView(time=self.wall(), runs=self.functions())
        if isinstance(request, GetLosses):
            return losses_view(self._watch())
        if self.capsules is None:
            raise SidestepError("this daemon keeps no capsules", hint="restart it with this release")
        return self.capsules.answer(request, actor)

    def _watch(self) -> LossWatch:
        if self.losses is None:
            raise SidestepError("nobody here gives up hosts", hint="restart the daemon with this release")
        return self.losses

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
