"""Moves running blocks off hosts before these run out of cores for them: forecast, choice and move, once a second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidestep.backends.functions.job import Block, Call, Conductor, Finished
from sidestep.backends.functions.moving import Moved, move
from sidestep.backends.functions.steering import Choice, Load, choose
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.invocations import Invocation

if TYPE_CHECKING:
    from sidestep.autopilot.functions.foresight import Foresight
    from sidestep.forecasting.durations import Durations

#: seconds between two looks; in which a block that moved, or would not, is left alone; before anything is imported
LOOK: Final = 1.0
REST: Final = 4.0
REFUSED: Final = 30.0
PATIENCE: Final = 2.0
#: steps that a forecast rests on at least, and calls that an expectation does
STEPS: Final = 3
CALLS: Final = 3


@dataclass(frozen=True)
class Steered:
    """A move that was made because of a forecast, or why it was not."""

    choice: Choice
    moved: Moved | None
    why: str = ""


class Steerer:
    """Looks after the blocks of one conductor."""

    def __init__(self, conductor: Conductor, told: Callable[[Steered], None] = lambda steered: None) -> None:
        self._conductor, self._told = conductor, told
        self._resting: dict[str, float] = {}
        self._durations: Durations | None = None
        self._foresight: Foresight | None = None
        self.moves: list[Steered] = []

    def learn(self, call: Call, finished: Finished) -> None:
        """Learn what a call took, for what the next one of its function will take."""
        if self._durations is not None:
            self._durations.observe([_invocation(call, finished)])

    async def run(self) -> None:
        """Forever."""
        await asyncio.sleep(PATIENCE)
        # numpy and the oracle's weights: not before there is a run that is long enough
        await asyncio.to_thread(self._load)
        while True:
            began = time.monotonic()
            await self.step()
            await asyncio.sleep(max(0.1, LOOK - (time.monotonic() - began)))

    async def step(self) -> Choice | None:
        """One look, and the move that it leads to, if any."""
        self._load()
        assert self._foresight is not None
        cluster, foresight = self._conductor.cluster, self._foresight
        foresight.observe(cluster.free)
        if foresight.steps < STEPS:
            return None
        from sidestep.autopilot.functions.foresight import CAUTIOUS, EVEN  # noqa: PLC0415

        even = {host: free for host, free in foresight.said(EVEN).items() if host in cluster.workers}
        self._conductor.free = {host: float(free[:10].mean()) for host, free in even.items()}
        loads = await self._loads()
        waiting = self._conductor.waiting
        choice = choose(loads, even, waiting=waiting)
        if choice is None:
            return None
        # Where it would go is seen with less trust than where it is.
        cautious = foresight.said(CAUTIOUS)
        free = {host: even[host] if host == choice.source else cautious.get(host, even[host]) for host in even}
        choice = choose(loads, free, waiting=waiting)
        if choice is not None:
            await self._move(choice)
        return choice

    async def _loads(self) -> list[Load]:
        """Blocks that run, and what they still need, as far as that can be known."""
        conductor, found = self._conductor, []
        now = time.monotonic()
        running = [block for block in list(conductor.blocks.values()) if len(block.at) == 1]
        looks = [self._look(block) for block in running]
        for block, (host, used, unsuited) in zip(running, await asyncio.gather(*looks), strict=True):
            if host:
                free = not unsuited and not block.target and self._resting.get(block.name, 0.0) < now
                found.append(Load(block.name, host, self._left(block, used), free, block.wishes.hosts))
        return found

    async def _look(self, block: Block) -> tuple[str, float, bool]:
        with contextlib.suppress(SidestepError):
            for token, host in list(block.at.items()):
                status = await self._conductor.guard.look(host, block.name, token)
                if status is not None:
                    return host, status.cpu_s, bool(status.unsuited)
                return host, 0.0, True
        return "", 0.0, True

    def _left(self, block: Block, used: float) -> float:
        """Processor seconds that a block still needs: by calls before; else as much as it has had, which is likely."""
        used += block.used
        assert self._durations is not None
        call = block.call
        expected = self._durations.predict(_app(call), dict(call.features), (0.5,))
        if expected.calls >= CALLS and expected.cpu_s[0] > used:
            return expected.cpu_s[0] - used
        return max(used, 0.5)

    async def _move(self, choice: Choice) -> None:
        moved, why, rest = None, "", REST
        try:
            moved = await move(self._conductor, choice.block, choice.target)
        except SidestepError as error:
            why, rest = str(error), REFUSED
        self._resting[choice.block] = time.monotonic() + rest
        steered = Steered(choice, moved, why)
        self.moves.append(steered)
        self._told(steered)

    def _load(self) -> None:
        if self._durations is None:
            from sidestep.autopilot.functions.foresight import Foresight  # noqa: PLC0415
            from sidestep.forecasting.durations import Durations  # noqa: PLC0415

            self._foresight = Foresight(list(self._conductor.cluster.keys))
            self._durations = Durations()


@asynccontextmanager
async def steered(
    conductor: Conductor, told: Callable[[Steered], None] = lambda steered: None
) -> AsyncIterator[Steerer]:
    """Blocks of a conductor are moved as forecast while the context lasts."""
    steerer = Steerer(conductor, told)
    conductor.listen(steerer.learn)
    task = asyncio.create_task(steerer.run())
    try:
        yield steerer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _app(call: Call) -> str:
    return f"{call.source.module}:{call.function}"


def _invocation(call: Call, finished: Finished) -> Invocation:
    from sidestep.autopilot.functions.reporting import report_of  # noqa: PLC0415

    return report_of(call, finished, time.time())
