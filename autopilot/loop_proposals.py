"""The life of proposals: made, kept while they are good, replaced, and taken back.

A proposal is sticky: while the planner comes to the same moves, the first plan with them
stays, and for a while also when a better one is known, so that people can read and
approve it. Operators' own plans are never replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from sidestep.autopilot.daemon_log import AUTOPILOT
from sidestep.autopilot.executor_graph import too_late
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.planner import propose
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import PLANNER, Action, Basis, NoPlan, Plan
from sidestep.fleet.queue import Look
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning import basis_now

#: plans among which recent rejections are looked for
RECENT: Final = 20
#: seconds without predicted contention after which a proposal is taken back
QUIET: Final = 5.0
#: seconds for which a proposal that still fits the world is not replaced by a better one: people read it
READING: Final = 30.0
#: seconds for which one stands in any case, so that screens do not flicker between plans of which each is soon too late
STANDING: Final = 10.0
#: a search that found nothing is not made again for so many times as long as it took, and at most so many seconds
REST: Final = 3.0
REST_AT_MOST: Final = 30.0

Propose = Callable[..., Plan | NoPlan]


def moves_of(plan: Plan) -> frozenset[tuple[str, str, str, int, str]]:
    """What the plan does, apart from why."""
    return frozenset((a.shard, a.source, a.destination, a.token, _done_in_place(a)) for a in plan.actions)


def _done_in_place(action: Action) -> str:
    return f"{action.kind} {action.applied.name}" if action.applied is not None else ""


class Proposals:
    """Keeps at most one proposal of the planner's, the best one that is known."""

    def __init__(
        self, fleet: FleetSpec, journal: Journal, clock: Clock, *, planner: Propose = propose,
        expected: Callable[[], Mapping[str, tuple[float, float]]] = dict,
    ) -> None:  # fmt: skip
        self._fleet, self._journal, self._clock = fleet, journal, clock
        self._planner, self._expected = planner, expected
        self._needed_at = self._resting = clock.monotonic()
        self._in_vain: NoPlan | None = None
        #: the fleet with the limits that its shards were resized to
        self.sized: Callable[[FleetSpec], FleetSpec] = lambda fleet: fleet
        #: the facts of now with what else is known of the plan's shards
        self.marked: Callable[[Plan, Basis], Basis] = lambda plan, now: now

    def switch(self, fleet: FleetSpec) -> None:
        """Plan by another policy from now on; hosts and shards are the same."""
        self._fleet = fleet

    def current(self) -> Plan | None:
        """The planner's newest proposal that still waits for approval."""
        return next((plan for plan in reversed(self._waiting()) if plan.author == PLANNER), None)

    def tidy(self, snapshot: Snapshot, placement: Placement, *, needed: bool) -> None:
        """Take back what is too old, no longer fits the world, or (the planner's) no longer needed."""
        if needed:
            self._needed_at = self._clock.monotonic()
        quiet = self._clock.monotonic() - self._needed_at
        for plan in self._waiting():
            differences = plan.basis.differences(self.marked(plan, basis_now(plan, snapshot, placement)))
            if self._clock.wall() >= plan.expires:
                self._end(plan, PlanState.EXPIRED, "nobody approved it in time")
            elif differences:
                self._end(plan, PlanState.STALE, "; ".join(differences))
            elif plan.author == PLANNER and quiet > QUIET:
                self._end(plan, PlanState.SUPERSEDED, _needless(plan))

    async def consider(
        self,
        snapshot: Snapshot,
        forecast: Forecast,
        placement: Placement,
        *,
        busy: frozenset[str],
        settling: frozenset[str],
    ) -> NoPlan | None:
        """Ask the planner; returns its reasons if it has no plan.

        Where the planner has just searched long and in vain, its answer stands for a while. A proposal of which
        something would begin too late gives way to a fresh one: the executor would leave that out.
        """
        current, began = self.current(), self._clock.monotonic()
        overdue = _overdue(current, self._clock.wall()) if current is not None else ""
        if self._in_vain is not None and began < self._resting:
            return self._in_vain
        waiting, looks = self._journal.queue(), list[Look]()
        more = {"queue": waiting, "expected": self._expected(), "looked": looks.extend} if waiting else {}
        answer = await asyncio.to_thread(
            self._planner,
            snapshot,
            forecast,
            self._fleet.policy,
            placement,
            fleet=self.sized(self._fleet),
            number=self._journal.next_number(),
            created=self._clock.wall(),
            busy=busy,
            settling=settling,
            previous=current,
            author=PLANNER,
            **more,
        )
        if looks:
            self._journal.looked(looks, self._clock.wall())
        now = self._clock.monotonic()
        self._resting = now + min(REST_AT_MOST, REST * (now - began))
        self._in_vain = answer if isinstance(answer, NoPlan) else None
        if isinstance(answer, NoPlan):
            if current is not None and overdue:
                self._end(current, PlanState.SUPERSEDED, overdue)
            return answer
        self._needed_at = now
        if current is not None and overdue and self._clock.wall() - current.created >= STANDING:
            current = None
        if not self._known(answer, current) and not self._being_read(current):
            self._journal.add(answer)
        return None

    def _waiting(self) -> list[Plan]:
        """Plans that wait for approval, oldest first."""
        return [plan for plan, _ in self._journal.plans_in(PlanState.PROPOSED)]

    def _being_read(self, current: Plan | None) -> bool:
        """Whether the present proposal is so young that replacing it would take it from under somebody's eyes."""
        return current is not None and self._clock.wall() - current.created < READING

    def _known(self, plan: Plan, current: Plan | None) -> bool:
        """Whether the same moves are proposed already, or were rejected a short while ago."""
        moves = moves_of(plan)
        if current is not None and moves_of(current) == moves:
            return True
        since = self._clock.wall() - self._fleet.policy.expire
        return any(
            status.state is PlanState.REJECTED and status.updated >= since and moves_of(old) == moves
            for old, status in self._journal.plans(RECENT)
        )

    def _end(self, plan: Plan, state: PlanState, note: str) -> None:
        self._journal.set_state(plan.digest(), state, actor=Label(AUTOPILOT), note=note)


def _overdue(plan: Plan, now: float) -> str:
    """Why not all of the plan could run any more, or nothing."""
    return next((why for action in plan.actions if (why := too_late(plan, action, now))), "")


def _needless(plan: Plan) -> str:
    """Why nobody needs the plan any more."""
    if any(action.kind in ("preempt", "place", "lift") or action.reason.code == "DRAINS" for action in plan.actions):
        return "the planner finds nothing to do any more"
    return "contention is no longer predicted"
