"""Answers of the console tests' daemon to what steers plans."""

from __future__ import annotations

from frames_functions import FUNCTIONS
from frames_pools import POOLS
from msgspec.structs import replace

from sidestep.autopilot.protocol import Answer, Done, GetPlan, PlanView
from sidestep.autopilot.protocol_capsules import CapsuleList, GetCapsules, ScrubCapsules
from sidestep.autopilot.protocol_control import (
    CancelPlan,
    CancelView,
    ControlRequest,
    DeclareOff,
    Effect,
    HoldAll,
    ReleaseHold,
)
from sidestep.autopilot.protocol_failover import ClearPoison, GetLosses, LossesView
from sidestep.autopilot.protocol_functions import ListFunctions
from sidestep.autopilot.protocol_hosts import (
    CordonHosts,
    DrainHosts,
    GetHostOrders,
    HostOrders,
    UncordonHosts,
)
from sidestep.autopilot.protocol_instance import GetInstance
from sidestep.autopilot.protocol_pools import DrillPool, ListPools
from sidestep.autopilot.protocol_queue import QueueView
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet.labels import Label


class ControlAnswers:
    """Remembers what was asked in ``steered``, and does nothing."""

    def __init__(self) -> None:
        self.steered: list[ControlRequest] = []
        self.losses = LossesView()
        self.capsules = CapsuleList(rows=())
        self.orders = HostOrders(rows=())
        self.queue = QueueView(rows=())
        self.pools = POOLS
        self.functions = FUNCTIONS

    async def get_plan(self, request: GetPlan) -> PlanView:
        raise NotImplementedError

    async def list_queue(self) -> Answer:
        return self.queue

    async def get_instance(self, request: GetInstance) -> Answer:
        raise UnknownReference(f"no app is called {request.app}")

    async def steer(self, request: ControlRequest, actor: Label) -> Answer:
        if isinstance(request, GetLosses):
            return self.losses
        if isinstance(request, GetCapsules):
            return self.capsules
        if isinstance(request, GetHostOrders):
            return self.orders
        if isinstance(request, ListFunctions):
            return self.functions
        if isinstance(request, ListPools):
            found = tuple(pool for pool in self.pools.pools if request.name in ("", pool.name))
            if request.name and not found:
                raise UnknownReference(f"there is no pool {request.name}")
            return replace(self.pools, pools=found)
        self.steered.append(request)
        match request:
            case ClearPoison():
                return Done(Label(f"{request.shard} may start again"))
            case CordonHosts() | DrainHosts() | UncordonHosts():
                said = Label(f"{type(request).__name__}: {', '.join(request.hosts)}")
                return HostOrders(rows=self.orders.rows, text=said)
            case DrillPool():
                return Done(Label(f"pool {request.name}: web-5 on h2 is woken"))
            case ScrubCapsules():
                return Done(Label(f"reading copies of {request.shard or 'all'}"))
            case DeclareOff():
                return Done(Label(f"{request.host} is taken to be off"))
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
