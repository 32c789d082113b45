"""What the daemon's socket needs of whoever answers, and which request goes where."""

from __future__ import annotations

import pwd
from typing import Protocol, get_args

from sidestep.autopilot.protocol import (
    Answer,
    Approve,
    Body,
    DemandList,
    EventList,
    Failure,
    GetDemand,
    GetLog,
    GetPlan,
    GetSnapshot,
    Hello,
    ListPlans,
    PlanList,
    PlanView,
    ProposeMove,
    Reject,
    Retry,
    SetLevel,
    Shutdown,
    SnapshotFrame,
    Welcome,
)
from sidestep.autopilot.protocol_control import ControlRequest
from sidestep.autopilot.protocol_instance import GetInstance
from sidestep.autopilot.protocol_levels import LevelRequest
from sidestep.autopilot.protocol_locks import LockRequest
from sidestep.autopilot.protocol_oracle import OracleRequest
from sidestep.autopilot.protocol_plans import PlanRequest
from sidestep.autopilot.protocol_queue import ListQueue
from sidestep.autopilot.protocol_replay import ReplayView, Seek
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.fleet.errors import ProtocolError, SidestepError, StalePlan, TooEarly, UsageError
from sidestep.fleet.labels import Label, scrub

_OF_THE_ORACLE = get_args(OracleRequest)
_OF_THE_PLANNER = get_args(PlanRequest)
_OF_LEVELS = get_args(LevelRequest)
_OF_CONTROL = get_args(ControlRequest)
_OF_LOCKS = get_args(LockRequest)


class UnknownReference(UsageError):
    """A plan, shard, host or app that does not exist was asked for."""


class Service(Protocol):
    """What the daemon can do for a peer; every method may raise SidestepError."""

    def welcome(self, actor: Label) -> Welcome:
        """Who answers."""
        ...

    def frame(self) -> SnapshotFrame | None:
        """The newest picture; None before there is one."""
        ...

    async def list_plans(self, request: ListPlans) -> PlanList:
        """The newest plans."""
        ...

    async def get_plan(self, request: GetPlan) -> PlanView:
        """One plan. Raises UnknownReference."""
        ...

    async def approve(self, request: Approve, actor: Label) -> Answer:
        """Check, approve, and start the plan; answers before it has run."""
        ...

    async def reject(self, request: Reject, actor: Label) -> Answer:
        """Refuse a proposed plan."""
        ...

    async def propose_move(self, request: ProposeMove, actor: Label) -> PlanView:
        """An operator's own plan."""
        ...

    async def propose_reshard(self, request: ProposeReshard, actor: Label) -> PlanView:
        """An operator's own split or merge."""
        ...

    async def propose_resize(self, request: ProposeResize, actor: Label) -> PlanView:
        """An operator's own resize."""
        ...

    async def set_level(self, request: SetLevel, actor: Label) -> Answer:
        """Set the automation level."""
        ...

    async def steer(self, request: ControlRequest, actor: Label) -> Answer:
        """Whatever steers plans that run, and the hold of everything."""
        ...

    async def levels(self, request: LevelRequest, actor: Label) -> Answer:
        """How far the autopilot may go."""
        ...

    async def app_locks(self, request: LockRequest, actor: Label) -> Answer:
        """The locks that apps hold."""
        ...

    async def get_instance(self, request: GetInstance) -> Answer:
        """One app over all of its shards."""
        ...

    async def list_queue(self) -> Answer:
        """Who waits for a host."""
        ...

    async def retry(self, request: Retry, actor: Label) -> Answer:
        """Try hosts again that refused us."""
        ...

    async def get_demand(self, request: GetDemand) -> DemandList:
        """Demand vectors."""
        ...

    async def oracle(self, request: OracleRequest, actor: Label) -> Answer:
        """Whatever is asked of the oracle, or told it."""
        ...

    async def planning(self, request: PlanRequest, actor: Label) -> Answer:
        """Whatever is asked of the planner."""
        ...

    async def get_log(self, request: GetLog) -> EventList:
        """Journal rows."""
        ...

    async def shutdown(self, actor: Label) -> Answer:
        """End the daemon, after this answer."""
        ...


def failure_of(error: SidestepError) -> Failure:
    """What a peer is told of an error."""
    differences: tuple[Label, ...] = ()
    if isinstance(error, StalePlan):
        code, differences = "stale", tuple(scrub(line) for line in error.differences)
    elif isinstance(error, UnknownReference):
        code = "unknown"
    elif isinstance(error, UsageError):
        code = "usage"
    elif isinstance(error, TooEarly):
        code = "early"
    else:
        code = "protocol" if isinstance(error, ProtocolError) else "state"
    return Failure(code=code, message=scrub(str(error.args[0]), 2000), hint=error.hint, differences=differences)


def actor_of(uid: int) -> Label:
    """The name under which a user's decisions are recorded."""
    try:
        return scrub(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return scrub(f"uid {uid}")


async def answer(service: Service, body: Body, actor: Label) -> Answer:  # noqa: PLR0911, PLR0912 - one line a request
    """What the service answers to one request of ``actor``. Raises SidestepError."""
    match body:
        case Hello():
            return service.welcome(actor)
        case GetSnapshot():
            return service.frame() or Failure(code="early", message=scrub("there is no picture of the fleet yet"))
        case ListPlans():
            return await service.list_plans(body)
        case GetPlan():
            return await service.get_plan(body)
        case Approve():
            return await service.approve(body, actor)
        case Reject():
            return await service.reject(body, actor)
        case ProposeReshard():
            return await service.propose_reshard(body, actor)
        case ProposeResize():
            return await service.propose_resize(body, actor)
        case ProposeMove():
            return await service.propose_move(body, actor)
        case SetLevel():
            return await service.set_level(body, actor)
        case Retry():
            return await service.retry(body, actor)
        case GetDemand():
            return await service.get_demand(body)
        case GetLog():
            return await service.get_log(body)
        case ListQueue():
            return await service.list_queue()
        case GetInstance():
            return await service.get_instance(body)
        case Shutdown():
            return await service.shutdown(actor)
        case Seek():
            replay = getattr(service, "replay", None)
            if replay is None:
                raise UsageError("this daemon is no recording", hint="open one with sidestep replay")
            answered: ReplayView = await replay(body)
            return answered
    if isinstance(body, _OF_THE_ORACLE):
        return await service.oracle(body, actor)
    if isinstance(body, _OF_THE_PLANNER):
        return await service.planning(body, actor)
    if isinstance(body, _OF_CONTROL):
        return await service.steer(body, actor)
    if isinstance(body, _OF_LOCKS):
        return await service.app_locks(body, actor)
    if isinstance(body, _OF_LEVELS):
        return await service.levels(body, actor)
    raise ProtocolError(f"{type(body).__name__} is not answered here")
