"""What it costs at least to house a giant, what must leave for it priced in turn: a stronger bound than a matching.

A price says: wherever this shard goes, so many more shards leave hosts than leave them anyway. Prices hold
together if at every host, whatever comes there and whatever leaves it,

    departures + prices of what leaves  >=  base + worth + prices of what comes

where ``base`` leaves anyway and ``worth`` (of hosts in need only) is what the cheapest cover costs beyond
that. Summed over all hosts the prices cancel, as what leaves comes somewhere: so no plan makes fewer
moves than all bases and worths. Prices are guessed, then every host is checked, and what does not
hold is lowered until it does; only what was checked is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np

from sidestep.planning.model import State
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.relief.covers import ENUMERATED, Need, Shedding
from sidestep.planning.relief.desk import Desk
from sidestep.planning.relief.program import smallest

#: how deep what must leave for a giant is priced, and the most that such a shard is worth
DEPTH, DEEP = 2, 3
#: rounds of checking and lowering; shards with a price beyond which nothing is checked; looks at covers for one bound
ROUNDS, PRICED, LOOKS = 40, 40, 1500
#: so many giants at one host are looked at one by one; of more only the least that they ask for
CROWD = 3


class Unsure(Exception):
    """The bound would take more looks than it is worth."""


class Prices:
    """Prices of giants for some hosts in need; ``covers`` are what those must shed, ``base`` what leaves anyway."""

    def __init__(
        self,
        desk: Desk,
        base: Mapping[int, int],
        covers: Mapping[int, Shedding],
        reach: Mask,
        roomy: Callable[[int], bool],
        departures: Callable[[tuple[int, ...], I64], F64],
    ) -> None:
        self.desk, self.base, self.covers, self.reach = desk, base, covers, reach
        self.roomy, self.departures = roomy, departures
        self.state = State(desk.problem)
        self.price: dict[int, int] = {}
        self.worth: dict[int, int] = dict.fromkeys(covers, 0)
        self._away: dict[int, tuple[I64, F64]] = {}
        self._shedding: dict[tuple[int, int], Shedding] = {}
        self._looks = 0

    def bound(self, giants: Sequence[int]) -> int:
        """How many further departures the hosts in need force together; 0 if that was not found out."""
        try:
            simple = {giant: self._lift(giant, 0) for giant in giants}
            for giant in sorted(simple, key=lambda g: (-simple[g], g)):
                self.price[giant] = self._lift(giant, DEPTH)
                self._value()
            for _ in range(ROUNDS):
                self._value()
                wrong = self._wrong()
                if wrong is None:
                    return sum(self.worth.values())
                self._lower(*wrong, giants)
        except Unsure:
            return 0
        return 0

    def _value(self) -> None:
        for host, shedding in self.covers.items():
            self.worth[host] = max(0, self._cheapest(shedding)[0] - self.base.get(host, 0))

    def _anyway(self, host: int) -> int:
        return self.base.get(host, 0) + self.worth.get(host, 0)

    def _hosts(self, giant: int) -> tuple[I64, F64]:
        """Where it may go, and how many must leave there at least."""
        if giant not in self._away:
            p = self.desk.problem
            allowed = p.constraints.masks[int(p.constraints.mask[giant])]
            rows = np.flatnonzero(allowed & p.accepts & ~self.desk.closed)
            rows = np.asarray(rows[rows != p.host[giant]], dtype=np.int64)
            self._away[giant] = rows, self.departures((giant,), rows)
        return self._away[giant]

    def _lift(self, giant: int, depth: int) -> int:
        """The least that housing a giant costs beyond what leaves anyway, by the prices so far."""
        rows, away = self._hosts(giant)
        anyway = np.array([self._anyway(host) for host in rows.tolist()], dtype=np.float64)
        least = away - anyway
        best = DEEP if depth < DEPTH else int(self.desk.problem.shards)
        for at in np.lexsort((rows, least)).tolist():
            if least[at] >= best:
                break
            host = int(rows[at])
            shedding = self._guest(giant, host)
            cost, chosen = self._cheapest(shedding)
            while depth and cost - anyway[at] < best:
                new = [s for s in chosen if s not in self.price and not self.roomy(s)]
                # what could go to hosts of other bounds is worth nothing here: those count these hosts' departures
                new = [s for s in new if self.reach[self._hosts(s)[0]].all()]
                if not new:
                    break
                for shard in new:
                    self.price[shard] = self._lift(shard, depth - 1)
                cost, chosen = self._cheapest(shedding)
            best = min(best, max(0, cost - int(anyway[at])))
            if best == 0:
                break
        return best

    def _guest(self, giant: int, host: int) -> Shedding:
        if (giant, host) not in self._shedding:
            shards = self.desk.movable_at_start(host)
            self._shedding[giant, host] = Shedding(self.state, Need(host, guest=giant), shards)
        return self._shedding[giant, host]

    def _cheapest(self, shedding: Shedding) -> tuple[int, list[int]]:
        """No cover costs less, prices included; and the shards of one of that cost, none if it is not at hand."""
        self._looks += 1
        if self._looks > LOOKS:
            raise Unsure
        if not len(shedding.columns):
            return 0, []
        cost = np.array([1 + self.price.get(shard, 0) for shard in shedding.shards.tolist()], dtype=np.int64)
        best, chosen = ENUMERATED + 1, list[int]()
        for size in range(1, ENUMERATED + 1):
            if size >= best:
                break
            picks, complete = shedding.of_size(size)
            if len(picks):
                total = cost[picks].sum(axis=1)
                at = int(total.argmin())
                if total[at] < best or (total[at] == best and not chosen):
                    best, chosen = int(total[at]), shedding.shards[picks[at]].tolist()
            if not complete:
                return min(best, size), chosen
        if chosen or best <= ENUMERATED or not shedding.plain:
            return best, chosen
        weight, lacking = shedding.weights()
        picks, low = smallest(weight, lacking, cost.astype(np.float64))
        most = int(self.desk.problem.shards)
        return max(best, int(np.ceil(min(low, most) - 1e-6))), shedding.shards[picks].tolist()

    def _wrong(self) -> tuple[tuple[int, ...], int] | None:
        """Shards that together cost less than their prices at some host, and by how much; None if all holds."""
        priced = sorted(shard for shard, price in self.price.items() if price > 0)
        if len(priced) > PRICED:
            raise Unsure
        for giant in priced:
            rows, away = self._hosts(giant)
            for host in rows[away < self._wanted(rows, (giant,))].tolist():
                lack = self._anyway(host) + self.price[giant] - self._cheapest(self._guest(giant, host))[0]
                if lack > 0:
                    return (giant,), lack
        for size in range(2, CROWD + 1):
            for some in combinations(priced, size):
                near = self._near(some)
                if not len(near):
                    continue
                short = self._wanted(near, some) - self.departures(some, near)
                if (short > 0).any():
                    return some, int(short.max())
        if self._crowded(priced):
            raise Unsure
        return None

    def _crowded(self, priced: Sequence[int]) -> bool:
        """Whether more than ``CROWD`` of the shards may fit some host for less than they are worth together.

        So many ask for at least the smallest demands, column by column, and are worth at most the highest prices.
        """
        p, reached = self.desk.problem, [self._hosts(shard)[0] for shard in priced]
        hosts, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *reached]), return_counts=True)
        for host in hosts[counts > CROWD].tolist():
            some = [shard for shard, rows in zip(priced, reached, strict=True) if host in rows]
            asked = np.cumsum(np.sort(p.mean[some].astype(np.float64), axis=0), axis=0)
            worth = np.cumsum(sorted((self.price[shard] for shard in some), reverse=True))
            held = self.state.upper(np.array([host]))[0]
            for size in range(CROWD + 1, len(some) + 1):
                wanted = int(worth[size - 1]) + self._anyway(host)
                lack = held + asked[size - 1] - (p.room[host] + 1e-9 * p.capacity[host])
                lack = np.where(asked[size - 1] > 0, np.nan_to_num(lack, nan=np.inf), 0.0)
                if (self.desk.most(host, wanted - 1) >= lack * (1 - 1e-9) - 1e-12).all():
                    return True
        return False

    def _wanted(self, rows: I64, some: tuple[int, ...]) -> F64:
        price = sum(self.price[shard] for shard in some)
        return np.array([self._anyway(host) + price for host in rows.tolist()], dtype=np.float64)

    def _near(self, some: tuple[int, ...]) -> I64:
        """Hosts where no single one of the shards already costs what all are worth."""
        rows: I64 | None = None
        price = sum(self.price[shard] for shard in some)
        for shard in some:
            here, away = self._hosts(shard)
            anyway = np.array([self._anyway(host) for host in here.tolist()], dtype=np.float64)
            cheap = here[away < anyway + price]
            rows = cheap if rows is None else np.intersect1d(rows, cheap)
            if not len(rows):
                break
        return rows if rows is not None else np.zeros(0, dtype=np.int64)

    def _lower(self, some: tuple[int, ...], lack: int, giants: Sequence[int]) -> None:
        """Take what is too much from those that only make way, else from the cheapest."""
        for shard in sorted(some, key=lambda s: (s in giants, self.price[s], s)):
            less = min(lack, self.price[shard])
            self.price[shard] -= less
            lack -= less
            if not lack:
                break
