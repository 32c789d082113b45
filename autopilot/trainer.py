"""The daemon's side of the trainer: keeps its process running, tells it the history, and hands on what it finds.

Nothing waits for it: it runs beside the loop, every request has a deadline, and a trainer that
ends, stalls or lies is ended and started again with back-off, while the oracle serves its own
model as soon as the last curves are too old.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from sidestep.autopilot.trainer_past import Grid, grid_of, parts
from sidestep.autopilot.trainer_store import Change, Kept, TrainerStore
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.history import History
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import scrub
from sidestep.forecasting.horizon import grid_step
from sidestep.forecasting.training import protocol
from sidestep.forecasting.training.arenas import Arena, arenas, told
from sidestep.forecasting.training.messages import Adoption
from sidestep.forecasting.training.process import START_DEADLINE, TrainerLost, TrainingProcess

#: seconds after the start of a daemon before its trainer takes anything of the processor
DELAY: Final = 30.0
#: seconds before a lost trainer is started again: first, and at most
BACKOFF: Final = (2.0, 300.0)
#: seconds that an answer may take; nothing that a trainer does itself takes long
DEADLINE: Final = 120.0
#: seconds that one ``Wait`` lets it work
TURN: Final = 5.0
#: seconds between two tellings, at least and at most
TELL: Final = (1.0, 60.0)
#: seconds that the oracle may take to hear of an adoption
ADOPT: Final = 30.0
#: drift brings a round this part of ``every`` after the one before, but not sooner
EARLY: Final = 0.25

#: hands an adoption to the oracle; what it returns is awaited if it can be
Adopt = Callable[[Adoption], Any]


class Trainer:
    """``run`` for as long as the daemon lives; cancel it to end. Never raises for what the trainer does."""

    def __init__(
        self,
        fleet: FleetSpec,
        *,
        history: Callable[[], History],
        adopt: Adopt,
        state: Path,
        clock: Clock | None = None,
        report: Callable[[str], None] = lambda _: None,
        delay: float = DELAY,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """``state`` is the fleet's state folder; ``history`` gives the one that the keeper fills."""
        self.fleet, self._spec = fleet, fleet.oracle.trainer
        self._history, self._adopt = history, adopt
        self._clock = clock or Clock()
        self._report = report
        self._delay, self._env = delay, env
        self._store = TrainerStore(state / "champions.json")
        self._horizon = fleet.policy.horizon
        self._step = grid_step(fleet.oracle, self._horizon, fleet.interval)
        self._kept, self._broken = self._store.load()
        self._process: TrainingProcess | None = None
        self._began = 0.0
        self._round_wanted = False
        self._noted_drift = False

    @property
    def pid(self) -> int:
        """The process id of the trainer, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def kept(self) -> Kept:
        """Champions, and when the latest round ended."""
        return self._kept

    @cached_property
    def _arenas(self) -> tuple[Arena, ...]:
        """What competes where; made when it is first asked for, which is not while a daemon starts."""
        return arenas(self.fleet)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return told(self._arenas)

    @property
    def idle(self) -> str:
        """Why there is no trainer, empty if there is one: a state, and no fault."""
        if not (self._spec.enabled and self.fleet.oracle.enabled):
            return "disabled in the fleet file"
        return "" if self._names else "nothing is forecast"

    @property
    def drifted(self) -> bool:
        """Whether the served model had lost touch when it was last looked at."""
        return self._noted_drift

    @property
    def changes(self) -> tuple[Change, ...]:
        """Promotions and demotions, oldest first."""
        return self._kept.changes

    async def run(self) -> None:
        """Keep a trainer running. Returns at once if it is idle."""
        if self.idle:
            return
        self._began = self._clock.wall()
        if self._broken:
            self._say(self._broken)
        await self._clock.sleep(self._delay)
        delay = BACKOFF[0]
        while True:
            started = self._clock.monotonic()
            try:
                await self._live()
                delay = BACKOFF[0]
                continue
            except (TrainerLost, OSError) as error:
                self._say(f"{error}; starting it again")
            except Exception as error:  # noqa: BLE001 - the supervisor of the trainer: without it we still observe
                self._say(f"the trainer's supervisor failed ({type(error).__name__}: {error}); starting it again")
            if self._clock.monotonic() - started > BACKOFF[1]:
                delay = BACKOFF[0]
            await self._clock.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
            delay = min(delay * 2, BACKOFF[1])

    def _say(self, line: str) -> None:
        self._report(f"oracle: {scrub(line, 800)}")

    async def _live(self) -> None:
        """One life of the process; returns when another grid is better by now. Raises TrainerLost or OSError."""
        grid = self._grid()
        while grid is None:
            await self._clock.sleep(TELL[1])
            grid = self._grid()
        process = await TrainingProcess.spawn(self._report, env=self._env)
        try:
            begin = protocol.Begin(
                spec=msgspec.structs.replace(self.fleet.oracle, step=self._step),
                horizon=self._horizon,
                step=grid.step,
                arenas=self._arenas,
                standings=self._kept.standings,
                weights=self._kept.weights,
            )
            ready = await process.call(begin, START_DEADLINE)
            if not isinstance(ready, protocol.Ready):
                raise TrainerLost(f"the trainer refused to begin: {getattr(ready, 'message', ready)}")
            for line in ready.lines:
                self._say(line)
            self._process = process
            await self._serve(process, grid)
        finally:
            self._process = None
            await process.aclose()

    def _grid(self) -> Grid | None:
        return grid_of(self._history(), self._names, self._step, self._horizon)

    async def _serve(self, process: TrainingProcess, grid: Grid) -> None:
        """Tell it what is new, let it work, and hand on what it finds; returns when the grid should change."""
        pause = min(max(self._horizon / 8, grid.step / 2, TELL[0]), TELL[1])
        since, busy, wanted = float("-inf"), False, False
        while True:
            tell = self._clock.monotonic() + pause
            since = await self._tell(process, grid, since)
            if not wanted and self._due():
                if self._grid() != grid:
                    return
                await self._ask(process, protocol.Round(self._clock.wall()), DEADLINE)
                wanted, self._round_wanted = True, False
            busy = True
            while busy and self._clock.monotonic() < tell:
                turn = min(TURN, max(0.0, tell - self._clock.monotonic()))
                state = await self._ask(process, protocol.Wait(self._clock.wall(), turn), DEADLINE)
                if not isinstance(state, protocol.State):
                    raise TrainerLost("the trainer answered something else than its state")
                busy = state.busy
                wanted &= not state.done
                await self._take(state)
            await self._clock.sleep(max(0.0, tell - self._clock.monotonic()))

    def _due(self) -> bool:
        """Whether a round is due: by the clock, or by drift."""
        last = max(self._kept.round, 0.0) or self._began
        # a clock that was set back must not put off rounds for ever
        passed = abs(self._clock.wall() - last)
        return passed >= self._spec.every * (EARLY if self._round_wanted else 1.0)

    async def _tell(self, process: TrainingProcess, grid: Grid, since: float) -> float:
        """Tell it all closed steps since a time; returns until when it knows them."""
        now = self._clock.wall()
        for part in parts(self._history(), grid, self._names, since, now):
            learned = await self._ask(process, part, DEADLINE)
            since = max(since, _end(part, grid))
            if isinstance(learned, protocol.Learned):
                self._note_drift(learned)
        return since

    def _note_drift(self, learned: protocol.Learned) -> None:
        if learned.drifted and not self._noted_drift:
            self._say(
                f"drift: {self.fleet.oracle.model} lost touch with {learned.alarmed} of {learned.watched} series; "
                "a round comes early"
            )
        self._round_wanted |= learned.drifted and not self._noted_drift
        self._noted_drift = learned.drifted

    async def _ask(self, process: TrainingProcess, request: protocol.Request, deadline: float) -> protocol.Response:
        answer = await process.call(request, deadline)
        if isinstance(answer, protocol.Failed):
            self._say(f"the trainer could not do {type(request).__name__.lower()}: {answer.message}")
        return answer

    async def _take(self, state: protocol.State) -> None:
        """Log what it says, keep who is champion, and hand the adoption on."""
        for line in state.lines:
            self._say(line)
        if state.done or state.changed:
            now = self._clock.wall()
            told_of = [line for line in state.lines if line.startswith(("promoted", "demoted"))]
            self._kept = msgspec.structs.replace(
                self._kept,
                round=now if state.done else self._kept.round,
                standings=state.standings,
                changes=(*self._kept.changes, *(Change(now, line) for line in told_of)),
                weights=(state.adoption.weights if state.adoption else b"") or self._kept.weights,
            )
            try:
                await asyncio.to_thread(self._store.save, self._kept)
            except OSError as error:
                self._say(f"champions cannot be kept: {self._store.path}: {error.strerror}")
        if state.adoption is not None:
            await self._hand_on(state.adoption)

    async def _hand_on(self, adoption: Adoption) -> None:
        try:
            async with asyncio.timeout(ADOPT):
                taken = self._adopt(adoption)
                if inspect.isawaitable(taken):
                    await taken
        except Exception as error:  # noqa: BLE001 - the oracle's trouble is not the trainer's
            self._say(f"an adoption was not taken: {type(error).__name__}: {error}")


def _end(part: protocol.Learn, grid: Grid) -> float:
    """The end of the newest step of a part; little-endian doubles, the last one."""
    (newest,) = memoryview(part.times[-8:]).cast("d")
    return float(newest) + grid.step
