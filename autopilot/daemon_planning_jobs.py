"""Plans that somebody asked for, computed beside the loop: one at a time, with progress, ended on request."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from sidestep.autopilot.protocol_plans import Planning
from sidestep.autopilot.server_service import UnknownReference
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.questions import PlanAnswer
from sidestep.planning.model import Outcome

#: jobs that may wait or run, and ended ones that are remembered
MOST_OPEN: Final = 8
MOST_ENDED: Final = 16
#: seconds that one call may wait for a job's end
LONGEST_WAIT: Final = 10.0


@dataclass(eq=False)
class Job:
    """One plan being made. Only the loop's thread changes ``state`` and ``answer``."""

    number: int
    actor: Label
    #: seconds that the search may take; 0 is as many iterations as the policy says
    limit: float
    clock: Callable[[], float]
    began: float
    state: str = "queued"
    answer: PlanAnswer | None = None
    error: Exception | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    started: float | None = None
    finished: float | None = None
    #: how far the search is: iterations done, of how many, moves of the best plan, bound
    progress: tuple[int, int, int, int] = (0, 0, -1, -1)

    def expired(self) -> bool:
        """Whether the search should end with what it has."""
        late = self.started is not None and self.limit > 0 and self.clock() - self.started > self.limit
        return late or self.stop.is_set()

    def report(self, found: Outcome, total: int) -> None:
        """Take the best plan so far; called in the search's thread."""
        self.progress = (min(found.iterations, total), total, len(found.moves), found.bound)

    def view(self) -> Planning:
        """How far it is. Raises what ended it, if that was an error that people can read."""
        if isinstance(self.error, SidestepError):
            raise self.error
        done, total, moves, bound = self.progress
        if self.answer is not None and self.answer.plan is not None:
            proof = self.answer.plan.proof
            moves = len(self.answer.plan.actions)
            bound = proof.bound if proof else bound
        return Planning(
            job=self.number,
            state=self.state,
            elapsed=round((self.finished if self.finished is not None else self.clock()) - self.began, 3),
            done=done,
            total=total,
            moves=moves,
            bound=bound,
            text=scrub(f"{type(self.error).__name__}: {self.error}") if self.error else Label(""),
            answer=self.answer,
        )


#: makes the answer in a thread of its own; and takes it in the loop's thread, where it may become a proposal
Work = Callable[[Job], PlanAnswer]
Take = Callable[[PlanAnswer], PlanAnswer]


class Jobs:
    """Runs jobs one after the other in a thread; the loop is never held up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: dict[int, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sidestep-plan")
        self._next = 1

    def start(self, actor: Label, limit: float, work: Work, take: Take) -> Job:
        """Queue a job. Raises SidestepError if too many wait."""
        if sum(not job.ended.is_set() for job in self._jobs.values()) >= MOST_OPEN:
            raise SidestepError(f"{MOST_OPEN} plans are being made already", hint="try again when one is done")
        job = Job(self._next, actor, limit, self._clock, self._clock())
        self._next += 1
        self._jobs[job.number] = job
        task = asyncio.get_running_loop().create_task(self._run(job, work, take), name=f"planning {job.number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ended = [number for number, each in self._jobs.items() if each.ended.is_set()]
        for number in ended[:-MOST_ENDED]:
            del self._jobs[number]
        return job

    def find(self, number: int) -> Job:
        """The job of that number. Raises UnknownReference."""
        try:
            return self._jobs[number]
        except KeyError:
            raise UnknownReference(f"no planning {number}", hint="ask again: sidestep plan new") from None

    async def wait(self, number: int, seconds: float) -> Job:
        """The job, once it has ended or the time is over."""
        job = self.find(number)
        if seconds > 0 and not job.ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.ended.wait(), min(seconds, LONGEST_WAIT))
        return job

    def cancel(self, number: int) -> Job:
        """Let a job end with what it has."""
        job = self.find(number)
        job.stop.set()
        return job

    async def aclose(self) -> None:
        """Tell every job to end, and wait for the one that runs."""
        for job in self._jobs.values():
            job.stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Work, take: Take) -> None:
        def begin() -> PlanAnswer:
            job.started, job.state = self._clock(), "running"
            return work(job)

        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, begin)
            job.answer = take(answer)
            job.state = "cancelled" if job.stop.is_set() else "done"
        except Exception as error:  # noqa: BLE001 - the supervisor of jobs: whoever asked is told
            job.error, job.state = error, "failed"
        finally:
            job.finished = self._clock()
            job.ended.set()


def limits(planner: Callable[..., Any], policy: Policy, job: Job) -> dict[str, Any]:
    """What this planner can be told of time, progress and proof: iterations decide, the clock only caps."""
    known = inspect.signature(planner).parameters
    given: dict[str, Any] = {}
    if "expired" in known:
        given["expired"] = job.expired
    if "progress" in known:
        given["progress"] = lambda found: job.report(found, policy.iterations)
    if "prove" in known:
        given["prove"] = True  # somebody waits for the answer, so it may cost more than the loop's own
    return given
