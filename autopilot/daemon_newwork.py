"""New work that the calendar expects, beside the loop: it looks, says once what is coming, and keeps what it learned.

All of it is guesses (S4.13). They are told, with how often such guesses were right; nothing is
started or moved for them. No tick waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sidestep.autopilot.calendar_newwork import NewWork
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.newwork import HitRate, SpeculativeWork
from sidestep.fleet.resources import show_seconds
from sidestep.fleet.snapshot import Snapshot

#: seconds ahead that are listed, and that are worth a line in the log (or the policy's horizon, if that is longer)
AHEAD: Final = 86400.0
SOON: Final = 3600.0
#: seconds between two guesses, and beginnings that lie nearer together are one guess
EVERY: Final = 60.0
NEAR: Final = 1800.0
#: lines in the log at once, and guesses that are listed
LINES: Final = 10
MOST: Final = 200


class Coming:
    """``look`` with every snapshot, ``guess`` every few seconds, ``save`` now and then, ``end`` at the end.

    One task calls ``guess`` and ``save``, so that the thread which they use is one at a time.
    """

    def __init__(self, work: NewWork, *, horizon: float, clock: Clock, report: Callable[[str], None]) -> None:
        self._work, self._clock, self._report = work, clock, report
        self._soon = max(SOON, horizon)
        self._guessed = float("-inf")
        self._newest: Snapshot | None = None
        #: when each guess that was said begins
        self._said: dict[tuple[str, str, str], float] = {}
        #: what is expected within a day, soonest first
        self.expected: tuple[SpeculativeWork, ...] = ()
        if work.trouble:
            report(work.trouble)

    def look(self, snapshot: Snapshot) -> None:
        """Take a tick's snapshot; what is in it is looked at beside the loop, so that this costs nothing."""
        self._newest = snapshot

    async def guess(self) -> None:
        """Look at the newest snapshot and, once a minute, guess what will come; say what was not said yet."""
        snapshot, self._newest = self._newest, None
        if snapshot is not None:
            await asyncio.to_thread(self._work.look, snapshot)
        if self._clock.monotonic() - self._guessed < EVERY:
            return
        self._guessed, now = self._clock.monotonic(), self._clock.wall()
        self.expected = (await asyncio.to_thread(self._work.expected, now, AHEAD))[:MOST]
        fresh = [work for work in self.expected if work.begins <= now + self._soon and self._is_new(work)]
        for work in fresh[:LINES]:
            self._report(describe(work, now))
        if len(fresh) > LINES:
            self._report(f"new work expected (speculative): {len(fresh) - LINES} more; list it: sidestep oracle")
        # what has begun or was not to be may be said again when it comes round
        self._said = {key: begins for key, begins in self._said.items() if begins > now - AHEAD}

    def hit_rates(self) -> tuple[HitRate, ...]:
        """How often such guesses were right, by kind."""
        return self._work.hit_rates()

    async def save(self) -> None:
        """Keep what was learned. Raises SidestepError."""
        await asyncio.to_thread(self._work.save)

    def end(self) -> None:
        """Keep what was learned, for the next daemon; a disk that is full keeps no daemon from ending."""
        try:
            self._work.save()
        except SidestepError as error:
            self._report(f"what was learned of new work is lost: {error}")

    def _is_new(self, work: SpeculativeWork) -> bool:
        key = (work.kind, str(work.app), str(work.name))
        before = self._said.get(key)
        self._said[key] = work.begins
        return before is None or abs(work.begins - before) > NEAR


def describe(work: SpeculativeWork, now: float) -> str:
    """A guess in words, for the log."""
    ahead = work.begins - now
    when = f"in {show_seconds(round(ahead))}" if ahead >= 1 else "now"
    return f"new work expected (speculative): {work.name} of {work.app} {when}, chance {work.chance:.0%}, {work.reason}"
