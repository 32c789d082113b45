"""The control loop's parts, real but for the oracle and the executor, and a second at a time."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
from world_doubles import FakeTime, scripted_world, settle, shard_sample, small_fleet

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.loop import ControlLoop, Parts
from sidestep.autopilot.loop_approval import Approvals
from sidestep.autopilot.loop_proposals import Proposals
from sidestep.autopilot.loop_runs import Runs
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.inventory import Level, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Basis, Plan, PlanStatus
from sidestep.fleet.snapshot import Snapshot

STEPS = 60
POLICY = Policy(min_duration=3.0, horizon=60.0, settle=20.0, expire=300.0)


class FakeOracle:
    """Says that the first host's demand will be ``peak`` cores, half of it by each of two shards."""

    def __init__(self) -> None:
        self.peak = 0.5
        #: steps until then
        self.ahead = 20
        self.error: Exception | None = None
        self.confidence = "ok"
        self.fallback = ""
        #: whether the chances of the first host's cpu have proved right, and whether it cannot be forecast
        self.proven, self.reactive = True, False
        #: seconds, and snapshots, by which the forecast is behind
        self.behind = 0

    async def forecast(self, snapshot: Snapshot) -> Forecast:
        if self.error is not None:
            raise self.error
        hosts = np.full((3, 2, STEPS, len(LEVELS)), 0.3, dtype=np.float32)
        hosts[:, 1] = 1e8
        hosts[0, 0, self.ahead :] = np.float32(self.peak)
        spread = np.linspace(0.97, 1.03, len(LEVELS), dtype=np.float32)
        shards = np.full((3, 2, STEPS, len(LEVELS)), 0.05, dtype=np.float32)
        shards[:, 1] = 1e7
        shards[:2, 0, self.ahead :] = np.float32(self.peak / 2)
        return Forecast(
            id=f"f{snapshot.number}",
            snapshot=snapshot.number - self.behind,
            time=snapshot.time - self.behind,
            step=1.0,
            model=Label("fake"),
            confidence=self.confidence,
            fallback=Label(self.fallback),
            hosts=hosts * spread,
            shard_mean=shards[..., 4],
            shard_sd=shards[..., 4] * np.float32(0.02),
            chance=np.array([[0.95 if self.peak > 2.5 else 0.01, 0.0], [0.0, 0.0], [0.0, 0.0]], np.float32),
            proven=np.array([[self.proven, False], [False, False], [False, False]]),
            reactive=np.array([[self.reactive, False], [False, False], [False, False]]),
            knots=tuple(range(1, STEPS + 1)),
            shard_knots=shards * spread,
        )


class FakeExecutor:
    """Ends every plan in the state that the test wants, when the test says so."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.ran: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fail = False

    async def run(self, digest: str) -> PlanStatus:
        self.ran.append(digest)
        actor = Label("executor")
        status = self.journal.set_state(digest, PlanState.RUNNING, actor=actor)
        await self.go.wait()
        for action in status.actions:
            self.journal.begin_action(digest, action.id)
            if self.fail:
                self.journal.set_action(digest, action.id, ActionState.ABORTING)
                self.journal.set_action(digest, action.id, ActionState.ABORTED)
            else:
                self.journal.set_action(digest, action.id, ActionState.DONE)
        return self.journal.set_state(digest, PlanState.FAILED if self.fail else PlanState.SUCCEEDED, actor=actor)


class Scene:
    def __init__(self, folder: Path, level: Level = "advise") -> None:
        self.time = FakeTime()
        self.clock = self.time.clock()
        self.journal = Journal(folder / "journal.db", clock=self.clock.wall)
        self.said = io.StringIO()
        self.log = Log(self.journal, stream=self.said)
        fleet = small_fleet(policy=POLICY)
        self.world, self.hosts = scripted_world(fleet, self.time, self.log.told("host"))
        self.journal.adopt({s.name: Owner(s.host, 1) for s in fleet.shards}, Label("test"))
        self.oracle = FakeOracle()
        self.executor = FakeExecutor(self.journal)
        self.runs = Runs(self.journal, self.executor, self.clock, self.log)
        self.approvals = Approvals(self.journal, self.runs, self.clock, self.present)
        self.proposals = Proposals(fleet, self.journal, self.clock)
        parts = Parts(
            fleet=fleet,
            world=self.world,
            oracle=self.oracle,
            journal=self.journal,
            proposals=self.proposals,
            approvals=self.approvals,
            runs=self.runs,
            log=self.log,
            clock=self.clock,
            moving=frozenset,
        )
        self.loop = ControlLoop(parts, level=level)

    def present(self, plan: Plan) -> Basis:
        return self.world.basis(plan, self.journal.placement())

    async def tick(self, count: int = 1, cpu: float = 0.9) -> None:
        """Seconds of the loop, with a sample of every host in each."""
        for _ in range(count):
            self.sample(cpu)
            await self.time.advance(1.0)
            await self.loop.tick()
            await settle()

    def sample(self, cpu: float) -> None:
        shards = [shard_sample(s, cpu=cpu / 3) for s in ("s1", "s2", "s3")]
        for name, host in self.hosts.items():
            host.give(cpu if name == "h1" else 0.3, *(shards if name == "h1" else ()))

    def states(self) -> list[PlanState]:
        """Of all plans, oldest first."""
        return [status.state for _, status in reversed(self.journal.plans())]

    def newest(self) -> tuple[Plan, PlanStatus]:
        return self.journal.plans(1)[0]
