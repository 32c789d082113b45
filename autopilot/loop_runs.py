"""Approved plans, run one after the other, and what came of each."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.loop_outcome import OutcomeWatch
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.machines import ActionState, PlanState
from sidestep.fleet.plans import Plan, PlanStatus
from sidestep.fleet.snapshot import Snapshot

#: plans that are read at the start to learn the sizes of states
REMEMBERED: Final = 200
_FAILED: Final = frozenset({PlanState.FAILED, PlanState.PARTIAL})


class Runner(Protocol):
    """The part of the executor that runs plans."""

    async def run(self, digest: str) -> object:
        """Run an approved plan to its end."""
        ...


class Runs:
    """Starts plans, remembers what they touched, and measures their outcome."""

    def __init__(self, journal: Journal, executor: Runner, clock: Clock, log: Log) -> None:
        self._journal, self._executor, self._clock, self._log = journal, executor, clock, log
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._settled: dict[str, float] = {}
        self._outcomes: list[OutcomeWatch] = []
        #: plans in a row that did not succeed
        self.failures = 0
        self.state_bytes: dict[str, float] = {}
        for plan, status in reversed(journal.plans(REMEMBERED)):
            self._learn(plan, status)

    @property
    def running(self) -> bool:
        """Whether a plan runs or waits to run."""
        return bool(self._tasks)

    def start(self, digest: str) -> None:
        """Run an approved plan as soon as no other one runs."""
        task = asyncio.get_running_loop().create_task(self._run(digest), name=f"plan {digest[:12]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def settling(self) -> frozenset[str]:
        """Shards and hosts that an action touched a short while ago: their load has not settled."""
        now = self._clock.monotonic()
        self._settled = {name: until for name, until in self._settled.items() if until > now}
        return frozenset(self._settled)

    def observe(self, snapshot: Snapshot) -> None:
        """Measure plans that ran; writes the outcome of those whose horizon is over."""
        for watch in tuple(self._outcomes):
            if watch.observe(snapshot):
                try:
                    self._journal.set_outcome(watch.digest, watch.outcome())
                except JournalError:
                    continue  # the journal's watch says why; it is written when it can be
                self._outcomes.remove(watch)

    async def finish(self) -> None:
        """Wait for the running plan, after the executor was told to stop."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _run(self, digest: str) -> None:
        async with self._one_at_a_time:
            try:
                await self._executor.run(digest)
            except Exception as error:  # noqa: BLE001 - the supervisor of runs: the daemon goes on and the journal says how far it got
                self._log.say("error", f"plan {digest[:12]} ended: {type(error).__name__}: {error}")
        self._ended(*self._journal.plan(digest))

    def _ended(self, plan: Plan, status: PlanStatus) -> None:
        until = self._clock.monotonic() + plan.policy.settle
        ran = {action.id for action in status.actions if action.state is not ActionState.PENDING}
        for action in plan.actions:
            if action.id in ran:
                self._settled |= dict.fromkeys((action.shard, action.source, action.destination), until)
        self._learn(plan, status)
        if status.state is PlanState.SUCCEEDED:
            self.failures = 0
            self._outcomes.append(OutcomeWatch(plan, status.digest, self._clock.wall()))
        elif status.state in _FAILED:
            self.failures += 1

    def _learn(self, plan: Plan, status: PlanStatus) -> None:
        shards = {action.id: action.shard for action in plan.actions}
        for action in status.actions:
            if action.state is ActionState.DONE and action.bytes > 0:
                self.state_bytes[shards[action.id]] = float(action.bytes)
