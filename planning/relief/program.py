"""The smallest cover as an integer program, for covers too big to look at every set."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sidestep.planning.model.problem import F64, I64

#: nodes of the tree that one program may visit: what takes more than a few is found early, and only proven late
NODES = 60
#: a sum of whole numbers and small tie-breaks is exact if this little is missing to the bound
GAP = 0.25
#: programs of which the answer is kept
REMEMBERED = 512


def smallest(weight: F64, lacking: F64, cost: F64) -> tuple[I64, float]:
    """Positions (k,) of least ``cost`` whose ``weight`` (M, C) adds up to ``lacking`` (C,), and what none goes below.

    No positions if there are none, with an infinite bound where that is proven. The last answers are
    remembered: rounds of one search, and searches of one fleet, ask the same again.
    """
    weight, lacking, cost = (np.ascontiguousarray(part, dtype=np.float64) for part in (weight, lacking, cost))
    return _smallest(weight.shape, weight.tobytes(), lacking.tobytes(), cost.tobytes())


@lru_cache(maxsize=REMEMBERED)
def _smallest(shape: tuple[int, ...], weights: bytes, lacks: bytes, costs: bytes) -> tuple[I64, float]:
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 — heavy, and rarely needed

    from sidestep.planning.exact.silent import silent  # noqa: PLC0415

    weight, lacking, cost = (np.frombuffer(part, dtype=np.float64) for part in (weights, lacks, costs))
    weight = weight.reshape(shape)
    none = np.zeros(0, dtype=np.int64)
    columns = np.flatnonzero(lacking > 0)
    if not len(columns):
        return none, 0.0
    rows = np.unique(np.minimum(weight[:, columns] / lacking[columns], 1.0).T, axis=0)
    if (rows.sum(axis=1) < 1.0 - 1e-7).any():
        return none, np.inf
    rows = rows[_needed(rows)]
    with silent():
        found = milp(
            cost,
            constraints=[LinearConstraint(rows, 1.0 - 1e-9, np.inf)],
            integrality=np.ones(len(cost)),
            bounds=Bounds(0, 1),
            # programs are so small that making them smaller takes as long as solving them
            options={"node_limit": NODES, "mip_rel_gap": GAP / len(cost), "presolve": False},
        )
    if found.x is None:
        return none, np.inf if found.status == 2 else 0.0
    bound = found.mip_dual_bound
    picks = np.flatnonzero(found.x > 0.5)
    picks.setflags(write=False)
    return picks, float(bound) if bound is not None and np.isfinite(bound) else 0.0


def _needed(rows: F64) -> I64:
    """Rows that no other row implies: one that is nowhere greater asks for more."""
    implied = np.asarray((rows[:, None, :] >= rows[None, :, :]).all(axis=2), dtype=np.bool_)
    np.fill_diagonal(implied, False)
    return np.flatnonzero(~implied.any(axis=1))


@dataclass(frozen=True)
class Matched:
    """The cheapest way of each (position), what each is worth in the bound, and what a host's being single is."""

    picked: list[int]
    worth: F64
    price: dict[int, float]


def matching(ways: Sequence[Sequence[tuple[int, int]]], single: AbstractSet[int]) -> Matched | None:
    """One way (host, extra departures) for everyone, at the fewest together; ``single`` hosts serve only one.

    As a linear program, whose optimum is whole. Its prices prove the bound: for every way the
    worth of who takes it less the price of its host is at most what it costs.
    """
    from scipy.optimize import linprog  # noqa: PLC0415 — heavy, and rarely needed
    from scipy.sparse import csr_array  # noqa: PLC0415

    from sidestep.planning.exact.silent import silent  # noqa: PLC0415

    starts = np.cumsum([0, *(len(options) for options in ways)])
    total = int(starts[-1])
    everyone = np.repeat(np.arange(len(ways)), np.diff(starts))
    host = np.array([h for options in ways for h, _ in options])
    cost = np.array([float(extra) for options in ways for _, extra in options])
    must = csr_array((np.ones(total), (everyone, np.arange(total))), shape=(len(ways), total))
    hosts = sorted(single & set(host.tolist()))
    at = np.flatnonzero(np.isin(host, hosts))
    row = np.searchsorted(np.array(hosts, dtype=host.dtype), host[at])
    most = csr_array((np.ones(len(at)), (row, at)), shape=(len(hosts), total))
    with silent():
        found = linprog(
            cost,
            A_eq=must,
            b_eq=np.ones(len(ways)),
            A_ub=most if hosts else None,
            b_ub=np.ones(len(hosts)) if hosts else None,
            method="highs-ds",
        )
    if found.x is None or found.status != 0:
        return None
    worth = np.asarray(found.eqlin.marginals, dtype=np.float64)
    price = dict(zip(hosts, np.maximum(-found.ineqlin.marginals, 0.0).tolist(), strict=True)) if hosts else {}
    # rounding must not prove too much: nobody is worth more than any way costs
    for one, options in enumerate(ways):
        worth[one] = min([float(worth[one]), *(extra + price.get(h, 0.0) for h, extra in options)])
    picked = [int(np.argmax(found.x[starts[one] : starts[one + 1]])) for one in range(len(ways))]
    return Matched(picked, worth, price)
