"""The headless story: predict, plan, approve, move, and measure against the world without us.

Two stages run from the same seed at the same time. On one the first plan is approved, on
the other every plan is rejected; the second one says when contention would have come and
how high. Success is judged on measurements only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.demo.stage import Stage
from sidestep.autopilot.demo.watch import Watch
from sidestep.autopilot.protocol import Approve, GetPlan, PlanView, Reject
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import MOVE_STEPS, PlanState
from sidestep.fleet.plans import Action, ActionStatus

LEAD_GOAL = 20.0
WINDOW = 5.0
ENDED = {PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED, PlanState.CANCELLED, PlanState.STALE}


class StepTold(Struct, frozen=True):
    """One step of a move and how long it took."""

    step: str
    ms: float


class ActionTold(Struct, frozen=True, kw_only=True):
    """One action of the approved plan, as it ran."""

    shard: str
    source: str
    destination: str
    state: str
    bytes: int
    freeze_ms: float
    steps: tuple[StepTold, ...]


class Told(Struct, frozen=True, kw_only=True):
    """What ``sidestep demo --headless --json`` prints. Times are seconds after load started.

    ``lead_s`` is measured: from the prediction to the start of contention where the plan
    was rejected; ``lead_predicted_s`` is what the forecast said. Peaks are the highest
    five-second mean of cpu as a fraction of allocatable: before the move on the host that
    was to run hot, after it on every host of the plan, and without it.
    """

    succeeded: bool
    problems: tuple[str, ...]
    predicted_at: float | None
    lead_s: float | None
    lead_predicted_s: float | None
    probability: float | None
    plan_digest: str
    host: str
    threshold: float
    actions: tuple[ActionTold, ...]
    freeze_ms: tuple[float, ...]
    requests: int
    late: int
    lost: int
    duplicated: int
    peak_before: float
    peak_after: float
    peak_without: float
    peak_destination: float
    seed: int


Say = Callable[[str], None]


class Story:
    """One telling, from the curtain to the verdict."""

    def __init__(self, folder: Path, *, hosts: int, shards: int, seed: int, until: float, say: Say) -> None:
        self._seed, self._until, self._say = seed, until, say
        self._acting = Stage(folder / "a", hosts=hosts, shards=shards, seed=seed, report=self._note("fleet"))
        self._control = Stage(folder / "b", hosts=hosts, shards=shards, seed=seed, report=self._note("control"))
        self._seen, self._seen_control = Watch(WINDOW), Watch(WINDOW)
        self._chosen: PlanView | None = None
        self._approved_at = 0.0

    async def tell(self) -> Told:
        """Run both stages to the end of the scenario, audit every request, and judge."""
        async with AsyncExitStack() as stages:
            await asyncio.gather(*(stages.enter_async_context(s) for s in (self._acting, self._control)))
            async with asyncio.timeout(self._until + 60), asyncio.TaskGroup() as group:
                group.create_task(self._act())
                group.create_task(self._refuse())
            audit = await self._acting.router().audit()
        return self._judge(audit)

    async def _act(self) -> None:
        client = await self._acting.attach()
        async for frame in client.subscribe(4):
            self._seen.see(frame)
            if self._chosen is None:
                for view in frame.plans:
                    if view.status.state is PlanState.PROPOSED:
                        await self._approve(client, view)
                        break
            if self._seen.since_start(self._seen.time) >= self._until:
                break
        if self._chosen is not None:
            await self._account(client)
        await client.aclose()

    async def _approve(self, client: AsyncClient, view: PlanView) -> None:
        self._chosen = view
        plan = view.plan
        at = self._seen.since_start(plan.created)
        for action in plan.actions[:1]:
            if action.evidence is not None:
                e = action.evidence
                self._say(
                    f"{at:6.1f} s  predicted: {e.host} {e.dimension} above {e.threshold:.0%} in {e.lead:.0f} s, "
                    f"probability {e.probability:.2f}"
                )
        self._say(f"{at:6.1f} s  plan {plan.number} {view.digest[:16]}: {plan.summary}")
        for action in plan.actions:
            self._say(f"          {action.shard}: {action.source} -> {action.destination}  ({action.reason.text})")
        self._say(f"          {plan.without_forecast}")
        await client.call(Approve(view.digest, "the demonstration approves the first plan"))
        self._approved_at = max(self._seen.time, plan.created)
        self._say(f"{self._seen.since_start(self._approved_at):6.1f} s  approved {view.digest}")

    async def _account(self, client: AsyncClient) -> None:
        """Take the plan's final state and tell its steps."""
        assert self._chosen is not None
        answer = await client.call(GetPlan(self._chosen.digest))
        if not isinstance(answer, PlanView):
            raise SidestepError(f"the daemon does not know plan {self._chosen.digest[:12]} any more")
        self._chosen = answer
        for action, status in zip(answer.plan.actions, answer.status.actions, strict=True):
            self._say(
                f"          {action.shard} {status.state}: {status.bytes} bytes, frozen {status.freeze_ms:.0f} ms"
            )
            for step in status.steps:
                self._say(f"            {step.name:<9} {step.state:<8} {step.ms:8.1f} ms  {step.detail}")
        for m in answer.status.outcome:
            self._say(
                f"          {m.host} {m.dimension}: predicted {m.predicted_without:.0%} without the plan, "
                f"{m.predicted_with:.0%} with it; measured {m.measured:.0%}"
            )

    async def _refuse(self) -> None:
        client = await self._control.attach()
        refused: set[str] = set()
        async for frame in client.subscribe(2):
            self._seen_control.see(frame)
            for view in frame.plans:
                if view.status.state is PlanState.PROPOSED and view.digest not in refused:
                    refused.add(view.digest)
                    await client.call(Reject(view.digest, "control run: nothing is moved"))
            if self._seen_control.since_start(self._seen_control.time) >= self._until:
                break
        await client.aclose()

    def _judge(self, audit: dict[str, int]) -> Told:
        seen, control = self._seen, self._seen_control
        plan = self._chosen.plan if self._chosen else None
        evidence = next((a.evidence for a in plan.actions if a.evidence), None) if plan else None
        host = str(evidence.host) if evidence else ""
        created = plan.created if plan else 0.0
        crossing = control.hosts[host].crossing(control.threshold) if host in control.hosts else None
        lead = crossing - control.started - seen.since_start(created) if plan and crossing is not None else None
        actions = self._actions()
        after = self._approved_at + WINDOW + 5
        involved = {host} | {a.destination for a in actions}
        peaks = {h: seen.hosts[h].peak(since=after) for h in involved if h in seen.hosts}
        told = Told(
            succeeded=False,
            problems=(),
            predicted_at=seen.since_start(created) if plan else None,
            lead_s=lead,
            lead_predicted_s=evidence.lead if evidence else None,
            probability=evidence.probability if evidence else None,
            plan_digest=self._chosen.digest if self._chosen else "",
            host=host,
            threshold=seen.threshold,
            actions=actions,
            freeze_ms=tuple(a.freeze_ms for a in actions),
            requests=audit["requests"],
            late=audit["late"],
            lost=audit["lost"],
            duplicated=audit["duplicated"],
            peak_before=seen.hosts[host].peak(until=self._approved_at) if host in seen.hosts else 0.0,
            peak_after=max(peaks.values(), default=0.0),
            peak_without=control.hosts[host].peak() if host in control.hosts else 0.0,
            peak_destination=max((peaks.get(a.destination, 0.0) for a in actions), default=0.0),
            seed=self._seed,
        )
        return judged(told, self._chosen.status.state if self._chosen else None)

    def _actions(self) -> tuple[ActionTold, ...]:
        if self._chosen is None:
            return ()
        pairs = zip(self._chosen.plan.actions, self._chosen.status.actions, strict=True)
        return tuple(_told(action, status) for action, status in pairs)

    def _note(self, stage: str) -> Say:
        return lambda text: self._say(f"   setup  {stage}: {text}")


def _told(action: Action, status: ActionStatus) -> ActionTold:
    return ActionTold(
        shard=action.shard,
        source=action.source,
        destination=action.destination,
        state=status.state,
        bytes=status.bytes,
        freeze_ms=status.freeze_ms,
        steps=tuple(StepTold(s.name, s.ms) for s in status.steps if s.name in MOVE_STEPS),
    )


def judged(told: Told, state: PlanState | None) -> Told:
    """The story with its verdict: every reason why it proves nothing, or success."""
    problems: list[str] = []
    if state is None:
        problems.append("no contention was predicted, so no plan was proposed")
    elif state is not PlanState.SUCCEEDED:
        problems.append(f"the approved plan ended {state}")
    if told.lead_s is None or told.lead_s < LEAD_GOAL:
        problems.append(f"lead {told.lead_s if told.lead_s is not None else 'unknown'}: less than {LEAD_GOAL:.0f} s")
    if told.peak_without <= told.threshold:
        problems.append(f"without the plan the peak was {told.peak_without:.0%}: nothing was avoided")
    if told.actions and told.peak_destination >= told.threshold:
        problems.append(f"a destination peaked at {told.peak_destination:.0%}")
    if told.actions and told.peak_after >= told.threshold:
        problems.append(f"a host of the plan peaked at {told.peak_after:.0%} after it")
    if told.lost or told.duplicated:
        problems.append(f"{told.lost} requests lost, {told.duplicated} served twice")
    if told.requests == 0:
        problems.append("no request was sent")
    return Told(**{**{f: getattr(told, f) for f in told.__struct_fields__}, "succeeded": not problems,
                   "problems": tuple(problems)})  # fmt: skip
