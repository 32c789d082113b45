"""The line to the daemon: attaches, keeps the newest picture, reattaches when the line breaks.

The feed never touches a widget; the screens pull from it on their own beat. What an
operator must know about the line is in ``status``, and it is always shown.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ClassVar, Final, Literal

from msgspec import Struct

from sidestep.autopilot.client import AsyncClient, DaemonLost
from sidestep.autopilot.protocol import Answer, Body, ListPlans, PlanList, PlanView, SnapshotFrame, Welcome
from sidestep.autopilot.protocol_plans import NewPlan
from sidestep.console.sessions import Session
from sidestep.console.view import FleetView, decode, merge_plans
from sidestep.fleet.errors import ProtocolError, SidestepError, UsageError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import NoPlan

_FIRST_WAIT: Final = 0.25
_LONGEST_WAIT: Final = 5.0
_LOOKS: Final = frozenset({"hello", "subscribe", "why", "why-not", "compare-plans", "find-host", "try-drain", "seek"})


def looks(body: Body) -> bool:
    """Whether a request only asks; by the tags of the protocol, so that a new kind of request is none until then.

    A plan for a fleet that is changed on paper is never proposed, so it is a question too.
    """
    if isinstance(body, NewPlan):
        return bool(body.what_if)
    tag = str(type(body).__struct_config__.tag)
    return tag.startswith(("get-", "list-")) or tag in _LOOKS


class Status(Struct, frozen=True, kw_only=True):
    """How the line is: ``starting`` with what was said so far, ``live``, ``gone`` or ``failed`` with why."""

    kind: Literal["starting", "live", "gone", "failed"] = "starting"
    text: Label = Label("")
    phases: tuple[Label, ...] = ()


class Feed:
    """One attachment of one console. ``run`` is its life; everything else is what it knows."""

    #: seconds without a picture after which what is shown may be called old
    LATE: ClassVar[float] = 8.0

    def __init__(self, session: Session, *, rate: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.session = session
        self.status = Status()
        self.welcome: Welcome | None = None
        self.view: FleetView | None = None
        self.plans: tuple[PlanView, ...] = ()
        self.no_plan: NoPlan | None = None
        self._rate, self._clock = rate, clock
        self._received = self._gap = 0.0
        self._client: AsyncClient | None = None
        #: whether requests that could change anything are refused here already
        self.only_looks = False
        #: the daemon's socket, once the session has it
        self.path: Path | None = None

    @property
    def told(self) -> str:
        """That this is the past, and when; "" for the present."""
        return ""

    def age(self) -> float:
        """Seconds since the newest picture came."""
        return self._clock() - self._received

    def overdue(self) -> bool:
        """Whether the line is up and yet no picture has come for long: for four times what lay between the last ones.

        A daemon whose round hangs keeps the line, and nothing else would tell that what is shown is old.
        """
        return self.status.kind == "live" and not self.told and self.age() > max(self.LATE, 4 * self._gap)

    async def call(self, body: Body) -> Answer:
        """One request to the daemon. Raises SidestepError, also when the line is down."""
        if self.only_looks and not looks(body):
            raise UsageError("this console is read-only", hint="open it without --read-only")
        if self._client is None:
            raise DaemonLost("the daemon is gone", hint="wait until the top line says it is back")
        return await self._client.call(body)

    async def run(self) -> None:
        """Open the session, then attach again and again until cancelled; closes what it opened."""
        try:
            path = await self._open()
            self.path = path
            if path is not None:
                await self._attach_for_ever(path)
        finally:
            await self._drop()
            await asyncio.shield(self.session.close())

    async def _open(self) -> Path | None:
        try:
            return await self.session.open(self._say)
        except (SidestepError, TimeoutError, OSError) as error:
            text = "it did not get ready in time" if isinstance(error, TimeoutError) else str(error)
            self._set("failed", text)
            return None

    def _say(self, text: str) -> None:
        self.status = Status(kind="starting", phases=(*self.status.phases, scrub(text)))

    def _set(self, kind: Literal["live", "gone", "failed"], text: str = "") -> None:
        self.status = Status(kind=kind, text=scrub(text), phases=self.status.phases)

    async def _attach_for_ever(self, path: Path) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                async for frame in self._frames(path):
                    self._take(frame)
                    wait = _FIRST_WAIT
            except (SidestepError, OSError) as error:
                self._set("gone", str(error).splitlines()[0])
            await self._drop()
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            wait = min(_LONGEST_WAIT, wait * 2)

    async def _frames(self, path: Path) -> AsyncIterator[SnapshotFrame]:
        self._client = await AsyncClient.connect(path, name="console")
        self.welcome = self._client.welcome
        listing = await self._client.call(ListPlans())
        if isinstance(listing, PlanList):
            self.plans, self.no_plan = merge_plans((), listing.plans), listing.no_plan
        async for frame in self._client.subscribe(self._rate):
            yield frame

    def _take(self, frame: SnapshotFrame) -> None:
        try:
            self.view = decode(frame, self.view)
        except ProtocolError as error:
            self._set("live", str(error))
            return
        now = self._clock()
        if self._received:
            gap = now - self._received
            self._gap = min(gap, 2 * self._gap) if self._gap else gap
        self._received = now
        self.plans = merge_plans(self.plans, frame.plans)
        self.no_plan = frame.no_plan
        self._set("live")

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
