"""One run of one plan: begins what may begin, as often as something changed, until nothing is left."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sidestep.autopilot.executor_context import Context, pairs
from sidestep.autopilot.executor_graph import OPEN, choose, shards_of
from sidestep.autopilot.executor_retry import Trouble
from sidestep.autopilot.recovery import Decision, Way
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import ACTION, ActionState, PlanState, final
from sidestep.fleet.plans import Action, Plan

#: seconds after which a run looks again though nothing was told
POLL: Final = 0.5


@dataclass(kw_only=True)
class _Running:
    """An action under way: the hosts that were under strain before it, and whether it made trouble."""

    action: Action
    strained: frozenset[str]


class PlanRun:
    """Drives one plan that is RUNNING; whoever changes its state sets ``context.news``."""

    def __init__(self, context: Context, plan: Plan, digest: str) -> None:
        self._context, self._plan, self._digest = context, plan, digest
        self._tasks: dict[asyncio.Task[None], _Running] = {}
        self._error: Exception | None = None
        self._wake = math.inf

    async def drive(self) -> None:
        """Return when nothing is under way and nothing may begin any more.

        A paused plan ends its run only when the daemon stops. An error of the journal begins nothing
        more, is raised at the end, and stops no action that is being taken back.
        """
        try:
            while True:
                if self._error is None:
                    try:
                        self._advance()
                    except SidestepError as error:
                        self._error = error
                if not self._tasks and (self._error is not None or self._over()):
                    break
                await self._something()
        finally:  # of cancellation, too: whatever is cut off here is put right from the journal
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._error is not None:
            raise self._error

    def _states(self) -> dict[int, ActionState]:
        return {a.id: s.state for a, s in pairs(self._plan, self._context.journal.status(self._digest))}

    def _over(self) -> bool:
        if not any(state in OPEN for state in self._states().values()):
            return True
        return self._context.stopping  # only a paused plan keeps what has not begun

    def _advance(self) -> None:
        """Cancel what can no longer begin, begin what may; again, until that changes nothing."""
        changed = True
        while changed:
            states = self._states()
            if not any(state in OPEN for state in states.values()):
                return
            if why := self._end_of_all(states):
                self._cancel((a, why) for a in self._plan.actions if states[a.id] in OPEN)
                return
            changed = self._choose(states)

    def _choose(self, states: dict[int, ActionState]) -> bool:
        context = self._context
        limit = context.pace.allowed(self._plan.policy.concurrent)
        now = context.clock()
        choice = choose(self._plan, states, places=context.places, limit=limit, now=now)
        self._wake = choice.wake
        self._cancel(choice.cancel)
        if context.stopping or context.held() or context.journal.state_of(self._digest) is PlanState.PAUSED:
            return bool(choice.cancel)
        for action in choice.begin:
            if why := context.obstacle(self._plan, self._digest, action):
                self._cancel([(action, why)])
                return True
            self._begin(action)
        return bool(choice.cancel)

    def _end_of_all(self, states: dict[int, ActionState]) -> str:
        """Why nothing of the plan will begin any more, or nothing."""
        context, state = self._context, self._context.journal.state_of(self._digest)
        if trouble := context.journal.trouble:
            return f"nothing new begins: {trouble}"
        if state is PlanState.CANCELLING:
            return "the plan was cancelled before it began"
        if context.stopping and state is not PlanState.PAUSED:
            return "the daemon was told to stop before it began"
        if ActionState.FAILED_NEEDS_HUMAN in states.values():
            return "an action before it needs a person"
        return ""

    def _cancel(self, actions: Iterable[tuple[Action, str]]) -> None:
        for action, why in actions:
            self._context.end(self._digest, action, ActionState.CANCELLED, why)

    def _begin(self, action: Action) -> None:
        context = self._context
        token = context.journal.begin_action(self._digest, action.id)
        context.acting.update(shards_of(action))
        ends = frozenset(end for end in (action.source, action.destination) if context.strain(end))
        task = asyncio.get_running_loop().create_task(
            carry(context, self._plan, self._digest, action, token, None), name=f"action {action.id} {action.shard}"
        )
        self._tasks[task] = _Running(action=action, strained=ends)

    async def _something(self) -> None:
        """Wait until an action ends, somebody says something, or it is time to look again."""
        context = self._context
        context.news.clear()
        news = asyncio.ensure_future(context.news.wait())
        timeout = POLL if math.isinf(self._wake) else min(POLL, max(0.0, self._wake - context.clock()) + 0.001)
        try:
            done, _ = await asyncio.wait({news, *self._tasks}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        self._feel()
        for task in self._tasks.keys() & done:
            running = self._tasks[task]
            error = task.exception()
            if isinstance(error, Exception):
                self._error = self._error or error
            elif error is not None:
                raise error
            self._judge(running.action)
            del self._tasks[task]

    # -- pace

    def _feel(self) -> None:
        """Slow down where a move has put a host under strain that was not before."""
        for running in self._tasks.values():
            for end in (running.action.source, running.action.destination):
                why = "" if end in running.strained else self._context.strain(end)
                if why:
                    self._slow(running.action, f"{end}: {why}")
                    break

    def _judge(self, action: Action) -> None:
        """What the end of an action says about the pace."""
        state = self._states()[action.id]
        if state is ActionState.DONE:
            self._context.pace.clean(self._key(action), self._plan.policy.concurrent)
        elif any("did not end within" in note for note in self._notes(action)):
            self._slow(action, f"a step of {action.shard} did not end in time")

    def _notes(self, action: Action) -> Iterator[str]:
        for planned, status in pairs(self._plan, self._context.journal.status(self._digest)):
            if planned.id == action.id:
                yield status.note
                yield from (step.detail for step in status.steps)

    def _slow(self, action: Action, why: str) -> None:
        context = self._context
        running = [self._key(other.action) for other in self._tasks.values()]
        if context.pace.trouble(self._key(action), running, why):
            count = context.pace.allowed(self._plan.policy.concurrent)
            said = f"plan {self._plan.number}: at most {count} at a time from now on: {why}"
            context.journal.record("step", said, actor="executor", plan=self._plan.number)

    def _key(self, action: Action) -> tuple[str, int]:
        return self._digest, action.id


async def carry(context: Context, plan: Plan, digest: str, action: Action, token: int, left: Decision | None) -> None:
    """Do an action that has begun, or what a decision says is left of it."""
    try:
        run = context.action_run(plan, digest, action, token)
    except SidestepError as error:
        context.give_up(digest, action, str(error.args[0]))
        return
    if left is None:
        state = await run.forward()
    elif left.way is Way.FORWARD:
        state = await run.finish(left.steps)
    else:
        state = await run.unwind(Trouble(left.text))
    if final(ACTION, state):
        context.settle(digest, action, state)


async def together(work: Iterable[Awaitable[None]]) -> None:
    """All of it side by side, each to its end; then the first error, if there was any."""
    tasks = [asyncio.ensure_future(one) for one in work]
    error: BaseException | None = None
    try:
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                found = task.exception()
                if found is not None and not isinstance(found, Exception):
                    raise found
                error = error or found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if error is not None:
        raise error
