"""Watches a cluster, and moves hot slots before their master has more than it can do; or once it has (reactive).

Every ``interval``: demand of all slots is read and learned, the worst to come of every master is forecast, and where
that is above its limit the fewest slots leave it. A move is a journaled job like any other; while one runs, nothing
is planned, and for ``calm`` readings after it nothing is either, since what was moved shows only then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from sidestep.autopilot.cluster.foresight import Foresight, Outlook
from sidestep.backends.redis_cluster.balance import changes
from sidestep.backends.redis_cluster.client import Nodes
from sidestep.backends.redis_cluster.job import Leg
from sidestep.backends.redis_cluster.look import look
from sidestep.backends.redis_cluster.meter import Meter, Source
from sidestep.backends.redis_cluster.relief import Relief, relieved
from sidestep.backends.redis_cluster.topology import Member, View
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label

#: readings for which nothing is moved after a move
CALM: Final = 4
#: readings in a row that have to say so before anything is moved
AGREE: Final = 2
WORDS: Final = {
    "fewest": "the heaviest slots that fit elsewhere",
    "alone": "one slot is enough",
    "hot": "one slot is most of it, and goes to the coolest master",
    "no_room": "what else would have to leave fits nowhere: add a master",
    "largest": "one slot alone is above the limit: only its keys can be split, by those who named them",
}


class Settings(Struct, frozen=True, kw_only=True):
    """``limit``: cores that a master may be asked for (one thread serves); seconds otherwise."""

    limit: float = 0.7
    interval: float = 2.0
    horizon: float = 60.0
    quantile: float = 0.9
    season: float = 0.0
    model: str = "aggregate"
    #: act on what is forecast, or only on what is
    forecast: bool = True
    overhear: float = 0.0


class Tick(Struct, frozen=True, kw_only=True):
    """One reading: of every master its load now and to come, and what is to be done, with reasons."""

    number: int
    masters: tuple[Label, ...]
    now: tuple[float, ...]
    peak: tuple[float, ...]
    ahead: tuple[float, ...]
    predicted: bool
    source: tuple[Source, ...]
    reliefs: tuple[Relief, ...]
    legs: tuple[Leg, ...]
    why: str = ""


Act = Callable[[Sequence[Leg], str, View], Awaitable[None]]
Show = Callable[[Tick], None]


class Watch:
    """One cluster, as long as it is run. ``act`` moves; without it nothing is (a dry run)."""

    def __init__(
        self, nodes: Nodes, seeds: Sequence[tuple[str, int]], settings: Settings, *, act: Act | None, show: Show
    ) -> None:
        self._nodes, self._seeds, self._settings = nodes, tuple(seeds), settings
        self._act, self._show = act, show
        self._meter = Meter(nodes, overhear=settings.overhear)
        self._foresight = Foresight(
            settings.interval, settings.horizon, model=settings.model, quantile=settings.quantile,
            season=settings.season,
        )  # fmt: skip
        self._calm, self._said = 0, 0
        self.number = 0

    async def run(self, seconds: float = 0.0) -> None:
        """Watch for so long; for ever with 0. Raises SidestepError of a move that failed."""
        clock = asyncio.get_running_loop().time
        begun = due = clock()
        while not seconds or clock() - begun < seconds:
            await self._tick()
            due = max(due + self._settings.interval, clock())
            await asyncio.sleep(due - clock())

    async def _tick(self) -> None:
        try:
            seen = await look(self._nodes, self._seeds)
            reading = await self._meter.read(seen)
        except HostError:
            return  # a node is lost; the cluster has other worries, and the next reading comes
        if np.isfinite(reading.cpu).any():
            self._foresight.learn(reading.cpu)
        self.number += 1
        self._calm = max(0, self._calm - 1)
        if not self._foresight.known:
            return
        masters = seen.masters
        outlook = self._foresight.outlook(seen.owners, len(masters), forecast=self._settings.forecast)
        limits = np.array([self._settings.limit if one.alive else 0.0 for one in masters])
        after, reliefs = relieved(seen.owners, outlook.slots, limits)
        legs = [Leg(masters[a].id, masters[b].id, slots) for (a, b), slots in changes(seen.owners, after).items()]
        self._said = self._said + 1 if legs else 0
        ready = seen.ok and not seen.halves and not self._calm and self._said >= AGREE
        why = "; ".join(reason(one, outlook, masters) for one in reliefs)
        self._show(
            Tick(
                number=self.number, masters=tuple(one.name for one in masters),
                now=tuple(outlook.now.tolist()), peak=tuple(outlook.peak.tolist()),
                ahead=tuple(outlook.ahead.tolist()), predicted=outlook.predicted,
                source=tuple(reading.source.get(one.id, "estimated") for one in masters),
                reliefs=reliefs, legs=tuple(legs) if ready else (), why=why,
            )
        )  # fmt: skip
        if ready and legs and self._act is not None:
            await self._act(legs, why, seen)
            self._calm, self._said = CALM, 0


def reason(one: Relief, outlook: Outlook, masters: Sequence[Member]) -> str:
    """Why these slots leave a master, in words."""
    when = f"in {outlook.ahead[one.master]:.0f} s" if outlook.predicted and outlook.ahead[one.master] else "now"
    takers = sorted({masters[taker].name for _, taker in one.moves})
    to = f"{len(one.moves)} slots to {', '.join(takers)}" if one.moves else "nothing leaves"
    return (
        f"{masters[one.master].name} would be asked for {one.load:.2f} cores {when}, more than {one.limit:.2f}: "
        f"{to} ({WORDS[one.why]})"
    )
