"""A service that remembers what it was asked, and pictures of any size, for the socket's tests."""

from __future__ import annotations

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
    HostStrings,
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
from sidestep.autopilot.protocol_control import ControlRequest
from sidestep.autopilot.protocol_levels import LevelRequest
from sidestep.autopilot.protocol_plans import Planning, PlanRequest
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet.errors import SidestepError, StalePlan
from sidestep.fleet.labels import Label


def picture(number: int, size: int = 0, *, tables: int = 1, hosts: tuple[HostStrings, ...] = ()) -> SnapshotFrame:
    """A picture with ``size`` bytes of past, and the tables of that number."""
    return SnapshotFrame(
        number=number, time=float(number), generation=1, level="advise", lag=0.0, oracle=Label(""),
        model=Label("trend"), confidence="ok", tables=tables, hosts=hosts, shards=(), allocatable=b"",
        shard_priority=b"", host_state=b"", reasons={}, use=b"", age=b"", shard_state=b"", shard_host=b"",
        shard_use=b"", shard_bytes=b"", past=b"\0" * size, past_steps=0, past_step=1.0, future=b"",
        future_steps=0, future_step=1.0, risk=b"", threshold_cpu=0.8, threshold_memory=0.85,
    )  # fmt: skip


class FakeService:
    """Answers every request of the protocol and writes down who asked what."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, str]] = []
        self.newest: SnapshotFrame | None = None

    def welcome(self, actor: Label) -> Welcome:
        return Welcome(
            version=VERSION,
            daemon="0",
            fleet=Label("f"),
            level="advise",
            banner=Label(""),
            notice=Label(""),
            pid=1,
            actor=actor,
        )

    def frame(self) -> SnapshotFrame | None:
        return self.newest

    async def list_plans(self, request: ListPlans) -> PlanList:
        return PlanList(())

    async def get_plan(self, request: GetPlan) -> PlanView:
        raise UnknownReference(f"no plan {request.ref}", hint="see: sidestep plan list")

    async def approve(self, request: Approve, actor: Label) -> Answer:
        self.asked.append((request, actor))
        raise StalePlan(7, ("shard s1: was on h1 (token 3), now on h2 (token 9)",))

    async def reject(self, request: Reject, actor: Label) -> Answer:
        raise SidestepError("plan 7 is RUNNING and cannot be rejected")

    async def propose_move(self, request: ProposeMove, actor: Label) -> PlanView:
        raise RuntimeError("a bug")

    async def set_level(self, request: SetLevel, actor: Label) -> Answer:
        self.asked.append((request, actor))
        return Done(Label(f"level {request.level}"))

    async def steer(self, request: ControlRequest, actor: Label) -> Answer:
        self.asked.append((request, actor))
        return Done()

    async def levels(self, request: LevelRequest, actor: Label) -> Answer:
        self.asked.append((request, actor))
        return Done()

    async def retry(self, request: Retry, actor: Label) -> Answer:
        self.asked.append((request, actor))
        return Done()

    async def get_demand(self, request: GetDemand) -> DemandList:
        return DemandList(('{"a":1}',))

    async def planning(self, request: PlanRequest, actor: Label) -> Answer:
        self.asked.append((request, actor))
        return Planning(job=1, state="queued", elapsed=0.0)

    async def get_log(self, request: GetLog) -> EventList:
        return EventList(())

    async def shutdown(self, actor: Label) -> Answer:
        return Done()
