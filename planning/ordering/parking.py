"""Ways out of a circle of moves that wait for each other: a temporary host for what is in the way.

What is in the way of a blocked move are shards on its destination, or of its group. The
cheapest is parked, by bytes for each move that it unblocks: best one that has to leave anyway
(one move more), else one that comes back (two more).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.ordering.ledger import Demand
from sidestep.planning.ordering.sequence import Sequence

#: blocked moves that are looked at, ways that are tried, shards that are parked for one move
LOOKED_AT, TRIED, TOGETHER = 64, 200, 4
#: shards that are parked for one move where nothing less helps, each small enough for the room that is left elsewhere
MANY, NEAREST = 32, 6
#: numbers of one table when shards are looked at together
NUMBERS = 100_000
#: how often one shard may be parked; more only moves the same few back and forth
OFTEN = 1
#: jobs to one host that are looked at together
TURN = 12
#: blocked by rules, in the quick look
KEYED = 4
#: how much worse it is to park what would stay: two more moves, and its room is wanted again
BACK = 16.0


class Way(NamedTuple):
    """Parking ``shards`` lets ``job`` start."""

    cost: float
    job: int
    shards: tuple[int, ...]


#: ways found before, by host, and how often what is on it had changed by then
Known = dict[int, tuple[int, list[Way]]]


def unblock(sequence: Sequence, pending: I64, kept: frozenset[int], known: Known) -> I64 | None:
    """Park what is in the way of some pending move; the pending jobs then, or None if nothing helps.

    Shards in ``kept`` stay where they are. ``known`` is kept from call to call.
    """
    job_of = {int(sequence.shard[job]): int(job) for job in pending}
    free = _parkable(sequence, kept)
    jobs = hopeful(sequence, pending)
    allowed = np.array([sequence.keys.free(job) for job in jobs.tolist()], dtype=np.bool_)
    ways: list[Way] = []
    for job in jobs[~allowed][:KEYED].tolist():
        ways += _ways(sequence, pending, job, job_of, free)
    plain = jobs[allowed]
    for host in np.unique(sequence.target[plain]).tolist():
        now = int(sequence.changes[host])
        if known.get(host, (-1, []))[0] != now:
            known[host] = now, _ways_out(sequence, plain[sequence.target[plain] == host][:TURN], job_of, free)
        ways += known[host][1]
    found = _first_possible(sequence, pending, ways, job_of)
    if found is None:
        # the quick look takes the first few jobs of a host only, and its own departures one by one
        ways = [way for job in jobs[:LOOKED_AT].tolist() for way in _ways(sequence, pending, job, job_of, free)]
        found = _first_possible(sequence, pending, ways, job_of)
    if found is None and len(jobs):
        nearest = jobs[np.lexsort((jobs, _lacks(sequence, jobs)))][:NEAREST].tolist()
        for how in (_piecemeal, _aside):
            for job in nearest:
                more = how(sequence, pending, job, job_of, free)
                if more is not None:
                    return more
    return found


def _piecemeal(sequence: Sequence, pending: I64, job: int, job_of: dict[int, int], free: Mask) -> I64 | None:
    """Park many small shards for one job; those that find no host after all are left where they are."""
    free = free.copy()
    for _ in range(MANY):
        ways = _ways(sequence, pending, job, job_of, free, many=True)
        if not ways:
            return None
        hosts, failed = _hosts_for(sequence, ways[0], pending)
        if failed < 0:
            return _parked(sequence, ways[0], hosts, pending, job_of)
        free[failed] = False
    return None


def _aside(sequence: Sequence, pending: I64, job: int, job_of: dict[int, int], free: Mask) -> I64 | None:
    """Park the job's own shard on a third host, after many small ones left that for it."""
    p, shard, target = sequence.problem, int(sequence.shard[job]), int(sequence.target[job])
    if not free[shard]:
        return None
    open_ = p.accepts & ~p.constraints.blocked(sequence.at, shard)
    open_[[target, int(sequence.at[shard]), int(p.host[shard])]] = False
    rows = np.flatnonzero(open_)
    demand = Demand(p, np.array([shard]))
    upper = sequence.room.upper(rows, sequence.ledger.gone[:, rows], sequence.ledger.come[:, rows] + demand.parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (upper - sequence.room.ceiling[rows]) / np.abs(sequence.room.ceiling[rows])
    lack = np.where(demand.asks, np.nan_to_num(np.maximum(part, 0.0), nan=np.inf), 0.0).sum(axis=1)
    for host in rows[np.lexsort((p.rank[rows], lack))][:NEAREST].tolist():
        sequence.target[job] = host
        more = _piecemeal(sequence, pending, job, job_of, free)
        sequence.target[job] = target
        if more is not None:
            sequence.park(job, host, more)
            return more
    return None


def _lacks(sequence: Sequence, jobs: I64) -> F64:
    """(k,) how much jobs lack on their destinations, as ``_lack`` has it."""
    nobody = np.zeros((1, 0), dtype=np.int64)
    return np.array([_lack(sequence, job, nobody)[0] for job in jobs.tolist()], dtype=np.float64)


def _placeable(sequence: Sequence, shards: I64) -> Mask:
    """(k,) which shards have room on some other host now."""
    p, every = sequence.problem, np.arange(sequence.problem.hosts)
    out = np.zeros(len(shards), dtype=np.bool_)
    size = max(1, NUMBERS // max(1, p.limit.size))
    for at in range(0, len(shards), size):
        some = shards[at : at + size]
        demand = Demand(p, some)
        open_ = p.accepts & ~np.stack([p.constraints.blocked(sequence.at, shard) for shard in some.tolist()])
        open_[np.arange(len(some)), sequence.at[some]] = False
        parts, asks = np.repeat(demand.parts, p.hosts, axis=1), np.repeat(demand.asks, p.hosts, axis=0)
        over = sequence.ledger.over(np.tile(every, len(some)), parts, asks)
        out[at : at + size] = (open_ & ~over.any(axis=1).reshape(open_.shape)).any(axis=1)
    return out


def _first_possible(sequence: Sequence, pending: I64, ways: list[Way], job_of: dict[int, int]) -> I64 | None:
    for way in sorted(ways)[:TRIED]:
        hosts, failed = _hosts_for(sequence, way, pending)
        if failed < 0:
            return _parked(sequence, way, hosts, pending, job_of)
    return None


def _parked(sequence: Sequence, way: Way, hosts: list[int], pending: I64, job_of: dict[int, int]) -> I64:
    """The pending jobs after everything in the way went to its temporary host."""
    for shard, host in zip(way.shards, hosts, strict=True):
        job_at = job_of.get(shard)
        if job_at is None:
            job_at = sequence.settled(shard)
            pending = np.append(pending, job_at)
        sequence.park(job_at, host, pending)
    return pending


def _ways_out(sequence: Sequence, jobs: I64, job_of: dict[int, int], free: Mask) -> list[Way]:
    """Single shards that make room on the one host to which some jobs go; where none does, several for the first."""
    host = int(sequence.target[jobs[0]])
    here = np.flatnonzero((sequence.at == host) & free)
    if not len(here):
        return []
    gone, come = _emptied(sequence, host, here[:, None])
    parts, asks = sequence.load(jobs)
    shape = (len(parts), len(here) * len(jobs), parts.shape[2])
    come = (come[:, :, None] + parts[:, None]).reshape(shape)
    gone = np.repeat(gone, len(jobs), axis=1)
    over = sequence.room.over(np.full(shape[1], host), gone, come, np.tile(asks, (len(here), 1)))
    fits = ~over.any(axis=1).reshape(len(here), len(jobs))
    helped = fits.sum(axis=1)
    price = _price(sequence, here, job_of)
    some = np.flatnonzero(helped)
    if not len(some):
        return _several(sequence, int(jobs[0]), [], [], here, price.tolist())
    job = jobs[np.argmax(fits[some], axis=1)]
    cost = price[some] / helped[some]
    return [Way(*way) for way in zip(cost.tolist(), job.tolist(), [(s,) for s in here[some].tolist()], strict=True)]


def _price(sequence: Sequence, shards: I64, job_of: dict[int, int]) -> F64:
    """(k,) what parking costs: a move and its bytes, several times for what has to come back only for that."""
    p = sequence.problem
    leaves = np.array([shard in job_of for shard in shards.tolist()], dtype=np.bool_)
    usual = max(float(p.bytes[sequence.shard].mean()), 1.0)
    return np.asarray((1.0 + p.bytes[shards] / usual) * np.where(leaves, 1.0, BACK), dtype=np.float64)


def hopeful(sequence: Sequence, pending: I64) -> I64:
    """The jobs that would have room and break no rule if all others that can leave had left."""
    ledger = sequence.ledger.copy()
    ledger.leave(sequence.source[pending], sequence.shard[pending], sequence.demand.parts[:, pending])
    fits = ~ledger.over(sequence.target[pending], *sequence.load(pending)).any(axis=1)
    frees: dict[int, int] = {}
    for job in pending.tolist():
        for key in sequence.keys.frees.get(job, ()):
            frees[key] = frees.get(key, 0) + 1
    keys = sequence.keys
    allowed = [
        all(keys.count[key] - frees.get(key, 0) < keys.most[key] for key in keys.adds.get(job, ()))
        for job in pending.tolist()
    ]
    return pending[fits & np.array(allowed, dtype=np.bool_)]


def _parkable(sequence: Sequence, kept: frozenset[int]) -> Mask:
    p = sequence.problem
    out = p.movable & (sequence.at >= 0)
    out[sequence.shard[sequence.since > 0]] = False
    out &= p.gives[np.maximum(sequence.at, 0)]
    often = [shard for shard, times in sequence.parked.items() if times >= OFTEN]
    out[np.array([*often, *kept], dtype=np.int64)] = False
    return np.asarray(out, dtype=np.bool_)


def _ways(
    sequence: Sequence, pending: I64, job: int, job_of: dict[int, int], free: Mask, *, many: bool = False
) -> list[Way]:
    host = int(sequence.target[job])

    def cost(shards: list[int] | I64) -> list[float]:
        return [float(each) for each in _price(sequence, np.asarray(shards, dtype=np.int64), job_of)]

    needed = _in_the_way(sequence, job, job_of, free)
    if needed is None:
        return []
    here = np.flatnonzero((sequence.at == host) & free)
    first = [shard for shard in needed if sequence.at[shard] == host]
    if not _without(sequence, job, np.array([first], dtype=np.int64)).any():
        return [Way(sum(cost(needed)), job, tuple(needed))] if needed else []
    here = here[~np.isin(here, first)]
    if many:
        # the job's own rules are those of its destination, not of a host where it is only parked
        here = here[(here != sequence.shard[job]) & _placeable(sequence, here)]
        return _several(sequence, job, needed, first, here, cost(here), MANY) if len(here) else []
    if not len(here):
        return []
    sets = np.concatenate([np.tile(np.array(first, dtype=np.int64), (len(here), 1)), here[:, None]], axis=1)
    single = ~_without(sequence, job, sets).any(axis=1)
    others = pending[(sequence.target[pending] == host) & (pending != job)].tolist()
    if single.any():
        helped = np.ones(int(single.sum()), dtype=np.int64)
        for other in others[:8]:
            helped += ~_without(sequence, other, sets[single]).any(axis=1)
        base = sum(cost(needed))
        found = zip(here[single].tolist(), cost(here[single]), helped.tolist(), strict=True)
        return [Way((base + own) / count, job, (*needed, s)) for s, own, count in found]
    return _several(sequence, job, needed, first, here, cost(here))


def _several(
    sequence: Sequence,
    job: int,
    needed: list[int],
    first: list[int],
    here: I64,
    costs: list[float],
    most: int = TOGETHER,
) -> list[Way]:
    """The fewest that make room together, chosen one by one by how much of the lack they take away."""
    chosen, spent = list(first), 0.0
    left = here.copy()
    price = np.array(costs)
    while len(left) and len(chosen) - len(first) < most:
        sets = np.concatenate([np.tile(np.array(chosen, dtype=np.int64), (len(left), 1)), left[:, None]], axis=1)
        lack = _lack(sequence, job, sets)
        best = int(np.lexsort((left, price, lack))[0])
        chosen.append(int(left[best]))
        spent += float(price[best])
        if lack[best] <= 0:
            extra = chosen[len(first) :]
            return [Way(spent, job, (*needed, *extra))]
        left, price = np.delete(left, best), np.delete(price, best)
    return []


def _in_the_way(sequence: Sequence, job: int, job_of: dict[int, int], free: Mask) -> list[int] | None:
    """Shards that must be parked for the rules to let the job start; None if they cannot be."""
    p, keys, rules = sequence.problem, sequence.keys, sequence.problem.constraints
    full = [key for key in keys.adds.get(job, ()) if keys.count[key] >= keys.most[key]]
    if not full:
        return []
    shard, host, chosen = int(sequence.shard[job]), int(sequence.target[job]), list[int]()
    at = sequence.at.copy()
    pools = [(rules.members_of(g), rules.domains[rules.kind[g]], int(rules.most[g]))
             for g in rules.groups_of(shard).tolist()]  # fmt: skip
    pools += [(np.array([other], dtype=np.int32), rules.domains[0], 1) for other in rules.avoided(shard).tolist()]
    for members, domain, most in pools:
        others = members[(members != shard) & (at[members] >= 0)]
        here = others[domain[at[others]] == domain[host]]
        if sequence.source[job] >= 0 and domain[sequence.source[job]] == domain[host]:
            continue
        surplus = len(here) - most + 1
        if surplus <= 0:
            continue
        can = here[free[here]].tolist()
        can.sort(key=lambda row: (row not in job_of, float(p.bytes[row]), row))
        if len(can) < surplus:
            return None
        for row in can[:surplus]:
            chosen.append(row)
            at[row] = -1
    return chosen


def _sums(sequence: Sequence, job: int, sets: I64) -> tuple[I64, F64, F64, Mask]:
    host = int(sequence.target[job])
    parts, asks = sequence.load(np.array([job]))
    gone, come = _emptied(sequence, host, sets)
    return np.full(len(sets), host), gone, come + parts, np.repeat(asks, len(sets), axis=0)


def _emptied(sequence: Sequence, host: int, sets: I64) -> tuple[F64, F64]:
    """(P, S, D) what is gone from a host and what came to it if each set (S, M) had left."""
    gone = np.repeat(sequence.ledger.gone[:, [host]], len(sets), axis=1)
    come = np.repeat(sequence.ledger.come[:, [host]], len(sets), axis=1)
    for column in sets.T:
        own = sequence.problem.host[column] == host
        left = Demand(sequence.problem, column).parts
        gone[:, own] += left[:, own]
        come[:, ~own] = np.maximum(come[:, ~own] - left[:, ~own], 0.0)
    return gone, come


def _without(sequence: Sequence, job: int, sets: I64) -> Mask:
    """(S, D) columns in which the job lacks room if each set (S, M) had left its destination."""
    return sequence.room.over(*_sums(sequence, job, sets))


def _lack(sequence: Sequence, job: int, sets: I64) -> F64:
    """(S,) how much is lacking then, summed over columns as fractions of the ceiling."""
    hosts, gone, come, asks = _sums(sequence, job, sets)
    ceiling = sequence.room.ceiling[hosts]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (sequence.room.upper(hosts, gone, come) - ceiling) / np.maximum(np.abs(ceiling), 1e-12)
    part = np.where(asks, np.nan_to_num(part, nan=np.inf), 0.0)
    return np.asarray(np.maximum(part, 0.0).sum(axis=1), dtype=np.float64)


def _hosts_for(sequence: Sequence, way: Way, pending: I64) -> tuple[list[int], int]:
    """A temporary host for every shard, allowed, with room, best one for which nothing waits; and the one
    that finds none, -1 if all do."""  # fmt: skip
    p, ledger, at = sequence.problem, sequence.ledger, sequence.at.copy()
    target, chosen = int(sequence.target[way.job]), list[int]()
    wanted = np.zeros(p.hosts, dtype=np.bool_)
    wanted[sequence.target[pending]] = True
    every = np.arange(p.hosts)
    if len(way.shards) > 1:
        ledger = ledger.copy()
    guest = int(sequence.shard[way.job])
    for shard in way.shards:
        demand = Demand(p, np.array([shard]))
        asks = np.repeat(demand.asks, p.hosts, axis=0)
        open_ = p.accepts & ~p.constraints.blocked(at, shard)
        # what is parked must not be in the way of the very move that it is parked for
        arrived = at.copy()
        arrived[guest] = target
        open_ &= ~p.constraints.blocked(arrived, shard)
        open_[[target, int(sequence.at[shard]), int(p.host[shard])]] = False
        if not open_.any():
            return chosen, shard
        gone, come = ledger.gone, ledger.come + demand.parts
        open_ &= ~sequence.room.over(every, gone, come, asks).any(axis=1)
        rows = np.flatnonzero(open_)
        if not len(rows):
            return chosen, shard
        upper = sequence.room.upper(rows, gone[:, rows], come[:, rows])
        with np.errstate(invalid="ignore", divide="ignore"):
            part = (sequence.room.ceiling[rows] - upper) / p.capacity[rows]
        free = np.where(asks[rows], np.nan_to_num(part, nan=np.inf), np.inf).min(axis=1)
        host = int(rows[np.lexsort((p.rank[rows], -free, wanted[rows]))[0]])
        chosen.append(host)
        if len(way.shards) > 1:
            ledger.arrive(np.array([host]), np.array([shard]), demand.parts)
            ledger.leave(sequence.at[[shard]].astype(np.int64), np.array([shard]), demand.parts)
        at[shard] = host
    return chosen, -1
