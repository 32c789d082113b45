"""A lively synthetic fleet as frames: what the screens are tested on and looked at with (serve_frames.py)."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from frames_control import ControlAnswers
from frames_levels import LevelAnswers
from frames_made import make_plan, running, succeeded, view_of
from frames_oracle import START, OracleAnswers, raw
from frames_plans import PlanAnswers

from sidestep.autopilot.protocol import (
    HOST_STATES,
    SHARD_STATES,
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
    ShardStrings,
    SnapshotFrame,
    Welcome,
)  # fmt: skip
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.autopilot.server import Server, UnknownReference
from sidestep.fleet.demand import Cpu, DemandVector, Granularity, Io, Memory, Quantiles, Resources, instant
from sidestep.fleet.errors import StalePlan
from sidestep.fleet.events import Event
from sidestep.fleet.forecast_types import Account, Contention
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, PlanState, ShardState
from sidestep.fleet.plans import (
    NoPlan,
    Plan,
)
from sidestep.fleet.resources import DIMENSIONS

__all__ = ["START", "Daemon", "Fleet", "lively", "make_plan", "raw", "running", "succeeded", "view_of"]

PAST, FUTURE = 90, 60
GIB = 1024.0**3


def halves(values: list[float]) -> bytes:
    """Values as a column of half floats."""
    return struct.pack(f"<{len(values)}e", *values)


@dataclass
class Fleet:
    """Loads that wander, with host 1 on its way above the threshold."""

    hosts: int = 4
    shards: int = 12
    seed: int = 7
    names: tuple[str, ...] = ()
    #: names of the first shards, and of their apps
    shard_names: tuple[str, ...] = ()
    states: dict[int, str] = field(default_factory=dict)
    level: str = "advise"
    plans: tuple[PlanView, ...] = ()
    no_plan: NoPlan | None = None
    oracle: str = ""
    confidence: str = "ok"
    lag: float = 0.1
    #: gaps, restarts, resets, skew of hosts with something odd
    quality: dict[int, tuple[float, ...]] = field(default_factory=dict)
    #: how far chances may be trusted (cpu, memory); proven where it does not say
    trust: dict[int, tuple[int, int]] = field(default_factory=dict)

    def load(self, host: int, time: float) -> float:
        """A host's cpu, as a fraction of what may be handed out, at any time."""
        random = Random(self.seed * 1009 + host)
        phase, base, swing = random.uniform(0, 6), random.uniform(0.2, 0.5), random.uniform(0.03, 0.12)
        climb = 0.45 / (1 + math.exp(-(time - START - 60) / 15)) if host == 1 else 0.0
        return base + climb + swing * math.sin(time / 19 + phase) + 0.02 * math.sin(time * 1.7 + phase * 3)

    def memory(self, host: int, time: float) -> float:
        """A host's memory, likewise."""
        return 0.3 + 0.05 * (host % 7) + 0.05 * math.sin(time / 40 + host)

    def name(self, host: int) -> Label:
        """A host's name."""
        return Label(self.names[host] if host < len(self.names) else f"h{host + 1}")

    def shard(self, shard: int) -> ShardStrings:
        """A shard's words."""
        name, app = (*self.shard_names, "")[min(shard, len(self.shard_names))] or f"shop-{shard:02d}", "shop"
        return ShardStrings(Label(name), Label(name if shard < len(self.shard_names) else app))

    def frame(self, time: float = START, number: int = 1) -> SnapshotFrame:
        """The picture at ``time``."""
        past: list[float] = []
        future: list[float] = []
        risk: list[float] = []
        use: list[float] = []
        contention: list[Contention] = []
        for h in range(self.hosts):
            for d, load in enumerate((self.load, self.memory)):
                past += [load(h, time - (PAST - 1 - k)) for k in range(PAST)]
                limit = (0.8, 0.85)[d]
                highest, first = 0.0, 0
                for k in range(1, FUTURE + 1):
                    centre, sd = load(h, time + k), 0.012 * math.sqrt(k)
                    future += [centre + z * sd for z in (-1.645, -0.842, 0.0, 0.842, 1.645)]
                    highest = max(highest, 0.5 * math.erfc((limit - centre) / sd / math.sqrt(2)))
                    if not first and centre + 0.842 * sd > limit:
                        first = k
                risk.append(highest)
                if highest >= 0.5 and first:
                    contention.append(
                        Contention(
                            host=self.name(h),
                            dimension=DIMENSIONS[d],
                            probability=highest,
                            starts_at=time + first,
                            lead=float(first),
                            peak=0.9,
                        )
                    )
            use += [self.load(h, time) * 4, self.memory(h, time) * 8 * GIB, 5.0, 5.0, 1e6, 1e6]
        n, sure = self.shards, self.confidence == "ok"
        return SnapshotFrame(
            number=number,
            time=time,
            generation=3,
            level=self.level,
            lag=self.lag,
            oracle=Label(self.oracle),
            model=Label("trend"),
            confidence=self.confidence,
            tables=zlib.crc32(repr((self.hosts, self.shards, self.names, self.shard_names)).encode()),
            hosts=tuple(HostStrings(self.name(h), Label(f"z{h % 3}")) for h in range(self.hosts)),
            shards=tuple(self.shard(s) for s in range(n)),
            allocatable=raw([4.0, 8 * GIB, math.nan, math.nan, math.nan, math.nan] * self.hosts),
            shard_priority=raw([3] * n, "i"),
            host_state=bytes(HOST_STATES.index(HostState(self.states.get(h, "READY"))) for h in range(self.hosts)),
            reasons={h: Label("no sample for 4 s") for h, state in self.states.items() if state != "READY"},
            use=raw(use),
            age=raw([0.4] * self.hosts),
            shard_state=bytes([SHARD_STATES.index(ShardState.RUNNING)]) * n,
            shard_host=raw([float(s % self.hosts).__trunc__() for s in range(n)], "i"),
            shard_use=raw([v for s in range(n) for v in (0.1 + s % 5 / 10, 1e8 + s * 1e7)]),
            shard_bytes=raw([2e6 + s * 3e5 for s in range(n)]),
            past=halves(past),
            past_steps=PAST,
            past_step=1.0,
            future=halves(future),
            future_steps=FUTURE,
            future_step=1.0,
            risk=raw(risk if sure else [math.nan] * len(risk)),
            threshold_cpu=0.8,
            threshold_memory=0.85,
            contention=tuple(sorted(contention, key=lambda c: c.lead)) if sure else (),
            accounts=(Account(model=Label("trend"), skill=0.41, coverage=0.79, scored=1240),),
            plans=self.plans,
            no_plan=self.no_plan,
            trust=bytes(mark for h in range(self.hosts) for mark in self.trust.get(h, (1, 1))),
            quality=raw([v for h in range(self.hosts) for v in self.quality.get(h, (0.0, 0.0, 0.0, 0.01))]),
        )


class Daemon(LevelAnswers, OracleAnswers, PlanAnswers, ControlAnswers):
    """The service behind the real server: answers from a Fleet and remembers what it was told."""

    def __init__(self, path: Path, fleet: Fleet | None = None) -> None:
        OracleAnswers.__init__(self)
        PlanAnswers.__init__(self)
        ControlAnswers.__init__(self)
        self.fleet = fleet or Fleet()
        self.time, self.number = START, 1
        self.approved: list[Approve] = []
        self.rejected: list[Reject] = []
        self.resharded: list[ProposeReshard | ProposeResize] = []
        self.stale: tuple[str, ...] = ()
        self.banner, self.notice = "EMBEDDED", "1 day = 60 s"
        self.events = [
            Event(seq=1, time=START - 9, kind="daemon", text=Label("started in level advise")),
            Event(seq=2, time=START - 2, kind="plan", text=Label("proposed: move 1 shard off h2"), plan=12),
        ]
        self.server = Server(path, self)

    async def __aenter__(self) -> Daemon:
        self.server.claim()
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.aclose()

    def example(self) -> Plan:
        return make_plan(12)

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass and tell every console."""
        self.time, self.number = self.time + seconds, self.number + 1
        self.server.announce()

    def welcome(self, actor: Label) -> Welcome:
        return Welcome(
            version=VERSION, daemon="0.1.0", fleet=Label("demo"), level=self.fleet.level, banner=Label(self.banner),
            notice=Label(self.notice), pid=1, actor=actor,
        )  # fmt: skip

    def frame(self) -> SnapshotFrame | None:
        return self.fleet.frame(self.time, self.number)

    async def list_plans(self, request: ListPlans) -> PlanList:
        return PlanList(self.fleet.plans[: request.limit], self.fleet.no_plan)

    async def get_plan(self, request: GetPlan) -> PlanView:
        for item in self.fleet.plans:
            if request.ref in {str(item.plan.number), item.digest} or item.digest.startswith(request.ref):
                return item
        raise UnknownReference(f"no plan is {request.ref}", hint="see: sidestep plan list")

    async def approve(self, request: Approve, actor: Label) -> Answer:
        self.approved.append(request)
        item = next(item for item in self.fleet.plans if item.digest == request.digest)
        if self.stale:
            raise StalePlan(item.plan.number, self.stale)
        return self._become(view_of(item.plan, PlanState.APPROVED, updated=self.time, approved_by=actor))

    async def reject(self, request: Reject, actor: Label) -> Answer:
        self.rejected.append(request)
        item = next(item for item in self.fleet.plans if item.digest == request.digest)
        return self._become(view_of(item.plan, PlanState.REJECTED, updated=self.time, reason=Label(request.reason)))

    def _become(self, item: PlanView) -> PlanView:
        self.fleet.plans = tuple(item if old.digest == item.digest else old for old in self.fleet.plans)
        self.server.announce()
        return item

    async def propose_move(self, request: ProposeMove, actor: Label) -> PlanView:
        if request.destination not in map(self.fleet.name, range(self.fleet.hosts)):
            raise UnknownReference(f"no host is called {request.destination}")
        item = view_of(make_plan(number=len(self.fleet.plans) + 40, summary=f"move {request.shard}"))
        self.fleet.plans = (item, *self.fleet.plans)
        return item

    async def propose_reshard(self, request: ProposeReshard, actor: Label) -> PlanView:
        self.resharded.append(request)
        if request.shard not in {str(self.fleet.shard(s).name) for s in range(self.fleet.shards)}:
            raise UnknownReference(f"no shard is called {request.shard}")
        item = view_of(make_plan(number=len(self.fleet.plans) + 60, summary=f"{request.kind} {request.shard}"))
        self.fleet.plans = (item, *self.fleet.plans)
        return item

    async def propose_resize(self, request: ProposeResize, actor: Label) -> PlanView:
        self.resharded.append(request)
        item = view_of(make_plan(number=len(self.fleet.plans) + 80, summary=f"resizes {request.shard}"))
        self.fleet.plans = (item, *self.fleet.plans)
        return item

    async def retry(self, request: object, actor: Label) -> Answer:
        return Done(Label("trying 2 refused hosts again"))

    async def get_demand(self, request: GetDemand) -> DemandList:
        vector = DemandVector(
            timestamp=instant(START + request.at),
            application_id=request.app or "shop",
            resources=Resources(
                cpu=Cpu(cores=2.5, percentage=60.0),
                memory=Memory(gb=4, percentage=25.0),
                io=Io(read_ops=10.0, write_ops=0),
            ),
            quantiles=Quantiles(levels=(0.5, 0.9), cpu_cores=(2.0, 2.5), memory_gb=(3.0, 4.0)),
            granularity=Granularity(cpu_cores=request.quantum_cpu) if request.quantum_cpu else None,
        )
        return DemandList((vector.encode(),))

    async def get_log(self, request: GetLog) -> EventList:
        after = request.since if request.since >= 0 else max(0, self.events[-1].seq + request.since)
        return EventList(tuple(event for event in self.events if event.seq > after)[: request.limit])

    async def shutdown(self, actor: Label) -> Answer:
        return Done()


def lively(hosts: int = 4, shards: int = 12) -> Fleet:
    """A fleet with something to see: one proposal, one running, one done, one suspect host."""
    done, moving = make_plan(10, created=START - 240), make_plan(11, created=START - 12)
    plans = (view_of(make_plan(12)), running(moving, 5), succeeded(done))
    return Fleet(hosts=hosts, shards=shards, states={2: "SUSPECT"}, plans=plans)
