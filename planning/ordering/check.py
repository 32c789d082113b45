"""Whether an order is what it says, worked out the long way: from the set of shards on each host.

Shares nothing with the scheduler but the problem and the formula by which demand adds up.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64
from sidestep.planning.ordering.model import Caps, Schedule

#: rounding that is forgiven, as a fraction of a limit
FORGIVEN = 1e-8


def verify(problem: Problem, schedule: Schedule, caps: Caps | None = None) -> str:
    """The first flaw of an order, "" if there is none.

    It is run twice: at its own times, and as unluckily as ``after`` allows, with everything
    started as soon as it may and ended as late as possible. What is on a host is summed as
    shards come and go, so that the work grows with the moves.
    """
    flaw = _outline(problem, schedule) or (_overbooked(problem, schedule, caps) if caps else "")
    for events in (_by_time, _unluckily):
        if not flaw:
            flaw = _replay(problem, schedule, events(schedule))
    return flaw


def _outline(p: Problem, made: Schedule) -> str:
    ends = made.start + made.transfer
    ptr, idx = made.after
    row, other = np.repeat(np.arange(len(made)), np.diff(ptr)), idx
    flaws = (
        (other >= row, "waits for a later one, row"),
        (made.start[row] < ends[other] - 1e-9, "starts before the end of row"),
        (made.wave[other] >= made.wave[row], "is not in a later wave than row"),
        (made.latest[other] > made.latest[row] - made.transfer[other] + 1e-6, "may have to wait too long for row"),
    )
    for wrong, words in flaws:
        if wrong.any():
            at = int(np.argmax(wrong))
            return f"row {row[at]} {words} {other[at]}"
    early = made.start < made.earliest - 1e-9
    if early.any():
        return f"row {int(np.argmax(early))} starts before there is room"
    best = max(_share(p, _before(p)), _share(p, _after(p, made)), 1.0)
    return f"its peak may be {made.ceiling:g}" if made.ceiling > best * (1 + FORGIVEN) else ""


def _overbooked(p: Problem, made: Schedule, caps: Caps) -> str:
    """Which cap the starts, or the waves, go beyond."""
    taken: dict[tuple[str, int, int], int] = {}
    running: dict[tuple[str, int, int], int] = {}
    most = {"host": caps.host, "app": caps.app, "fleet": caps.fleet}
    for starts, row in _by_time(made):
        shard, ends = int(made.shard[row]), {int(made.source[row]), int(made.destination[row])} - {-1}
        slots = [("host", 0, host) for host in ends] + [("fleet", 0, 0)]
        slots += [("app", 0, int(caps.apps[shard]))] if len(caps.apps) else []
        for domain in p.constraints.domains[caps.kind : caps.kind + 1]:
            slots += [("domain", 0, number) for number in {int(domain[host]) for host in ends}]
        for slot in slots:
            cap = most.get(slot[0], caps.domain)
            running[slot] = running.get(slot, 0) + (1 if starts else -1)
            of_wave = (*slot[:2], slot[2] * (len(made) + 2) + int(made.wave[row]))
            taken[of_wave] = taken.get(of_wave, 0) + starts
            if cap > 0 and max(running[slot], taken[of_wave]) > cap:
                return f"row {row} is one too many at one time of {slot[0]} {slot[2]}"
    return ""


def _before(p: Problem) -> F64:
    return np.array([_upper(p, host, set(), set()) for host in range(p.hosts)]).reshape(p.limit.shape)


def _after(p: Problem, made: Schedule) -> F64:
    ends: dict[int, int] = {}
    for shard, host in zip(made.shard.tolist(), made.destination.tolist(), strict=True):
        ends[shard] = host
    gone: dict[int, set[int]] = {}
    come: dict[int, set[int]] = {}
    for shard, host in ends.items():
        if int(p.host[shard]) != host:
            gone.setdefault(int(p.host[shard]), set()).add(shard)
            come.setdefault(host, set()).add(shard)
    rows = [_upper(p, host, gone.get(host, set()), come.get(host, set())) for host in range(p.hosts)]
    return np.array(rows).reshape(p.limit.shape)


def _share(p: Problem, upper: F64) -> float:
    known = np.isfinite(p.limit) & (p.limit > 0) & np.isfinite(upper)
    return float((upper[known] / p.limit[known]).max(initial=0.0))


def _steps(p: Problem) -> F64:
    """(D,) the step of each column; infinite for those of every step."""
    at = np.arange(p.limit.shape[1], dtype=np.float64)
    return np.where(at < p.timed, at % max(p.steps, 1), np.inf)


def _upper(p: Problem, host: int, gone: set[int], come: set[int]) -> F64:
    """(D,) demand of a host without some of its shards and with some others."""
    away, here = sorted(gone), sorted(come)
    sums = np.zeros((2, 3, p.limit.shape[1]))
    for into, rows in zip(sums, (away, here), strict=True):
        mean, sd = p.mean[rows].astype(np.float64), p.sd[rows].astype(np.float64)
        into += [mean.sum(axis=0), (sd**2).sum(axis=0), sd.sum(axis=0)]
    return _summed(p, host, *sums)


def _summed(p: Problem, host: int, gone: F64, come: F64) -> F64:
    """(D,) demand of a host from sums (3, D) of mean, variance and deviation of what left and what came."""
    median = np.maximum(p.median[host] - gone[0], 0.0) + come[0]
    square = np.square(p.away[host])
    if p.z:
        variance, deviation = np.maximum(p.variance[host] - gone[1], 0.0), np.maximum(p.deviation[host] - gone[2], 0.0)
        rest = (1 - p.rho) * variance + p.rho * deviation**2
        all_ = (1 - p.rho) * p.variance[host] + p.rho * p.deviation[host] ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where(all_ > 0, np.minimum(rest / all_, 1.0), 1.0)
        arrived = (1 - p.rho) * come[1] + p.rho * (2 * deviation * come[2] + come[2] ** 2)
        square = square * part + p.z**2 * np.maximum(arrived, 0.0)
    return np.asarray(median + (-1.0 if p.z < 0 else 1.0) * np.sqrt(square), dtype=np.float64)


def _by_time(made: Schedule) -> Iterator[tuple[bool, int]]:
    """(whether it starts, row) in time; what ends at an instant makes way for what starts at it."""
    ends = made.start + made.transfer
    events = [(float(made.start[row]), 1, row) for row in range(len(made))]
    events += [(float(ends[row]), 0, row) for row in range(len(made))]
    if (made.transfer <= 0).any():
        # instants have no order of their own: one row after the other
        for row in range(len(made)):
            yield True, row
            yield False, row
        return
    for _, kind, row in sorted(events):
        yield kind == 1, row


def _unluckily(made: Schedule) -> Iterator[tuple[bool, int]]:
    """Everything that may starts, last rows first; only when nothing may does the oldest one end."""
    left = [len(made.waits(row)) for row in range(len(made))]
    followers: list[list[int]] = [[] for _ in left]
    for row in range(len(made)):
        for other in made.waits(row).tolist():
            followers[other].append(row)
    ready = [-row for row, count in enumerate(left) if not count]
    heapq.heapify(ready)
    running: list[int] = []
    ended = 0
    while ready or ended < len(running):
        if ready:
            row = -heapq.heappop(ready)
            running.append(row)
            yield True, row
            continue
        row = running[ended]
        ended += 1
        yield False, row
        for other in followers[row]:
            left[other] -= 1
            if not left[other]:
                heapq.heappush(ready, -other)


class _World:
    """Where every shard is: one host, or two while it moves."""

    def __init__(self, p: Problem, ceiling: float) -> None:
        self.p, self.ceiling = p, ceiling
        self.at: list[set[int]] = [{host} if host >= 0 else set() for host in p.host.tolist()]
        #: by host: mean, variance and deviation of what left it and of what came, (2, 3, D)
        self.sums: dict[int, F64] = {}
        self.who: dict[int, tuple[set[int], set[int]]] = {}
        #: by group: by domain the shards that are there, each with the number of its hosts
        self.held: dict[int, dict[int, dict[int, int]]] = {}
        #: shards that move only from a step on
        self.late: dict[int, int] = {}
        self.steps = _steps(p)
        self.start: dict[int, F64] = {}

    def put(self, shard: int, host: int) -> None:
        self._count(shard, host, 1)
        self.at[shard].add(host)
        if int(self.p.host[shard]) == host:
            self._add(shard, host, 0, -1.0)
        else:
            self._add(shard, host, 1, 1.0)

    def take(self, shard: int, host: int) -> None:
        self._count(shard, host, -1)
        self.at[shard].discard(host)
        if int(self.p.host[shard]) == host:
            self._add(shard, host, 0, 1.0)
        else:
            self._add(shard, host, 1, -1.0)

    def _add(self, shard: int, host: int, which: int, sign: float) -> None:
        if host not in self.sums:
            self.sums[host], self.who[host] = np.zeros((2, 3, len(self.steps))), (set(), set())
        who = self.who[host][which]
        if sign > 0:
            who.add(shard)
            self.sums[host][which] += self._parts(shard, which)
            return
        # anew: differences would leave a little, of which roots make much
        who.discard(shard)
        self.sums[host][which] = 0.0
        for other in sorted(who):
            self.sums[host][which] += self._parts(other, which)

    def _parts(self, shard: int, which: int) -> F64:
        parts = np.zeros((3, len(self.steps)))
        parts[0], parts[2] = self.p.mean[shard], self.p.sd[shard]
        if which and shard in self.late:
            parts *= self.steps >= self.late[shard]
        parts[1] = parts[2] ** 2
        return parts

    def _count(self, shard: int, host: int, more: int) -> None:
        rules = self.p.constraints
        for group in rules.groups_of(shard).tolist():
            domain = rules.domains[rules.kind[group]]
            if group not in self.held:
                self.held[group] = {}
                for member in rules.members_of(group).tolist():
                    for place in self.at[member]:
                        here = self.held[group].setdefault(int(domain[place]), {})
                        here[member] = here.get(member, 0) + 1
            here = self.held[group].setdefault(int(domain[host]), {})
            here[shard] = here.get(shard, 0) + more
            if not here[shard]:
                del here[shard]

    def crowded(self, shard: int, host: int, since: int) -> str:
        """Why the host does not have room for the shard that has just come; "" if it has."""
        p = self.p
        upper = _summed(p, host, *self.sums[host])
        if host not in self.start:
            self.start[host] = _upper(p, host, set(), set())
        start = self.start[host]
        asks = ((p.mean[shard] > 0) | (p.sd[shard] > 0)) & (self.steps >= since)
        with np.errstate(invalid="ignore"):
            fits = upper <= np.fmax(p.room[host], start) * (1 + FORGIVEN) + 1e-9
            peak = upper <= np.fmax(self.ceiling * p.limit[host], start) * (1 + FORGIVEN) + 1e-9
        if (asks & ~fits).any():
            return f"column {int(np.argmax(asks & ~fits))} of host {host} lacks room"
        if (asks & ~peak & (p.limit[host] > 0)).any():
            return f"column {int(np.argmax(asks & ~peak))} of host {host} is higher than before"
        return ""

    def forbidden(self, shard: int, host: int) -> str:
        """Which rule a shard breaks that has just come; "" if none."""
        rules = self.p.constraints
        if not rules.masks[rules.mask[shard], host]:
            return f"shard {shard} may not be on host {host}"
        for other in rules.avoided(shard).tolist():
            if other != shard and host in self.at[other]:
                return f"shard {shard} meets shard {other} on host {host}"
        for group in rules.groups_of(shard).tolist():
            domain, home = rules.domains[rules.kind[group]], int(self.p.host[shard])
            was = home >= 0 and domain[home] == domain[host]
            if len(self.held[group][int(domain[host])]) > rules.most[group] and not was:
                return f"shard {shard} is one too many of group {group} beside host {host}"
        return ""


def _replay(p: Problem, made: Schedule, events: Iterator[tuple[bool, int]]) -> str:
    world = _World(p, made.ceiling)
    for starts, row in events:
        shard, source, host = int(made.shard[row]), int(made.source[row]), int(made.destination[row])
        if not starts:
            world.take(shard, source) if source >= 0 else None
            continue
        if not p.movable[shard] or not p.accepts[host] or (source >= 0 and not p.gives[source]):
            return f"row {row}: shard {shard} may not go from host {source} to host {host}"
        if source == host or world.at[shard] != ({source} if source >= 0 else set()):
            return f"row {row}: shard {shard} is not on host {source}"
        since = int(made.earliest[row] / made.step + 1e-6) if made.step > 0 else 0
        if since:
            world.late[shard] = since
        world.put(shard, host)
        flaw = world.crowded(shard, host, since) or world.forbidden(shard, host)
        if flaw:
            return f"row {row}: {flaw}"
    return ""
