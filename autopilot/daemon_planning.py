"""What the daemon answers to questions about plans: new ones, why and why not, differences, hosts for new work."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace as with_fields

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_planning_jobs import Job, Jobs, limits
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.protocol_plans import (
    CancelPlanning,
    ComparePlans,
    DifferenceView,
    GetPlanning,
    ListPolicies,
    NewPlan,
    Planning,
    PlanReply,
    PlanRequest,
)
from sidestep.autopilot.server_service import UnknownReference
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import ProtocolError, SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import PlanState
from sidestep.fleet.nearest import near
from sidestep.fleet.plans import PLANNER, Plan
from sidestep.fleet.questions import PlanAnswer, PolicyList, PolicyRow
from sidestep.planning import propose
from sidestep.planning.queries.ask import Propose, ask
from sidestep.planning.queries.diff import difference, policy_lines
from sidestep.planning.queries.whatif import WhatIf, World
from sidestep.planning.queries.whatif_text import parse

#: seconds that a plan may be asked to take at most
LONGEST: Final = 3600.0


@dataclass(frozen=True, kw_only=True)
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
    jobs: Jobs = field(default_factory=Jobs)

    async def answer(self, request: PlanRequest, picture: Picture, actor: Label) -> PlanReply:
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
                return self._policies()
        raise ProtocolError(f"{type(request).__name__} is not answered here")

    async def aclose(self) -> None:
        """End every job."""
        await self.jobs.aclose()

    # -- new plans

    def _new(self, request: NewPlan, picture: Picture, actor: Label) -> Job:
        if not 0 <= request.time_limit <= LONGEST:
            raise UsageError(f"a time limit of {request.time_limit:g} s", hint=f"0 (none) to {LONGEST:g} s")
        policy = self._policy(request.policy, request.policy_text)
        what_if = parse(request.what_if, self._named())
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
        }

    def _current(self) -> Plan | None:
        """The planner's newest proposal that still waits."""
        waiting = [plan for plan, _ in self.journal.plans_in(PlanState.PROPOSED) if plan.author == PLANNER]
        return waiting[-1] if waiting else None

    def _cancelled(self, number: int) -> Planning:
        return self.jobs.cancel(number).view()

    def _world(self, picture: Picture, policy: Policy | None = None) -> World:
        if picture.forecast is None:
            raise SidestepError("there is no forecast yet", hint=str(picture.oracle) or "try again in a moment")
        used = policy or self.fleet.policy
        return World(
            snapshot=picture.snapshot,
            forecast=picture.forecast,
            fleet=self.fleet if used == self.fleet.policy else with_fields(self.fleet, policy=used),
            placement=self.journal.placement(),
            policy=used,
        )

    # -- policies

    def _named(self) -> Mapping[str, Policy]:
        return {str(self.fleet.policy.name): self.fleet.policy}

    def _policy(self, name: str, text: str) -> Policy:
        if text:
            raise UsageError("a policy's file cannot be read by this daemon")
        if not name:
            return self.fleet.policy
        known = self._named()
        if name not in known:
            raise UnknownReference(f"no policy {scrub(name)}", hint=f"{near(name, known)}; see: sidestep policies")
        return known[name]

    def _policies(self) -> PolicyList:
        own = self.fleet.policy
        return PolicyList(
            tuple(
                PolicyRow(
                    name=scrub(name),
                    used=policy == own,
                    summary=Label(""),
                    differs=tuple(scrub(line) for line in policy_lines(own, policy)),
                )
                for name, policy in self._named().items()
            )
        )

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
