"""Plans to be ordered: what other parts of the planner decide, and swaps in nearly full fleets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.roadef import problem_of
from benchmarks.roadef_files import load
from sidestep.planning.model import Budget, Constraints, Duty, Move, Problem
from sidestep.planning.rebalance import Reassignment, Settings, broken_by, rebalance
from sidestep.planning.relief import final

F64 = NDArray[np.float64]
#: proposals that no machine makes in the seconds given: the clock ends the search
ENDLESS = 10**12


@dataclass(frozen=True)
class Case:
    """One plan: the problem, its moves, and where it comes from; ``exact`` is its integers, if it has them."""

    kind: str
    name: str
    problem: Problem
    moves: tuple[Move, ...]
    exact: Reassignment | None = None


def columns(
    median: F64, mean: F64, at: NDArray[np.int64], *, limit: F64, steps: int, constraints: Constraints, bytes_: F64
) -> Problem:
    """A problem of certain demand, everything open."""
    hosts, shards = len(limit), len(at)
    zero = np.zeros_like(median)
    return Problem(
        dimensions=limit.shape[1] // steps,
        steps=steps,
        limit=limit,
        room=limit.copy(),
        capacity=np.maximum(limit, 1e-9),
        median=median,
        away=zero,
        variance=zero,
        deviation=zero,
        accepts=np.ones(hosts, dtype=np.bool_),
        gives=np.ones(hosts, dtype=np.bool_),
        cost=np.ones(hosts),
        rank=np.arange(hosts, dtype=np.int64),
        host=at.astype(np.int32),
        mean=mean.astype(np.float32),
        sd=np.zeros(mean.shape, dtype=np.float32),
        movable=np.ones(shards, dtype=np.bool_),
        bytes=bytes_,
        count=np.ones(shards, dtype=np.int32),
        priority=np.full(shards, 3, dtype=np.int32),
        constraints=constraints,
    )


def summed(hosts: int, at: NDArray[np.int64], mean: F64) -> F64:
    """(hosts, D) demand by host."""
    out = np.zeros((hosts, mean.shape[1]))
    np.add.at(out, at, mean)
    return out


def moves_of(start: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[Move, ...]:
    """What differs between two placements."""
    rows = np.flatnonzero(start != end).tolist()
    return tuple(Move(row, int(start[row]), int(end[row]), int(start[row])) for row in rows)


def roadef(folder: Path, names: list[str], seconds: float) -> Iterator[Case]:
    """The product's own rebalancing of the challenge's instances, after so many CPU seconds each."""
    for name in names:
        exact = problem_of(load(folder, name))
        begun = time.process_time()
        found = rebalance(
            exact,
            Settings(proposals=ENDLESS),
            clock=lambda begun=begun: (time.process_time() - begun) / seconds,  # type: ignore[misc]
        )
        yield Case("roadef", name, rows_of(exact, found.host), moves_of(exact.home, found.host), exact)


def rows_of(exact: Reassignment, end: NDArray[np.int64]) -> Problem:
    """An instance as a planning problem; all resources are held at both ends, which is the harder reading.

    Demand is rounded up to single precision; room that lacks only for that is given.
    """
    demand = exact.demand.astype(np.float32)
    demand = np.where(demand < exact.demand, np.nextafter(demand, np.float32(np.inf)), demand)
    mean = demand.astype(np.float64)
    start, after = (summed(exact.hosts, at, mean) for at in (exact.home, end))
    limit = np.maximum(exact.capacity, np.maximum(start, after))
    order = np.argsort(exact.app, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(exact.app[order])) + 1)
    rules = Constraints.make(exact.hosts, exact.shards, groups=[(0, 1, rows) for rows in parts if len(rows) > 1])
    size = exact.demand.sum(axis=1).astype(np.float64)
    return columns(start, mean, exact.home, limit=limit, steps=1, constraints=rules, bytes_=size * 1e3)


def rushed(case: Case, order: NDArray[np.int64], source: NDArray[np.int64], target: NDArray[np.int64],
           wave: NDArray[np.int64]) -> tuple[int, int]:  # fmt: skip
    """Waves in which an instance's integers lack room or two of an app meet; and after which more rules of
    spread or nearness are broken than at the start, which placements cannot say as an upper limit."""  # fmt: skip
    exact = case.exact
    assert exact is not None
    host, use = exact.home.copy(), summed(exact.hosts, exact.home, exact.demand.astype(np.float64))
    before = broken_by(exact, host)
    allowed = {name: before.get(name, 0) for name in ("spread", "needs")}
    flaws = loose = 0
    for number in range(1, int(wave.max(initial=0)) + 1):
        rows = wave == number
        shard = order[rows]
        np.add.at(use, target[rows], exact.demand[shard])
        held = np.concatenate([exact.app * exact.hosts + host, exact.app[shard] * exact.hosts + target[rows]])
        flaws += bool((use > exact.capacity).any()) or len(np.unique(held)) < len(held)
        np.subtract.at(use, source[rows], exact.demand[shard])
        host[shard] = target[rows]
        now = broken_by(exact, host)
        loose += any(now.get(name, 0) > most for name, most in allowed.items())
    return flaws, loose


def stress(fill: float, shards: int, seed: int, hosts: int = 100) -> Case:
    """Two of five shards of a fleet change places at random; both placements fill the fullest dimension to ``fill``."""
    rng = np.random.default_rng(seed)
    count = hosts * shards
    mean = rng.lognormal(0, 0.6, (count, 4)).astype(np.float32).astype(np.float64)
    start = np.repeat(np.arange(hosts), shards)
    some, end = rng.random(count) < 0.4, start.copy()
    end[some] = rng.permutation(start[some])
    before, after = summed(hosts, start, mean), summed(hosts, end, mean)
    limit = np.maximum(before, after).max(axis=1, keepdims=True) / fill * np.ones((1, 4))
    made = columns(before, mean, start, limit=limit, steps=1, constraints=Constraints.make(hosts, count),
                   bytes_=mean.sum(axis=1) * 1e6)  # fmt: skip
    return Case(f"stress {fill:g}", f"{shards} a host, seed {seed}", made, moves_of(start, end))


def fleet(seed: int, fill: float, hosts: int, shards: int, steps: int = 12) -> tuple[Problem, F64]:
    """A fleet of four dimensions at ``steps`` steps, apps of 1 to 60 shards, in which some hosts grow beyond their
    limits; and (N,) the size of each shard."""  # fmt: skip
    rng = np.random.default_rng(seed)
    app = np.sort(np.minimum(rng.pareto(1.3, shards) * shards / 40, shards / 8 - 1).astype(np.int64))
    kinds = int(app.max()) + 1
    profile, phase = rng.dirichlet(np.full(4, 2.0), kinds) * 4, rng.uniform(0, 2 * np.pi, kinds)
    day = 1 + rng.uniform(0.05, 0.5, kinds)[:, None] * np.sin(2 * np.pi * np.arange(steps) / 24 + phase[:, None])
    size = rng.lognormal(0, 0.9, shards)
    mean = size[:, None, None] * profile[app][:, :, None] * day[app][:, None, :]
    at = np.zeros(shards, dtype=np.int64)
    load = np.zeros((hosts, 4))
    for row in np.argsort(-size).tolist():
        some = rng.integers(0, hosts, 6)
        at[row] = some[np.argmin((load[some] + mean[row, :, 0]).max(axis=1))]
        load[at[row]] += mean[row, :, 0]
    use = summed(hosts, at, mean.reshape(shards, -1)).reshape(hosts, 4, steps)
    limit = np.repeat(use.max(axis=2).max(axis=1, keepdims=True).mean() / fill, hosts * 4).reshape(hosts, 4)
    for host in rng.choice(hosts, max(1, hosts // 20), replace=False).tolist():
        rows, dim = np.flatnonzero(at == host), int(rng.integers(4))
        wanted = rng.uniform(1.03, 1.35) * limit[host, dim] - use[host, dim].max()
        mean[rows, dim] *= 1 + max(wanted, 0.0) / use[host, dim].max() * np.linspace(0, 1, steps)
    mean = mean.reshape(shards, -1).astype(np.float32).astype(np.float64)
    groups = [(0, 1, rows) for rows in np.split(np.arange(shards), np.flatnonzero(np.diff(app)) + 1)
              if 1 < len(rows) <= hosts // 4 and len(np.unique(at[rows])) == len(rows)]  # fmt: skip
    rules = Constraints.make(hosts, shards, groups=groups)
    made = columns(summed(hosts, at, mean), mean, at, limit=np.repeat(limit, steps, axis=1), steps=steps,
                   constraints=rules, bytes_=size * 1e8)  # fmt: skip
    return made, size


def relief(seed: int, fill: float, hosts: int, shards: int, iterations: int) -> Case:
    """What the product decides to relieve the hot hosts of such a fleet."""
    made, _ = fleet(seed, fill, hosts, shards)
    duties = []
    for host in np.flatnonzero(made.held(made.median, made.limit)).tolist():
        over = np.flatnonzero(made.median[host] > made.limit[host])
        lead = float((over % made.steps).min())
        duties.append(Duty(kind="contention", host=host, lead=lead, columns=tuple(over.tolist())))
    duties.sort(key=lambda duty: (duty.lead, duty.host))
    found = final(made, duties, budget=Budget(iterations=iterations))
    return Case("relief", f"fill {fill:g}, seed {seed}", made, found.moves)


def big(seed: int, fill: float) -> Case:
    """6,000 moves among 1,000 hosts and 48 columns: a fifth of 30 shards a host change places."""
    rng = np.random.default_rng(seed)
    hosts, shards, steps = 1000, 30_000, 12
    mean = np.repeat(rng.lognormal(0, 0.6, (shards, 4)), steps, axis=1) * (1 + 0.2 * rng.random((shards, 48)))
    mean = mean.astype(np.float32).astype(np.float64)
    start = np.repeat(np.arange(hosts), 30)
    some = rng.choice(shards, 6010, replace=False)
    end = start.copy()
    end[some] = rng.permutation(start[some])
    before, after = summed(hosts, start, mean), summed(hosts, end, mean)
    limit = np.maximum(before, after).max(axis=1, keepdims=True) / fill * np.ones((1, 48))
    made = columns(before, mean, start, limit=limit, steps=steps, constraints=Constraints.make(hosts, shards),
                   bytes_=mean.sum(axis=1) * 1e6)  # fmt: skip
    return Case("big", f"fill {fill:g}", made, moves_of(start, end))
