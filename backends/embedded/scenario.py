"""The plot of a demonstration: who gets how much load when. Pure, and the same for the same seed.

Every host lives through compressed days. One host, chosen by the seed, gets a surge on
its shards that would carry it past the threshold if nothing moved; moving one certain
shard of it to any cooler host keeps all of them below.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from sidestep.fleet.errors import UsageError

#: base demand of the coolest and the warmest host, as fractions of capacity
_COOLEST: Final = 0.27
_WARMEST: Final = 0.36
#: what the shard that is worth moving demands at the height of a surge, fraction of capacity
_MOVER: Final = 0.36
#: part of an interval between two requests by which one may be early
_JITTER: Final = 0.6
_STEP: Final = 0.25


class ShardLoad(Struct, frozen=True):
    """One shard: where it starts, and its demand in cores, averaged over a day, without surges."""

    name: str
    host: int
    base: float


class Surge(Struct, frozen=True):
    """Further demand of the shards on one host, from ``start`` on: cores per shard at its height."""

    host: int
    start: float
    extra: tuple[float, ...]


class Scenario(Struct, frozen=True, kw_only=True):
    """All parameters of a demonstration; times are seconds after the load's start, demand is cores."""

    seed: int
    hosts: int
    loads: tuple[ShardLoad, ...]
    #: where in its day each host starts, 0 to 1
    phases: tuple[float, ...]
    #: the host of the first surge
    hot: int
    #: declared cores of every host, and processor seconds of every request
    capacity: float
    cost: float
    #: height of a surged host's demand, and the policy's limit, as fractions of capacity
    plateau: float
    threshold: float
    #: seconds of a compressed day, and how far demand swings in it (fraction of base)
    day: float
    swing: float
    #: first surge: the ramp's start and end; and the end of the story
    ramp_start: float
    plateau_at: float
    end: float
    #: endless demonstrations: how long a surge stays, wanes, and the next is away
    stay: float
    wane: float
    rest: float

    @property
    def notice(self) -> str:
        """What people must know about the clock."""
        return f"time is compressed: a day lasts {self.day:g} s"

    @property
    def cycle(self) -> float:
        """Seconds from the start of one surge to the start of the next."""
        return self.plateau_at - self.ramp_start + self.stay + self.wane + self.rest

    def placement(self) -> tuple[int, ...]:
        """The host of every shard at the start."""
        return tuple(load.host for load in self.loads)

    def first_surge(self) -> Surge:
        """The surge that the story is about."""
        return self.surge_on(self.hot, self.ramp_start, self.placement())

    def surge_on(self, host: int, start: float, placement: Sequence[int]) -> Surge:
        """A surge of the shards that ``placement`` has on ``host``, up to the plateau."""
        members = [i for i, at in enumerate(placement) if at == host]
        mover = random.Random(f"{self.seed} {start:g}").choice(members)  # noqa: S311 - reproducible on purpose
        others = (self.plateau - _MOVER) * self.capacity / max(1, len(members) - 1)
        extra = [0.0] * len(self.loads)
        for i in members:
            share = _MOVER * self.capacity if i == mover else others
            extra[i] = max(0.0, share - self.loads[i].base)
        return Surge(host, start, tuple(extra))

    def later_surge(self, number: int, placement: Sequence[int], before: int) -> Surge:
        """The surge of that number (from 1) of an endless demonstration; not on the host of the one ``before``."""
        crowded = [h for h in range(self.hosts) if list(placement).count(h) >= 2]
        fresh = [h for h in crowded if h != before] or crowded
        host = random.Random(f"{self.seed} later {number}").choice(fresh)  # noqa: S311 - reproducible on purpose
        return self.surge_on(host, self.ramp_start + number * self.cycle, placement)

    def height(self, surge: Surge, time: float, *, endless: bool = False) -> float:
        """How far a surge has come, 0 to 1."""
        rise = self.plateau_at - self.ramp_start
        age = time - surge.start
        if endless and age > rise + self.stay:
            return max(0.0, 1 - (age - rise - self.stay) / self.wane)
        return min(1.0, max(0.0, age / rise))

    def demand(self, shard: int, time: float, surge: Surge, *, endless: bool = False) -> float:
        """A shard's demand in cores."""
        load = self.loads[shard]
        daily = math.sin(2 * math.pi * (time / self.day + self.phases[load.host]))
        return load.base * (1 + self.swing * daily) + surge.extra[shard] * self.height(surge, time, endless=endless)

    def host_demand(self, host: int, time: float, placement: Sequence[int], surge: Surge | None = None) -> float:
        """A host's demand in cores with the shards placed so, by default during the first surge."""
        surge = surge or self.first_surge()
        return sum(self.demand(i, time, surge) for i, at in enumerate(placement) if at == host)

    def crosses(self, host: int, placement: Sequence[int]) -> float | None:
        """When the host's demand first passes the threshold, if it does before the end."""
        surge, limit = self.first_surge(), self.threshold * self.capacity
        times = (tick * _STEP for tick in range(math.ceil(self.end / _STEP)))
        return next((t for t in times if self.host_demand(host, t, placement, surge) > limit), None)

    def gaps(self, shard: int) -> Iterator[float]:
        """Intervals between a shard's requests, in units of the mean interval; they average 1."""
        chance = random.Random(f"{self.seed} {self.loads[shard].name}")  # noqa: S311 - reproducible on purpose
        before = 0.0
        while True:
            early = chance.random() * _JITTER
            yield 1.0 + before - early
            before = early


def scenario(
    seed: int = 7, hosts: int = 4, shards: int = 12, *, capacity: float = 0.25, cost: float = 0.002
) -> Scenario:
    """The scenario of a seed. Raises UsageError for a fleet too small to have something worth moving."""
    if hosts < 2 or shards < 2 * hosts:
        raise UsageError(
            f"{hosts} hosts with {shards} shards: nothing could be moved",
            hint="take at least 2 hosts, and at least 2 shards for each of them",
        )
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    bases = [_COOLEST + (_WARMEST - _COOLEST) * i / (hosts - 1) for i in range(hosts)]
    chance.shuffle(bases)
    # any host but the coolest, which always has room
    hot = chance.choice([h for h in range(hosts) if bases[h] > _COOLEST])
    counts = [len(range(h, shards, hosts)) for h in range(hosts)]
    width = max(2, len(str(shards)))
    loads = tuple(
        ShardLoad(f"kv-{i + 1:0{width}d}", i % hosts, bases[i % hosts] * capacity / counts[i % hosts])
        for i in range(shards)
    )
    return Scenario(
        seed=seed,
        hosts=hosts,
        loads=loads,
        phases=tuple(chance.random() for _ in range(hosts)),
        hot=hot,
        capacity=capacity,
        cost=cost,
        plateau=1.06,
        threshold=0.8,
        day=120.0,
        swing=0.15,
        ramp_start=25.0,
        plateau_at=112.0,
        end=130.0,
        stay=60.0,
        wane=20.0,
        rest=15.0,
    )
