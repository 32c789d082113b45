"""What the daemon answers to questions about plans: new ones, why and why not, differences, hosts for new work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace as with_fields

from sidestep.autopilot.actions.desk import listed, proposed
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_planning_jobs import Job, Jobs, limits
from sidestep.autopilot.daemon_policies import Known, chosen, listing
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.planner import CONSTRAINTS, PLUGGED, propose
from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.protocol_actions import ListActions, ProposeAction
from sidestep.autopilot.protocol_plans import (
    AskWhy,
    AskWhyNot,
    CancelPlanning,
    ComparePlans,
    DifferenceView,
    DrainView,
    FindHost,
    GetPlanning,
    GetRightSizes,
    HostView,
    ListPolicies,
    NewPlan,
    Planning,
    PlanReply,
    PlanRequest,
    SizesView,
    TryDrain,
    WhyNotView,
    WhyView,
)
from sidestep.autopilot.server_service import UnknownReference
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import PlanState
from sidestep.fleet.nearest import near
from sidestep.fleet.plans import PLANNER, Plan
from sidestep.fleet.questions import PlanAnswer
from sidestep.planning.goals import Maker
from sidestep.planning.queries.ask import Propose, ask, propose_on
from sidestep.planning.queries.diff import difference
from sidestep.planning.queries.drain import preflight
from sidestep.planning.queries.host_for import best_host
from sidestep.planning.queries.sizes import right_sizes
from sidestep.planning.queries.verdict import Ground
from sidestep.planning.queries.whatif import WhatIf, World
from sidestep.planning.queries.whatif_text import parse
from sidestep.planning.queries.why import why, why_not

#: seconds that a plan may be asked to take at most
LONGEST: Final = 3600.0
#: rows that one request may ask for
MOST_HOSTS: Final = 1000
MOST_SIZES: Final = 100_000


@dataclass(kw_only=True)
class PlanDesk:
    """Answers the planner's requests; what takes long runs beside the loop.

    ``busy`` and ``settling`` are what the loop's own planning is told.
    """

    fleet: FleetSpec
    journal: Journal
    log: Log
    clock: Clock
    busy: Callable[[], frozenset[str]] = frozenset
    settling: Callable[[], frozenset[str]] = frozenset
    planner: Propose = propose
    #: goals instead of those of installed plugins, by name
    goals: Mapping[str, Maker] = field(default_factory=dict)
    jobs: Jobs = field(default_factory=Jobs)

    async def answer(self, request: PlanRequest, picture: Picture, actor: Label) -> PlanReply | PlanView:  # noqa: PLR0911, PLR0912 - one a request
        """One answer. Raises SidestepError."""
        match request:
            case NewPlan():
                return self._new(request, picture, actor).view()
            case GetPlanning():
                if not 0 <= request.wait < math.inf:
                    raise UsageError(f"a wait of {request.wait:g} s", hint="at least 0")
                return (await self.jobs.wait(request.job, request.wait)).view()
            case CancelPlanning():
                return self._cancelled(request.job)
            case ComparePlans():
                return self._compare(request)
            case ListPolicies():
                return await asyncio.to_thread(listing, self.fleet.policy)
            case AskWhy():
                return await self._why(request, picture, actor)
            case AskWhyNot():
                return await self._why_not(request, picture, actor)
            case FindHost():
                return await self._best_host(request, picture)
            case GetRightSizes():
                limit = _bounded("limit", request.limit, MOST_SIZES)
                return SizesView(await asyncio.to_thread(right_sizes, self._world(picture), limit))
            case TryDrain():
                return await self._drain(request, picture, actor)
            case ListActions():
                return await asyncio.to_thread(listed, self.fleet, self.journal.standing())
            case ProposeAction():
                return await self._action(request, picture, actor)

    def switch(self, fleet: FleetSpec) -> None:
        """Answer by another policy from now on."""
        self.fleet = fleet

    async def aclose(self) -> None:
        """End every job."""
        await self.jobs.aclose()

    # -- new plans

    def _new(self, request: NewPlan, picture: Picture, actor: Label) -> Job:
        if not 0 <= request.time_limit <= LONGEST:
            raise UsageError(f"a time limit of {request.time_limit:g} s", hint=f"0 (none) to {LONGEST:g} s")
        policy = chosen(self.fleet.policy, request.policy, request.policy_text)
        what_if = parse(request.what_if, Known(self.fleet.policy))
        world = self._world(picture, policy)
        asked = self._asked(actor, previous=None if what_if.changes or policy != self.fleet.policy else self._current())

        def work(job: Job) -> PlanAnswer:
            began = job.clock()
            made = ask(
                world,
                what_if,
                planner=self.planner,
                compare=request.compare,
                **asked,
                **limits(self.planner, policy, job),
            )
            return with_fields(made, seconds=round(job.clock() - began, 3))

        return self.jobs.start(actor, request.time_limit, work, lambda made: self._take(made, what_if))

    def _take(self, made: PlanAnswer, what_if: WhatIf) -> PlanAnswer:
        """A plan for the fleet as it is becomes a proposal; its number is the next one now."""
        if made.plan is None or what_if.changes:
            return made
        plan = with_fields(made.plan, number=self.journal.next_number())
        status = self.journal.add(plan)
        self.log.mirror()
        return with_fields(made, plan=plan, digest=status.digest, state=str(status.state))

    def _asked(self, author: Label, previous: Plan | None) -> dict[str, Any]:
        return {
            "number": self.journal.next_number(),
            "created": self.clock.wall(),
            "busy": self.busy(),
            "settling": self.settling(),
            "previous": previous,
            "author": author,
            **({"goals": self.goals} if self.goals else {}),
            **({"queue": queue} if (queue := self.journal.queue()) else {}),
        }

    def _current(self) -> Plan | None:
        """The planner's newest proposal that still waits."""
        return next((plan for plan in self._waiting() if plan.author == PLANNER), None)

    def _waiting(self) -> list[Plan]:
        """Proposals, newest first."""
        return [plan for plan, _ in reversed(self.journal.plans_in(PlanState.PROPOSED))]

    def _cancelled(self, number: int) -> Planning:
        return self.jobs.cancel(number).view()

    def _world(self, picture: Picture, policy: Policy | None = None) -> World:
        if picture.forecast is None:
            raise SidestepError("there is no forecast yet", hint=str(picture.oracle) or "try again in a moment")
        used, fleet = policy or self.fleet.policy, self.journal.sized(self.fleet)
        return World(
            snapshot=picture.snapshot,
            forecast=picture.forecast,
            fleet=fleet if used == fleet.policy else with_fields(fleet, policy=used),
            placement=self.journal.placement(),
            policy=used,
            constraints=CONSTRAINTS,
        )

    # -- questions about shards and hosts

    async def _why(self, request: AskWhy, picture: Picture, actor: Label) -> WhyView:
        shard = _row("shard", request.shard, picture.snapshot.shards.names)
        world, asked = self._world(picture), self._asked(actor, self._current())
        proposed = next((plan for plan in self._waiting() if any(a.shard == request.shard for a in plan.actions)), None)

        def answer() -> WhyView:
            ground = Ground.of(world, asked["busy"], asked["settling"])
            made = proposed or propose_on(world, self.planner, **asked)
            return WhyView(why(ground, shard, made, proposed=proposed is not None))

        return await asyncio.to_thread(answer)

    async def _why_not(self, request: AskWhyNot, picture: Picture, actor: Label) -> WhyNotView:
        shard = _row("shard", request.shard, picture.snapshot.shards.names)
        host = _row("host", request.host, picture.snapshot.hosts.names)
        world, asked = self._world(picture), self._asked(actor, self._current())
        proposed = next((plan for plan in self._waiting() if any(a.shard == request.shard for a in plan.actions)), None)

        def answer() -> WhyNotView:
            made = proposed or propose_on(world, self.planner, **asked)
            plan = made if isinstance(made, Plan) else None
            return WhyNotView(why_not(Ground.of(world, asked["busy"], asked["settling"]), shard, host, plan))

        return await asyncio.to_thread(answer)

    async def _best_host(self, request: FindHost, picture: Picture) -> HostView:
        limit = _bounded("limit", request.limit, MOST_HOSTS)
        world, busy, settling = self._world(picture), self.busy(), self.settling()

        def answer() -> HostView:
            return HostView(
                best_host(
                    world,
                    cpu=request.cpu,
                    memory=request.memory,
                    app=request.app,
                    near=request.near,
                    limit=limit,
                    busy=busy,
                    settling=settling,
                    goals=self.goals or PLUGGED,
                )
            )

        return await asyncio.to_thread(answer)

    async def _drain(self, request: TryDrain, picture: Picture, actor: Label) -> DrainView:
        host = _row("host", request.host, picture.snapshot.hosts.names)
        world, asked = self._world(picture), self._asked(actor, None)
        others = [_row("host", other, picture.snapshot.hosts.names) for other in request.others]
        return DrainView(await asyncio.to_thread(preflight, world, host, others=others, planner=self.planner, **asked))

    async def _action(self, request: ProposeAction, picture: Picture, actor: Label) -> PlanView:
        fleet, placement = self.journal.sized(self.fleet), self.journal.placement()
        created, busy = self.clock.wall(), self.busy()
        made = await asyncio.to_thread(
            proposed, fleet, picture, placement, request, busy=busy, created=created, author=actor
        )
        plan = with_fields(made, number=self.journal.next_number())
        status = self.journal.add(plan)
        self.log.mirror()
        return PlanView(status.digest, plan, status)

    # -- two plans

    def _compare(self, request: ComparePlans) -> DifferenceView:
        new = self._find(request.new) if request.new else self._newest(math.inf)
        old = self._find(request.old) if request.old else self._newest(new.number)
        return DifferenceView(difference(old, new))

    def _newest(self, before: float) -> Plan:
        for plan, _ in self.journal.plans(100):
            if plan.number < before:
                return plan
        raise SidestepError("there is no plan to compare with", hint="see: sidestep plan list")

    def _find(self, ref: str) -> Plan:
        try:
            return self.journal.find(ref.lstrip("#"))[0]
        except UsageError as error:
            raise UnknownReference(str(error.args[0]), hint=error.hint) from error


def _row(kind: str, name: str, known: tuple[Label, ...]) -> int:
    """The row of that name. Raises UnknownReference."""
    for row, each in enumerate(known):
        if each == name:
            return row
    raise UnknownReference(f"no {kind} {scrub(name)}", hint=near(name, map(str, known)))


def _bounded(name: str, value: int, most: int) -> int:
    if not 0 < value <= most:
        raise UsageError(f"{name} {value}: must be 1 to {most}")
    return value
