"""A sequence of moves of which every prefix is safe, whatever runs at the same time as what.

Everything that has room now starts; what it frees counts for the next wave. A destination that
holds all its arrivals before anything leaves it needs no order at all, which is true of most.
How many may really run together is decided later (``timing``): that only ever delays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64, I32, I64, Mask
from sidestep.planning.ordering.keys import Keys, keys_of
from sidestep.planning.ordering.ledger import Demand, Ledger, Room, total


@dataclass
class Rows:
    """The sequence so far: one entry a move that runs."""

    job: list[int] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    destination: list[int] = field(default_factory=list)
    wave: list[int] = field(default_factory=list)
    parks: list[bool] = field(default_factory=list)

    def add(self, job: list[int], source: list[int], destination: list[int], wave: int, parks: bool) -> None:
        """Moves of one wave, in the order in which they took their room."""
        self.job += job
        self.source += source
        self.destination += destination
        self.wave += [wave] * len(job)
        self.parks += [parks] * len(job)

    def cut(self, length: int) -> None:
        """Forget all rows but the first."""
        for column in (self.job, self.source, self.destination, self.wave, self.parks):
            del column[length:]


class Sequence:
    """Jobs (one a move; more where a settled shard has to come back) and how far they have come."""

    def __init__(self, problem: Problem, room: Room, shard: I64, source: I64, target: I64, latest: F64) -> None:
        self.problem, self.room = problem, room
        self.shard, self.source, self.target, self.latest = shard, source.copy(), target, latest
        self.demand = Demand(problem, shard)
        #: (J,) step from which on the move may start
        self.since: I64 = np.zeros(len(shard), dtype=np.int64)
        self.at: I32 = problem.host.copy()
        self.rows, self.wave = Rows(), 0
        self.ledger = Ledger(room)
        #: shards that were parked, and how often
        self.parked: dict[int, int] = {}
        #: (H,) counts changes of what is on a host
        self.changes: I64 = np.zeros(problem.hosts, dtype=np.int64)
        timed = np.arange(problem.limit.shape[1]) < problem.timed
        #: (D,) the step that a column is of; those that do not change with time are of every step
        self.step_of: I64 = np.where(timed, np.arange(len(timed)) % max(problem.steps, 1), np.iinfo(np.int64).max)
        self.keys: Keys = keys_of(problem.constraints, self.at, shard, source, target)

    def load(self, jobs: I64) -> tuple[F64, Mask]:
        """The columns that jobs bring: (P, k, D), and which they ask for; not those before they may start."""
        parts, asks = self.demand.parts[:, jobs], self.demand.asks[jobs]
        since = self.since[jobs]
        if since.any():
            there = self.step_of >= since[:, None]
            parts, asks = parts * there, asks & there
        return parts, asks

    def over(self, jobs: I64) -> Mask:
        """(k, D) columns in which jobs have no room now."""
        return self.ledger.over(self.target[jobs], *self.load(jobs))

    def begin(self, dropped: I64) -> I64:
        """Start whatever can without any order; the other jobs, by priority. Those ``dropped`` are left out."""
        hosts = self.problem.hosts
        runs = np.ones(len(self.shard), dtype=np.bool_)
        runs[dropped] = False
        come = total(self.demand.parts[:, runs], self.target[runs], hosts)
        rows = np.unique(self.target[runs])
        asks = np.asarray((come[:, rows] > 0).any(axis=0), dtype=np.bool_)
        hard = np.zeros(hosts, dtype=np.bool_)
        hard[rows] = self.room.over(rows, np.zeros_like(come[:, rows]), come[:, rows], asks).any(axis=1)
        easy = ~hard[self.target] & runs
        easy[np.fromiter(self.keys.adds, dtype=np.int64)] = False
        self.wave = 1
        jobs = np.flatnonzero(easy)
        self.ledger.come += total(self.demand.parts[:, jobs], self.target[jobs], hosts)
        rest = self._by_priority(np.flatnonzero(~easy & runs))
        self._end(jobs, self._starts(rest))
        return np.asarray(rest[self.at[self.shard[rest]] != self.target[rest]], dtype=np.int64)

    def _by_priority(self, jobs: I64) -> I64:
        """Earliest latest start first, then those for whose leaving most arrivals wait, then the biggest."""
        waiting = np.bincount(self.target[jobs], minlength=self.problem.hosts)
        waited = np.where(self.source[jobs] >= 0, waiting[self.source[jobs]], 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            size = (self.demand.mean[jobs] / self.problem.capacity[self.target[jobs]]).max(axis=1, initial=0.0)
        order = np.lexsort((jobs, -np.nan_to_num(size), -waited, self.latest[jobs]))
        return np.asarray(jobs[order], dtype=np.int64)

    def run(self, pending: I64, changed: Mask | None = None) -> I64:
        """Waves until nothing is left or nothing can start; what is left."""
        changed = np.ones(self.problem.hosts, dtype=np.bool_) if changed is None else changed
        ruled = np.zeros(len(self.shard), dtype=np.bool_)
        ruled[np.fromiter(self.keys.adds, dtype=np.int64)] = True
        while len(pending):
            self.wave += 1
            started = self._starts(pending[changed[self.target[pending]] | ruled[pending]])
            if not len(started):
                break
            changed = np.zeros_like(changed)
            changed[self.source[started]] = True
            self._end(np.zeros(0, dtype=np.int64), started)
            pending = pending[self.at[self.shard[pending]] != self.target[pending]]
        return pending

    def _starts(self, jobs: I64) -> I64:
        """Those of the jobs, by priority, that can start together now, each beside those before it."""
        if not len(jobs):
            return jobs
        order = np.argsort(self.target[jobs], kind="stable")
        host = self.target[jobs][order]
        turn = np.empty(len(jobs), dtype=np.int64)
        turn[order] = np.arange(len(jobs)) - np.searchsorted(host, host)
        started, adds = [], self.keys.adds
        order = np.argsort(turn, kind="stable")
        ends = np.cumsum(np.bincount(turn))
        for first, last in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            group = jobs[order[first:last]]
            fits = group[~self.over(group).any(axis=1)]
            if adds:
                fits = np.array([job for job in fits.tolist() if job not in adds or self._take(job)], dtype=np.int64)
            self.ledger.arrive(self.target[fits], self.shard[fits], self.load(fits)[0])
            started.append(fits)
        return np.concatenate(started)

    def _take(self, job: int) -> bool:
        if not self.keys.free(job):
            return False
        self.keys.start(job)
        return True

    def _end(self, easy: I64, started: I64) -> None:
        """Everything of a wave has ended: sources are free, shards are where they should be."""
        for jobs in (easy, started):
            self.rows.add(jobs.tolist(), self.source[jobs].tolist(), self.target[jobs].tolist(), self.wave, False)
        jobs = np.concatenate([easy, started])
        self.changes[self.source[jobs]] += 1
        self.changes[self.target[jobs]] += 1
        self.ledger.leave(self.source[jobs], self.shard[jobs], self.demand.parts[:, jobs])
        self.at[self.shard[jobs]] = self.target[jobs]
        if self.keys.frees:
            for job in self.keys.frees.keys() & set(jobs.tolist()):
                self.keys.end(job)

    def later(self, pending: I64) -> bool:
        """Let jobs start at the first step from which on there is room for them; whether any can."""
        p = self.problem
        if p.steps < 2:
            return False
        over = self.over(pending)
        timed = np.asarray(over[:, : p.timed].reshape(len(pending), p.dimensions, p.steps).any(axis=1), dtype=np.bool_)
        first = p.steps - np.argmax(timed[:, ::-1], axis=1)
        good = timed.any(axis=1) & ~over[:, p.timed :].any(axis=1) & (first < p.steps)
        good &= (first > self.since[pending]) & (self.problem.host[self.shard[pending]] == self.source[pending])
        good &= np.fromiter((self.keys.free(job) for job in pending.tolist()), dtype=np.bool_, count=len(pending))
        self.since[pending[good]] = first[good]
        return bool(good.any())

    def park(self, job: int, host: int, pending: I64) -> None:
        """Move a job's shard to a temporary host, from where it goes on later; a wave of its own."""
        shard, source = self.shard[[job]], self.source[[job]]
        parts = self.demand.parts[:, [job]]
        self.wave += 1
        self.rows.add([job], source.tolist(), [host], self.wave, True)
        self.changes[[host, int(source[0])]] += 1
        self.ledger.arrive(np.array([host]), shard, parts)
        self.ledger.leave(source, shard, parts)
        self.source[job] = host
        self.at[shard] = host
        self.parked[int(shard[0])] = self.parked.get(int(shard[0]), 0) + 1
        self.recount(pending)

    def recount(self, pending: I64) -> None:
        """Counters anew, from where the shards are now."""
        of = self.shard[pending], self.source[pending], self.target[pending]
        made = keys_of(self.problem.constraints, self.at, *of)
        named = pending.tolist()
        adds = {named[place]: found for place, found in made.adds.items()}
        frees = {named[place]: found for place, found in made.frees.items()}
        self.keys = Keys(made.count, made.most, adds, frees, made.where)

    def settled(self, shard: int) -> int:
        """A new job for a shard that is not in the plan: to come back to where it is."""
        host = int(self.at[shard])
        self.shard = np.append(self.shard, shard)
        self.source, self.target = np.append(self.source, host), np.append(self.target, host)
        self.latest, self.since = np.append(self.latest, np.inf), np.append(self.since, 0)
        more = Demand(self.problem, np.array([shard]))
        self.demand.parts = np.concatenate([self.demand.parts, more.parts], axis=1)
        self.demand.asks = np.concatenate([self.demand.asks, more.asks])
        self.demand.mean = self.demand.parts[0]
        return len(self.shard) - 1
