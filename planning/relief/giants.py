"""Giants: shards that have room nowhere before something leaves, and what they force.

Where every minimum cover of a hot host holds a giant, either the host sheds more than its
minimum, or the giant goes to a host that sheds for it. Which of them do what is a matching
between the hosts in need and those that could serve them; its optimum is a bound on the moves of
every plan, and says where to put the giants in a plan that meets it.

Everything here is optimistic on purpose: rules between shards are ignored, and so is where that
goes which leaves. So the optimum is never more than the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from sidestep.planning.model import State
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.relief.covers import ENUMERATED, Need, Shedding
from sidestep.planning.relief.desk import TOP, Desk
from sidestep.planning.relief.prices import Prices
from sidestep.planning.relief.program import Matched, matching

#: rounds of solving the matching and making what it chose exact; ways that are made exact in one
_ROUNDS = 16
_REFINED = 4
#: integer programs of single hosts that are solved for one bound
_PROGRAMS = 300
#: hosts in need beyond which no matching is made
_NEEDS = 60
#: a shard is a giant if no more hosts than these have room for it
SCARCE = 0


@dataclass(frozen=True)
class Way:
    """One way to serve a host in need: ``giant`` goes to ``host``, or is not moved at all (-1) and ``host`` sheds."""

    giant: int
    host: int
    #: departures of ``host`` beyond its base that this takes at least
    extra: int


@dataclass(frozen=True)
class Needy:
    """A hot host of which every minimum cover of ``least`` shards holds a giant."""

    host: int
    least: int
    giants: tuple[int, ...]
    #: further departures of its own with which it needs no giant to move; none if that never is enough
    own: int | None


@dataclass(frozen=True, eq=False)
class Counting:
    """Which hosts in need may be counted together: none that one host could serve for less than both are worth."""

    base: Mapping[int, int]
    found: Matched
    cheapest: list[dict[int, int]]
    together: dict[tuple[int, int], dict[int, float]]

    def shared(
        self,
        one: int,
        other: int,
        host: int,
    ) -> float:
        """Extra departures with which a host serves both; infinite if it never does."""
        if host not in self.cheapest[one] or host not in self.cheapest[other]:
            return float(np.inf)
        pair = self.together.get((max(one, other), min(one, other)), {})
        least = pair.get(host, 0.0) - self.base.get(host, 0)
        return float(max(least, self.cheapest[one][host], self.cheapest[other][host]))

    def additive(
        self,
        one: int,
        other: int,
    ) -> bool:
        """Whether no host serves both for less than they are worth."""
        worth = float(self.found.worth[one] + self.found.worth[other])
        return all(
            self.shared(one, other, host) >= worth - self.found.price.get(host, 0.0) - 1e-9
            for host in self.cheapest[one].keys() & self.cheapest[other].keys()
        )

    def no_crowd(
        self,
        one: int,
        counted: list[int],
    ) -> bool:
        """Whether no host serves three or more at once for less than they are worth."""
        for host in self.cheapest[one]:
            near = [o for o in counted if np.isfinite(self.shared(one, o, host))]
            if len(near) < 2:
                continue
            least = max(self.shared(one, o, host) for o in near)
            if least < float(self.found.worth[[one, *near]].sum()) - self.found.price.get(host, 0.0) - 1e-9:
                return False
        return True


class Giants:
    """The hosts in need of a problem, for problems in which demand simply adds up and every move counts one.

    ``base`` says how many shards leave each host anyway.
    """

    def __init__(self, desk: Desk, base: Mapping[int, int], reliefs: Iterable[tuple[Shedding, int]]) -> None:
        self.desk, self.base, self.state = desk, dict(base), State(desk.problem)
        self._fewest: dict[tuple[int, int], float] = {}
        self._rooms: dict[int, bool] = {}
        p = desk.problem
        #: (H, D) room before anything has left
        self._free = p.room + 1e-9 * p.capacity - self.state.upper()
        reliefs = list(reliefs)
        self._covers = {shedding.need.host: shedding for shedding, _ in reliefs}
        self.needy = [one for one in (self._needy(*relief) for relief in reliefs) if one is not None]

    @staticmethod
    def usable(desk: Desk) -> bool:
        """Whether the reasoning holds for this problem."""
        return desk.problem.certain and desk.problem.duration <= 1 and bool((desk.problem.count == 1).all())

    def _needy(self, shedding: Shedding, least: int) -> Needy | None:
        shards = shedding.shards
        hard = self.desk.hardness(shards)
        if least <= ENUMERATED:
            picks, complete = shedding.of_size(least)
            for at in np.argsort(hard[picks].max(axis=1), kind="stable").tolist() if complete else []:
                if all(self._roomy(shard) for shard in shards[picks[at]].tolist()):
                    return None
        easy = np.array([self._roomy(shard) for shard in shards.tolist()], dtype=np.bool_)
        if easy.all():
            return None
        without = shedding.smallest(np.ones(len(shards)), easy)[1] if easy.any() else np.inf
        own = None if np.isinf(without) else max(0, int(np.ceil(without - 1e-6)) - least)
        if own == 0:
            return None
        return Needy(shedding.need.host, least, tuple(shards[~easy].tolist()), own)

    def _candidates(self, shard: int) -> I64:
        p = self.desk.problem
        allowed: Mask = p.constraints.masks[int(p.constraints.mask[shard])]
        rows = np.flatnonzero(allowed & p.accepts & ~self.desk.closed)
        return np.asarray(rows[rows != p.host[shard]], dtype=np.int64)

    def _roomy(self, shard: int) -> bool:
        """Whether enough hosts have room for the shard before anything left, whatever rules between shards say."""
        if shard not in self._rooms:
            asked = self.desk.problem.mean[shard].astype(np.float64)
            fits = (self._free[self._candidates(shard)] >= asked) | ~(asked > 0)
            self._rooms[shard] = int(fits.all(axis=1).sum()) > SCARCE
        return self._rooms[shard]

    def _lack(self, shards: tuple[int, ...], rows: I64) -> F64:
        """(k, D) what every host lacks for all of the shards before anything has left."""
        p = self.desk.problem
        asked = p.mean[list(shards)].astype(np.float64)
        lack = self.state.upper(rows) + asked.sum(axis=0) - (p.room[rows] + 1e-9 * p.capacity[rows])
        lack = np.where(np.isnan(lack), np.inf, np.maximum(lack, 0.0))
        return np.where((asked > 0).any(axis=0), lack, 0.0)

    def _departures(self, shards: tuple[int, ...], rows: I64) -> F64:
        """(k,) how many must leave each host at least before the shards have room, each column by itself."""
        lack = self._lack(shards, rows)
        out = np.full(len(rows), np.inf)
        able = np.flatnonzero(np.isfinite(lack).all(axis=1))
        wanted = lack[able] * (1 - 1e-9) - 1e-12
        out[able] = self.desk.fewest(rows[able], wanted)
        for at in np.flatnonzero(out[able] > TOP).tolist():
            if not (self.desk.most(int(rows[able[at]]), self.desk.problem.shards) >= wanted[at]).all():
                out[able[at]] = np.inf
        return out

    def _ways(self, needy: list[Needy]) -> list[list[Way]]:
        """For every host in need all that could serve it, each at the least it takes as far as is known."""
        found: list[list[Way]] = []
        for one in needy:
            options = [] if one.own is None else [Way(-1, one.host, one.own)]
            for giant in one.giants:
                rows = self._candidates(giant)
                for host, away in zip(rows.tolist(), self._departures((giant,), rows).tolist(), strict=True):
                    if np.isfinite(away):
                        options.append(Way(giant, host, max(0, int(away) - self.base.get(host, 0))))
            found.append(options)
        return found

    def exact(self, way: Way) -> Way | None:
        """The same way with what it really takes; None if it never is enough."""
        if way.giant < 0:
            return way
        key = (way.giant, way.host)
        if key not in self._fewest:
            if len(self._fewest) >= _PROGRAMS:
                return way
            self._fewest[key] = self._least(*key)
        fewest = self._fewest[key]
        if np.isinf(fewest):
            return None
        return Way(way.giant, way.host, max(way.extra, int(fewest) - self.base.get(way.host, 0)))

    def _least(self, giant: int, host: int) -> float:
        rows = self.desk.problem.on(host)
        shedding = Shedding(self.state, Need(host, guest=giant), rows[self.desk.free[rows]])
        if not len(shedding.columns):
            return 0.0
        if not len(shedding.shards) or not shedding.possible():
            return np.inf
        if self._departures((giant,), np.array([host], dtype=np.int64))[0] > ENUMERATED:
            return float(np.ceil(shedding.smallest(np.ones(len(shedding.shards)))[1] - 1e-6))
        return float(shedding.least())

    def match(self) -> tuple[int, list[tuple[Needy, Way]]]:
        """How many further departures the giants force at least, and a way for each host in need that takes so few."""
        total, chosen = 0, []
        for part, reach in self._parts():
            low, ways = self._match(part)
            total += max(low, self._priced(part, reach))
            chosen += list(zip(part, ways, strict=False))
        return total, chosen

    def _priced(self, part: list[Needy], reach: Mask) -> int:
        """The same with what must leave for the giants priced in turn."""
        covers = {one.host: self._covers[one.host] for one in part}
        prices = Prices(self.desk, self.base, covers, reach, self._roomy, self._departures)
        return prices.bound(sorted({giant for one in part for giant in one.giants}))

    def _parts(self) -> list[tuple[list[Needy], Mask]]:
        """Hosts in need that have no host in common that could serve them, and (H,) the hosts that could."""
        p = self.desk.problem
        own = np.arange(p.hosts)
        reach: list[Mask] = [
            np.logical_or.reduce(p.constraints.masks[p.constraints.mask[list(one.giants)]], axis=0) | (own == one.host)
            for one in self.needy
        ]
        left, parts = list(range(len(self.needy))), []
        while left:
            group = [left.pop(0)]
            hosts = reach[group[0]].copy()
            while more := [at for at in left if (reach[at] & hosts).any()]:
                for at in more:
                    hosts |= reach[at]
                    left.remove(at)
                group += more
            parts.append(([self.needy[at] for at in sorted(group)], hosts))
        return parts

    def _match(self, needy: list[Needy]) -> tuple[int, list[Way]]:
        options = self._ways(needy)
        if any(not ways for ways in options) or len(needy) > _NEEDS:
            return 0, []
        together = self._pairs(needy)
        crowd = {host for pair in together.values() for host, least in pair.items() if np.isfinite(least)}
        unknown = len(together) < len(needy) * (len(needy) - 1) // 2
        bound, chosen = 0, [ways[0] for ways in options]
        for _ in range(_ROUNDS):
            single = set() if unknown else {w.host for ways in options for w in ways} - crowd
            found = matching([[(w.host, w.extra) for w in ways] for ways in options], single)
            if found is None:
                break
            bound = max(bound, self._proven(needy, options, found, together))
            chosen = [ways[at] for ways, at in zip(options, found.picked, strict=True)]
            if not self._refine(options, chosen):
                break
        return bound, chosen

    def _proven(
        self,
        needy: list[Needy],
        options: list[list[Way]],
        found: Matched,
        together: dict[tuple[int, int], dict[int, float]],
    ) -> int:
        """What of the matching's optimum holds though some could be served by the same departures of one host.

        Whoever is worth more together than a shared host sheds for both counts nothing.
        """
        cheapest: list[dict[int, int]] = [{} for _ in options]
        for least, ways in zip(cheapest, options, strict=True):
            for way in ways:
                least[way.host] = min(way.extra, least.get(way.host, way.extra))
        counting = Counting(self.base, found, cheapest, together)
        counted: list[int] = []
        for one in np.argsort(-found.worth, kind="stable").tolist():
            if found.worth[one] <= 1e-9:
                continue
            if all(counting.additive(one, other) for other in counted) and counting.no_crowd(one, counted):
                counted.append(one)
        total = sum(float(found.worth[one]) for one in counted) - sum(found.price.values())
        return max(0, int(np.ceil(total - 1e-6)))

    def _refine(self, options: list[list[Way]], chosen: list[Way]) -> bool:
        """Make the chosen ways and some as cheap ones exact; whether any of them takes more than was thought."""
        changed = False
        for ways, one in zip(options, chosen, strict=True):
            near = sorted((w for w in ways if w.extra <= one.extra), key=lambda w: w != one)[:_REFINED]
            for way in near:
                true = self.exact(way)
                if true != way:
                    at = ways.index(way)
                    ways[at : at + 1] = [] if true is None else [true]
                    changed = changed or way == one
        return changed and all(options)

    def _pairs(self, needy: list[Needy]) -> dict[tuple[int, int], dict[int, float]]:
        """For pairs of hosts in need: how many departures it takes at least on each host to serve both there.

        Infinite where that is never enough; hosts that are not told need no more for both than for one.
        """
        p = self.desk.problem
        found: dict[tuple[int, int], dict[int, float]] = {}
        for first in range(len(needy)):
            for second in range(first):
                one, other = needy[first], needy[second]
                least: dict[int, float] = {}
                zones = p.constraints.mask[[one.giants[0], other.giants[0]]]
                rows = np.flatnonzero(p.constraints.masks[zones].all(axis=0) & p.accepts)
                if len(one.giants) > 1 or len(other.giants) > 1 or not len(rows):
                    continue
                both = self._departures((one.giants[0], other.giants[0]), rows)
                least.update(zip(rows.tolist(), both.tolist(), strict=True))
                # at home a giant stays if its host sheds instead, and then the other one must fit beside it
                for home, guest in ((one, other), (other, one)):
                    if home.host in least:
                        least[home.host] = self._beside(guest.giants[0], home)
                found[first, second] = least
        return found

    def _beside(self, guest: int, home: Needy) -> float:
        """How many must leave a host for the guest if its own giants stay."""
        lack = self._lack((guest,), np.array([home.host], dtype=np.int64))[0]
        rows = self.desk.problem.on(home.host)
        rows = np.setdiff1d(rows[self.desk.free[rows]], np.array(home.giants))
        asked = self.desk.problem.mean[rows].astype(np.float64)
        best = np.cumsum(-np.sort(-asked, axis=0), axis=0)
        enough = (best >= lack * (1 - 1e-9)).all(axis=1)
        return float(enough.argmax() + 1) if enough.any() else np.inf
