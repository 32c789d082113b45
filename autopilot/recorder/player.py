"""A recording behind the daemon's socket: the same pictures, plans and log to the same console, and no way to act."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from sidestep import __version__
from sidestep.autopilot.protocol import (
    VERSION,
    Answer,
    DemandList,
    EventList,
    GetDemand,
    GetLog,
    GetPlan,
    ListPlans,
    PlanList,
    PlanView,
    SnapshotFrame,
    Welcome,
)
from sidestep.autopilot.protocol_replay import ReplayView, Seek
from sidestep.autopilot.recorder.recording import Recording, Shown
from sidestep.autopilot.server_service import UnknownReference
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label, scrub

#: seconds between looks at the clock while playing
BEAT: Final = 0.1
SLOWEST: Final = 0.25
FASTEST: Final = 3600.0
_MARKS: Final = 400

Otherwise = Callable[[Shown], tuple[PlanView | None, Label]]


class Player:
    """The service of one recording; ``run`` is its life, ``changed`` is called when another picture is shown.

    ``otherwise`` answers what another policy would have done with a picture; it runs in a thread.
    """

    def __init__(self, recording: Recording, fleet: str, *, otherwise: Otherwise | None = None) -> None:
        self._recording, self._fleet, self._otherwise = recording, scrub(fleet), otherwise
        self.changed: Callable[[], None] = lambda: None
        self._shown = recording.picture(0)
        self._head, self._playing, self._speed = recording.times[0], False, 1.0
        self._marks = tuple(sorted({e.time for e in recording.events if e.plan or e.kind in {"plan", "approve"}}))
        self._other: tuple[int, PlanView | None, Label] = (-1, None, Label(""))
        self._wanted = asyncio.Event()
        self.number = 1

    async def run(self) -> None:
        """Play, and ask the other policy, until cancelled."""
        loop = asyncio.get_running_loop()
        thinking = asyncio.create_task(self._think(), name="other policy") if self._otherwise else None
        before = loop.time()
        try:
            while True:
                await asyncio.sleep(BEAT)
                now = loop.time()
                if self._playing:
                    self._head = min(self._recording.times[-1], self._head + (now - before) * self._speed)
                    self._show(self._recording.at(self._head))
                    self._playing = self._shown.at < len(self._recording) - 1
                before = now
        finally:
            if thinking is not None:
                thinking.cancel()

    async def replay(self, request: Seek) -> ReplayView:
        """Move, and say where one is. Raises UsageError, SidestepError."""
        if request.speed is not None:
            if not SLOWEST <= request.speed <= FASTEST:
                raise UsageError(f"a speed of {request.speed:g}", hint=f"from {SLOWEST:g} to {FASTEST:g}")
            self._speed = request.speed
        if request.to is not None:
            self._move(self._recording.at(request.to))
        if request.by:
            self._move(self._shown.at + request.by)
        if request.decisions:
            self._move(self._decision(request.decisions))
        if request.play is not None:
            if request.play and self._shown.at == len(self._recording) - 1:
                self._move(0)
            self._playing = request.play
        return self._view()

    def _view(self) -> ReplayView:
        times = self._recording.times
        step = max(1, len(self._marks) // _MARKS)
        return ReplayView(
            at=self._shown.at,
            count=len(times),
            time=self._shown.frame.time,
            first=times[0],
            last=times[-1],
            playing=self._playing,
            speed=self._speed,
            marks=self._marks[::step],
            otherwise=self._other[2] if self._other[0] == self._shown.at else Label(""),
        )

    def _decision(self, by: int) -> int:
        """The picture that shows the decision so many decisions from here."""
        here, times = self._shown.at, self._recording.times
        # a decision is on the first picture that was taken after it
        places = sorted({min(len(times) - 1, self._recording.at(mark) + (mark > times[0])) for mark in self._marks})
        ahead = [place for place in places if place > here] if by > 0 else [p for p in reversed(places) if p < here]
        end = len(times) - 1 if by > 0 else 0
        return ahead[abs(by) - 1] if len(ahead) >= abs(by) else end

    def _move(self, at: int) -> None:
        at = max(0, min(len(self._recording) - 1, at))
        self._show(at)
        self._head = self._recording.times[at]

    def _show(self, at: int) -> None:
        if at != self._shown.at:
            self._shown = self._recording.picture(at)
            self._tell()
            self._wanted.set()

    def _tell(self) -> None:
        self.number += 1
        self.changed()

    async def _think(self) -> None:
        """Ask the other policy about the newest picture, again and again."""
        assert self._otherwise is not None
        self._wanted.set()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            shown = self._shown
            try:
                item, said = await asyncio.to_thread(self._otherwise, shown)
            except (SidestepError, ValueError) as error:
                item, said = None, scrub(f"the other policy: {error}")
            self._other = (shown.at, item, said)
            if shown.at == self._shown.at:
                self._tell()

    # -- what a daemon would answer

    def welcome(self, actor: Label) -> Welcome:
        """Who answers: a recording, in level off."""
        level = self._shown.frame.level
        return Welcome(
            version=VERSION, daemon=__version__, fleet=self._fleet, level=level, banner=Label("REPLAY"),
            notice=Label(""), pid=0, actor=actor,
        )  # fmt: skip

    def frame(self) -> SnapshotFrame:
        """The picture shown, with the other policy's plan first."""
        frame = self._shown.frame
        at, item, _ = self._other
        plans = (item, *frame.plans) if item is not None and at == self._shown.at else frame.plans
        return msgspec.structs.replace(frame, number=self.number, plans=plans)

    async def list_plans(self, request: ListPlans) -> PlanList:
        """The plans of the picture."""
        frame = self.frame()
        return PlanList(frame.plans[: request.limit], frame.no_plan)

    async def get_plan(self, request: GetPlan) -> PlanView:
        """One of the plans of the picture. Raises UnknownReference."""
        for item in self.frame().plans:
            if str(item.plan.number) == request.ref or (len(request.ref) >= 6 and item.digest.startswith(request.ref)):
                return item
        raise UnknownReference(f"no plan {request.ref} was there at that time")

    async def get_log(self, request: GetLog) -> EventList:
        """The rows of the log that had been written by then."""
        known = self._recording.log(self._shown.frame.time)
        if request.since < 0:
            known = known[request.since :]
        return EventList(tuple(event for event in known if event.seq > request.since)[: request.limit])

    async def get_demand(self, request: GetDemand) -> DemandList:
        """Not recorded."""
        self._refuse()

    async def list_queue(self) -> Answer:
        """Not recorded."""
        self._refuse()

    async def shutdown(self, actor: Label) -> Answer:
        """It ends with the console that began it."""
        self._refuse()

    async def _refused(self, *_: object) -> NoReturn:
        self._refuse()

    approve = reject = propose_move = propose_reshard = propose_resize = set_level = steer = levels = _refused
    app_locks = get_instance = retry = oracle = planning = _refused

    def _refuse(self) -> NoReturn:
        raise SidestepError("this is a recording: nothing can be changed, and only what was on screen is known")
