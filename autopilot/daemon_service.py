"""What the daemon does for its peers: the requests of the protocol, one method each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace as with_fields

from sidestep import __version__
from sidestep.autopilot.approval_refresh import refreshed
from sidestep.autopilot.approval_signed import signed
from sidestep.autopilot.daemon_control import ControlDesk
from sidestep.autopilot.daemon_demand import demand_vectors
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_operator import Asked, Proposal
from sidestep.autopilot.daemon_oracle import Calendar, Guesses, OracleDesk, Scores, Trainer
from sidestep.autopilot.daemon_planning import PlanDesk
from sidestep.autopilot.frames import Picture, frame_of
from sidestep.autopilot.instance import instance
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.levels import scope_of
from sidestep.autopilot.levels_view import autopilot_view
from sidestep.autopilot.locks.desk import LockDesk
from sidestep.autopilot.loop import ControlLoop
from sidestep.autopilot.loop_approval import Approvals
from sidestep.autopilot.protocol import (
    VERSION,
    Answer,
    Approve,
    DemandList,
    Done,
    EventList,
    GetDemand,
    GetLog,
    GetPlan,
    ListPlans,
    PlanList,
    PlanView,
    ProposeMove,
    Reject,
    Retry,
    SetLevel,
    SnapshotFrame,
    Welcome,
)
from sidestep.autopilot.protocol_control import ControlRequest, HoldAll, ReleaseHold
from sidestep.autopilot.protocol_failover import GetLosses
from sidestep.autopilot.protocol_hosts import HostRequest
from sidestep.autopilot.protocol_instance import GetInstance
from sidestep.autopilot.protocol_levels import LevelRequest, Promote, RefreshPlan
from sidestep.autopilot.protocol_locks import LockRequest
from sidestep.autopilot.protocol_oracle import HostRoundTrips, OracleRequest
from sidestep.autopilot.protocol_plans import PlanRequest
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.autopilot.queue.desk import view
from sidestep.autopilot.server import UnknownReference
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError, TooEarly, UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Plan, PlanStatus

#: why a daemon that has just started begins nothing
STARTING: Final = "the daemon has just started and still looks at the hosts"
#: what may be asked for before the fleet was looked at: it begins nothing
_AT_ONCE = HoldAll | ReleaseHold | GetLosses | HostRequest
#: rows that one request may ask for
MOST_PLANS: Final = 500
MOST_EVENTS: Final = 5000
LONGEST_REASON: Final = 500


@dataclass(kw_only=True)
class DaemonService:
    """Implements ``server.Service`` over the daemon's parts; ``stop`` ends the daemon.

    ``again`` tries the host of that name again if it refused us, or all that did, and returns how many.
    """

    fleet: FleetSpec
    journal: Journal
    loop: ControlLoop
    approvals: Approvals
    log: Log
    clock: Clock
    stop: Callable[[], None]
    again: Callable[[str], int]
    #: what is kept for the oracle; None is not kept
    calendar: Calendar | None = None
    scores: Scores | None = None
    trainer: Trainer | None = None
    coming: Guesses | None = None
    #: what answers questions to the planner; None answers none
    desk: PlanDesk | None = None
    round_trips: Callable[[], tuple[HostRoundTrips, ...]] = tuple
    #: what steers plans that run; None steers none
    steering: ControlDesk | None = None
    #: the locks of apps; None serves none
    locks: LockDesk | None = None
    #: why nothing new may be asked for yet; "" once the fleet was looked at
    starting: str = ""

    def switch(self, fleet: FleetSpec) -> None:
        """Answer by another fleet file from now on."""
        self.fleet = fleet

    def welcome(self, actor: Label) -> Welcome:
        """Who answers."""
        return Welcome(
            version=VERSION,
            daemon=__version__,
            fleet=self.fleet.name,
            level=self.loop.governor.effective,
            banner=self.fleet.banner,
            notice=self.fleet.notice,
            pid=os.getpid(),
            actor=actor,
        )

    def frame(self) -> SnapshotFrame | None:
        """The newest picture; None before the first tick."""
        if self.loop.picture is None:
            return None
        frame, said = frame_of(self.loop.picture), self.steering.notices() if self.steering else ()
        if self.starting:
            said = (*said, scrub(f"{self.starting}; nothing new begins before that"))
        return with_fields(frame, alerts=(*frame.alerts, *said)) if said else frame

    async def list_plans(self, request: ListPlans) -> PlanList:
        """The newest plans."""
        found = self.journal.plans(_bounded("limit", request.limit, MOST_PLANS))
        picture = self.loop.picture
        return PlanList(tuple(_view(p, s) for p, s in found), picture.no_plan if picture else None)

    async def get_plan(self, request: GetPlan) -> PlanView:
        """One plan. Raises UnknownReference."""
        return _view(*self._find(request.ref))

    async def approve(self, request: Approve, actor: Label) -> Answer:
        """Check, approve, and start the plan; answers before it has run."""
        self._begun()
        self._find(request.digest)
        wanted, who = await signed(request, actor, self.fleet, self.clock.wall())
        plan = self.approvals.approve(
            wanted.digest,
            actor=who,
            reason=_reason(wanted.reason),
            skip=wanted.skip,
            outside=_reason(wanted.outside),
        )
        self.log.mirror()
        left_out = f" without actions {', '.join(map(str, sorted(set(wanted.skip))))}" if wanted.skip else ""
        return Done(scrub(f"plan {plan.number} is approved by {who}{left_out} and runs"))

    async def reject(self, request: Reject, actor: Label) -> Answer:
        """Refuse a proposed plan."""
        self._find(request.digest)
        plan, _ = self.approvals.reject(request.digest, actor=actor, reason=_reason(request.reason))
        self.log.mirror()
        return Done(scrub(f"plan {plan.number} is rejected by {actor}"))

    async def propose_move(self, request: ProposeMove, actor: Label) -> PlanView:
        """An operator's own plan, in the same journal and under the same rules as the planner's."""
        self._known("host", request.destination, tuple(h.name for h in self.fleet.hosts))
        return self._proposed(request, actor)

    async def propose_reshard(self, request: ProposeReshard, actor: Label) -> PlanView:
        """An operator's own split or merge."""
        return self._proposed(request, actor)

    async def propose_resize(self, request: ProposeResize, actor: Label) -> PlanView:
        """Other limits for a shard, as an operator wants them."""
        return self._proposed(request, actor)

    def _proposed(self, request: Proposal, actor: Label) -> PlanView:
        self._begun()
        self._known("shard", request.shard, tuple(s.name for s in self.fleet.shards))
        asked = Asked(
            picture=self._picture(), fleet=self.fleet, journal=self.journal, created=self.clock.wall(), author=actor,
            reason=_reason(request.reason),
        )  # fmt: skip
        plan = asked.plan(request)
        status = self.journal.add(plan)
        self.log.mirror()
        return _view(plan, status)

    async def set_level(self, request: SetLevel, actor: Label) -> Answer:
        """Set the automation level of the fleet, or of one app, shard or host; it is kept over restarts."""
        governor, reason = self.loop.governor, _reason(request.reason)
        scope = scope_of(request.scope)
        return Done(scrub(governor.set_level(scope, request.name, request.level, actor=actor, reason=reason), 500))

    async def steer(self, request: ControlRequest, actor: Label) -> Answer:
        """Pause, resume, cancel, hold, release."""
        if self.steering is None:
            raise SidestepError("this daemon steers no plans", hint="restart it with this release")
        if not isinstance(request, _AT_ONCE):
            self._begun()
        answer = await self.steering.answer(request, actor)
        self.log.mirror()
        return answer

    async def app_locks(self, request: LockRequest, actor: Label) -> Answer:
        """The locks that apps hold."""
        if self.locks is None:
            raise SidestepError("this daemon serves no locks", hint="its log says why")
        return await self.locks.answer(request, actor)

    async def get_instance(self, request: GetInstance) -> Answer:
        """One app over all of its shards."""
        self._known("app", request.app, tuple(s.app for s in self.fleet.shards))
        fleet, placement = self.journal.sized(self.fleet), self.journal.placement()
        return instance(fleet, request.app, self._picture().snapshot, placement, self.journal.endpoints())

    async def list_queue(self) -> Answer:
        """Who waits for a host, and why."""
        return view(self.fleet, self.journal.queue(), self.clock.wall())

    async def levels(self, request: LevelRequest, actor: Label) -> Answer:
        """How far the autopilot may go, and why; a person takes what trust offers."""
        governor = self.loop.governor
        if isinstance(request, Promote):
            return Done(scrub(governor.promote(request.level, actor=actor, reason=_reason(request.reason)), 500))
        if isinstance(request, RefreshPlan):
            self._begun()
            if self.desk is None:
                raise SidestepError("this daemon plans nothing on demand", hint="restart it with this release")
            return await refreshed(
                self.desk, self._picture(), *self._find(request.ref), actor=actor, reason=_reason(request.reason)
            )
        return autopilot_view(governor)

    async def retry(self, request: Retry, actor: Label) -> Answer:
        """Try refused hosts again, with known hosts, keys and ssh_config as they are now."""
        if request.trusted:
            self.log.act("trust", scrub(f"{request.host} is trusted by {request.trusted}"), actor=actor,
                         subject=request.host, detail=scrub(request.trusted))  # fmt: skip
        try:
            count = self.again(request.host)
        except UsageError:
            if not request.trusted:
                raise
            count = 0  # a jump host, or one that is to be declared yet
        nothing = request.host and not count
        said = f"{request.host} has not refused us" if nothing else f"trying {count} refused hosts again"
        self.log.act("retry", said, actor=actor, subject=request.host, always=True)
        return Done(scrub(said))

    async def get_demand(self, request: GetDemand) -> DemandList:
        """Demand vectors of all apps or one."""
        return DemandList(tuple(vector.encode() for vector in demand_vectors(self._picture(), request)))

    async def oracle(self, request: OracleRequest, actor: Label) -> Answer:
        """Forecasts, models, scores and events."""
        desk = OracleDesk(
            fleet=self.fleet, picture=self._picture, log=self.log, wall=self.clock.wall, calendar=self.calendar,
            scores=self.scores, trainer=self.trainer, coming=self.coming, round_trips=self.round_trips,
        )  # fmt: skip
        answer = await desk.answer(request, actor)
        self.log.mirror()
        return answer

    async def planning(self, request: PlanRequest, actor: Label) -> Answer:
        """Plans on demand, why and why not, hosts for new work."""
        self._begun()
        if self.desk is None:
            raise SidestepError("this daemon answers no questions to the planner", hint="restart it with this release")
        return await self.desk.answer(request, self._picture(), actor)

    async def get_log(self, request: GetLog) -> EventList:
        """Journal rows."""
        limit = _bounded("limit", request.limit, MOST_EVENTS)
        return EventList(self.journal.events(max(-MOST_EVENTS, request.since), limit))

    async def shutdown(self, actor: Label) -> Answer:
        """End the daemon, after this answer; shards keep running."""
        self.log.act("shutdown", "told to end", actor=actor, always=True)
        self.stop()
        return Done(Label("the daemon ends; shards keep running"))

    def _begun(self) -> None:
        """Raises SidestepError while nobody knows yet how the hosts are: a plan would be STALE for that alone."""
        if self.starting:
            raise TooEarly(self.starting, hint="try again in a few seconds; hold works already")

    def _picture(self) -> Picture:
        if self.loop.picture is None:
            raise TooEarly("there is no picture of the fleet yet", hint="try again in a second")
        return self.loop.picture

    def _find(self, ref: str) -> tuple[Plan, PlanStatus]:
        try:
            return self.journal.find(ref)
        except UsageError as error:
            raise UnknownReference(str(error.args[0]), hint=error.hint) from error

    @staticmethod
    def _known(kind: str, name: str, known: tuple[str, ...]) -> None:
        if name not in known:
            shown = ", ".join(known[:20]) + (" ..." if len(known) > 20 else "")
            raise UnknownReference(f"no {kind} {scrub(name)}", hint=f"{kind}s: {shown}")


def _view(plan: Plan, status: PlanStatus) -> PlanView:
    return PlanView(status.digest, plan, status)


def _reason(text: str) -> str:
    return scrub(text, LONGEST_REASON)


def _bounded(name: str, value: int, most: int) -> int:
    if not 0 < value <= most:
        raise UsageError(f"{name} {value}: must be 1 to {most}")
    return value
