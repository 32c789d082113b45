"""From what is decided to what is done: which instance, on which host. Counts first, then acts; hosts do the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.pool.hands import PoolHands
from sidestep.autopilot.pool.ledger import PoolFull, PoolInstance
from sidestep.backends.pool.client import Seen
from sidestep.fleet.instances import RUNNING, SERVING, InstanceState
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.machines import HostState
from sidestep.fleet.newwork import SpeculativeWork
from sidestep.fleet.pools import PoolSpec
from sidestep.planning.pool import Decision, Terms
from sidestep.planning.pool.drills import due, oldest
from sidestep.planning.pool.share import Room, share
from sidestep.planning.pool.speculative import prepare, settle
from sidestep.planning.pool.steady import Stabiliser

_I = InstanceState
I64 = NDArray[np.int64]
#: hosts that instances leave
EMPTYING: Final = frozenset({HostState.DRAINING, HostState.DRAINED, HostState.MAINTENANCE})
#: instances of a pool that are made ready on one host at a time
AT_ONCE: Final = 4


class Counted(Struct, frozen=True, kw_only=True):
    """Instances on hosts that answer; ``serving`` (A,) of each app, ``there`` (P, H) of those that take room."""

    instances: tuple[PoolInstance, ...]
    serving: I64
    there: I64
    #: (P, H) hosts that may get more, and hosts that are to be empty
    may: NDArray[np.bool_]
    leaving: frozenset[str]


class Steering:
    """Begins what brings the pools to what was decided. Everything it begins is in the journal before."""

    def __init__(
        self, pools: Sequence[PoolSpec], apps: Sequence[tuple[int, str]], terms: Terms, journal: Journal,
        hands: PoolHands, fleet: FleetSpec, every: float,
    ) -> None:  # fmt: skip
        self._pools, self._apps, self._terms = pools, apps, terms
        self._journal, self._hands = journal, hands
        self._hosts = [str(host.name) for host in fleet.hosts]
        self._row = {str(pool.name): row for row, pool in enumerate(pools)}
        self._at = {name: at for at, name in enumerate(self._hosts)}
        self._member = {key: at for at, key in enumerate(apps)}
        self._open = np.array([not host.cordoned for host in fleet.hosts], dtype=np.bool_)
        self._named = np.array([[name in pool.hosts for name in self._hosts] for pool in pools], dtype=np.bool_)
        self._free = _free(fleet)
        self._ready = Stabiliser(terms.stabilise, every)
        self._app_of = {str(app): str(pool.name) for pool in pools for app in pool.apps}
        self._shards = frozenset(str(shard.name) for shard in fleet.shards)

    def count(self, reached: frozenset[tuple[str, str]], states: Mapping[str, HostState]) -> Counted:
        """What is there now, on hosts that answer."""
        instances = tuple(
            one for one in self._journal.pool_instances()
            if (str(one.pool), str(one.host)) in reached and one.pool in self._row
        )  # fmt: skip
        serving = np.zeros(len(self._apps), dtype=np.int64)
        there = np.zeros((len(self._pools), len(self._hosts)), dtype=np.int64)
        for one in instances:
            row = self._row[one.pool]
            if one.state in RUNNING:
                there[row, self._at[one.host]] += 1
            at = self._member.get((row, str(one.app)))
            if one.state in SERVING and at is not None:
                serving[at] += 1
        may = np.zeros_like(there, dtype=np.bool_)
        for pool, host in reached:
            may[self._row[pool], self._at[host]] = states.get(host) is HostState.READY
        leaving = frozenset(host for host, state in states.items() if state in EMPTYING)
        may = may & self._named & self._open[None, :]
        return Counted(instances=instances, serving=serving, there=there, may=may, leaving=leaving)

    def guess(self, now: float, expected: Sequence[SpeculativeWork]) -> I64:
        """(P,) instances to hold for functions that are expected; guesses that are over are settled."""
        quota = {str(pool.name): pool.speculative for pool in self._pools}
        guesses = self._journal.guesses()
        found = np.zeros(len(self._pools), dtype=np.int64)
        if not guesses and not any(quota.values()):
            return found
        kept, settled = settle(now, guesses, self._shards)
        for each in settled:
            self._journal.settle_guess(each.name, hit=each.hit)
        lead = {str(pool.name): pool.speculative_lead for pool in self._pools}
        fresh = prepare(now, expected, kept, self._app_of, quota, lead, self._shards)
        for guess in fresh:
            self._journal.guess(guess)
        for guess in (*kept, *fresh):
            if guess.pool in self._row:
                found[self._row[guess.pool]] += guess.count
        return found

    def act(self, now: float, decision: Decision, counted: Counted, seen: Mapping[int, Seen]) -> tuple[int, ...]:
        """Begin what is to be done; instances that are missing (A,) of each app and cannot be had at once."""
        pools = len(self._pools)
        active = np.bincount(self._terms.pool, decision.active, pools).astype(np.int64)
        ready = self._ready.hold(now, decision.ready)
        wanted = np.minimum(active + ready, self._terms.most)
        # what is on hosts takes its room already: room is all that these pools may have together
        room = Room(self._free, self._terms.size, counted.may)
        granted = share(wanted, self._terms.guarantee, self._terms.priority, counted.there, room)
        unmet = [0] * len(self._apps)
        for row in range(pools):
            self._act_on(row, decision, granted[row], counted, seen, unmet)
        self._drills(now, counted)
        return tuple(unmet)

    def _act_on(
        self, row: int, decision: Decision, granted: I64, counted: Counted, seen: Mapping[int, Seen], unmet: list[int]
    ) -> None:
        pool, hands = self._pools[row], self._hands
        mine = [one for one in counted.instances if one.pool == pool.name]
        ready = [one for one in mine if one.state is _I.READY and not hands.busy(one)]
        idle = [one for one in ready if one.host not in counted.leaving]
        for one in ready:
            if one.host in counted.leaving:
                hands.begin(one, hands.discard(one))
        budget = int(granted.sum())
        short = 0
        members = [at for at, (owner, _) in enumerate(self._apps) if owner == row]
        targets = _within({at: int(decision.active[at]) for at in members}, budget)
        for at in members:
            app = self._apps[at][1]
            both = [one for one in mine if one.state in SERVING and one.app == app]
            serving = [one for one in both if one.host not in counted.leaving]
            more = targets[at] - len(serving)
            for _ in range(min(max(more, 0), len(idle))):
                one = self._journal.pool_move(idle.pop(0), _I.ACTIVATING, pool, app=app)
                hands.begin(one, hands.activate(one))
                more -= 1
            unmet[at] = max(more, 0) + int(decision.active[at]) - targets[at]
            short += max(more, 0)
            leaving = sorted(
                (one for one in serving if one.state is _I.ACTIVE and not hands.busy(one)),
                key=lambda one: seen[one.id].in_flight if one.id in seen else 0,
            )
            over = leaving[: max(-more, 0)]
            if sum(one.state is _I.ACTIVE for one in serving) >= targets[at]:
                # others serve in their place by now
                over += [one for one in both if one.host in counted.leaving and one.state is _I.ACTIVE]
            for one in over:
                hands.begin(one, hands.retire(one))
        warming = sum(one.state is _I.WARMING for one in mine)
        serving_all = sum(one.state in SERVING and one.host not in counted.leaving for one in mine)
        spare = max(budget - max(serving_all, sum(targets.values())), 0)
        lacking = short + spare - warming - len(idle)
        if lacking > 0:
            self._more(pool, lacking, granted - counted.there[row], mine, wake=short > 0)
        for one in idle[: max(-lacking, 0)]:
            hands.begin(one, hands.discard(one))
        cold = sum(one.state is _I.COLD for one in mine)
        if cold < pool.cold:
            self._put_cold(pool, counted.may[row], mine)

    def _more(self, pool: PoolSpec, count: int, room: I64, mine: Sequence[PoolInstance], *, wake: bool) -> None:
        """Wake cold instances if there is need at once, and start others, on the hosts with the most room."""
        hands = self._hands
        try:
            for one in [one for one in mine if one.state is _I.COLD and not hands.busy(one)] if wake else []:
                if count <= 0 or room[self._at[one.host]] <= 0:
                    continue
                woken = self._journal.pool_move(one, _I.WARMING, pool)
                hands.begin(woken, hands.warm(woken))
                room[self._at[one.host]] -= 1
                count -= 1
            for at in np.argsort(-room, kind="stable").tolist():
                host = self._hosts[at]
                under_way = sum(one.state is _I.WARMING and one.host == host for one in mine)
                if hands.paused(pool.name, host):
                    continue
                for _ in range(min(count, int(room[at]), AT_ONCE - under_way)):
                    new = self._journal.pool_open(pool, host, _I.WARMING)
                    hands.begin(new, hands.warm(new))
                    count -= 1
        except PoolFull:
            return  # some that are still on their way out count as well: the next tick sees

    def _put_cold(self, pool: PoolSpec, may: NDArray[np.bool_], mine: Sequence[PoolInstance]) -> None:
        held = {host: sum(one.state is _I.COLD and one.host == host for one in mine) for host in self._hosts}
        hosts = [host for host in self._hosts if may[self._at[host]] and not self._hands.paused(pool.name, host)]
        if not hosts:
            return
        try:
            new = self._journal.pool_open(pool, min(hosts, key=lambda host: held[host]), _I.COLD)
        except PoolFull:
            return
        self._hands.begin(new, self._hands.cold(new))

    # -- drills

    def _drills(self, now: float, counted: Counted) -> None:
        cold = np.zeros(len(self._pools), dtype=np.int64)
        for one in counted.instances:
            cold[self._row[one.pool]] += one.state is _I.COLD and not self._hands.busy(one)
        if not cold.any():
            return
        known = self._journal.drills()
        last = np.array([known[p.name].began if p.name in known else -np.inf for p in self._pools])
        every = np.array([pool.drill_every for pool in self._pools])
        for row in np.flatnonzero(due(now, last, every, cold, np.zeros(len(cold), dtype=np.bool_))).tolist():
            self.drill(row)

    def drill(self, row: int) -> PoolInstance | None:
        """Wake the cold instance that was not checked for the longest time; None if there is none."""
        pool = self._pools[row]
        mine = [
            one for one in self._journal.pool_instances()
            if one.pool == pool.name and one.state is _I.COLD and not self._hands.busy(one)
        ]  # fmt: skip
        at = oldest(np.array([one.checked for one in mine]), np.ones(len(mine), dtype=np.bool_))
        if at < 0:
            return None
        try:
            woken = self._journal.pool_move(mine[at], _I.WARMING, pool)
        except PoolFull:
            return None
        number = self._journal.drill_begin(pool.name, woken.id)
        self._hands.begin(woken, self._hands.drill(woken, number))
        return woken


def _within(targets: dict[int, int], budget: int) -> dict[int, int]:
    """The targets, the last cut first where they are more than there is room for."""
    found, left = {}, budget
    for at, target in targets.items():
        found[at] = min(target, left)
        left -= found[at]
    return found


def _free(fleet: FleetSpec) -> NDArray[np.float64]:
    """(H, 2) cores and bytes of each host that shards have no guarantee of; without bound where they are not known."""
    free = np.array([host.allocatable() for host in fleet.hosts], dtype=np.float64).reshape(-1, 2)
    at = {host.name: row for row, host in enumerate(fleet.hosts)}
    for shard in fleet.shards:
        free[at[shard.host]] -= (shard.guarantee_cpu, shard.guarantee_memory)
    return np.where(np.isfinite(free), np.maximum(free, 0.0), 1e18)
