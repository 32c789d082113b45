"""The smallest cover as an integer program, for covers too big to look at every set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sidestep.planning.model.problem import F64, I64

#: nodes of the tree that one program may visit
NODES = 2000


def smallest(weight: F64, lacking: F64, cost: F64) -> tuple[I64, float]:
    """Positions (k,) of least ``cost`` whose ``weight`` (M, C) adds up to ``lacking`` (C,), and what none goes below.

    No positions if there are none, with an infinite bound where that is proven.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 — heavy, and rarely needed

    from sidestep.planning.exact.silent import silent  # noqa: PLC0415

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
            options={"node_limit": NODES, "mip_rel_gap": 0.0},
        )
    if found.x is None:
        return none, np.inf if found.status == 2 else 0.0
    bound = found.mip_dual_bound
    return np.flatnonzero(found.x > 0.5), float(bound) if bound is not None and np.isfinite(bound) else 0.0


def _needed(rows: F64) -> I64:
    """Rows that no other row implies: one that is nowhere greater asks for more."""
    implied = (rows[:, None, :] >= rows[None, :, :]).all(axis=2)
    np.fill_diagonal(implied, False)
    return np.flatnonzero(~implied.any(axis=1))


def matching(
    ways: Sequence[Sequence[tuple[int, int]]],
    pairs: Mapping[tuple[int, int], Mapping[int, float]],
    base: Mapping[int, int],
) -> tuple[int, list[int]]:
    """One way (host, extra departures there) for everyone in need, with the fewest extra departures together.

    Two who choose one host share its departures; ``pairs`` says how many it then takes at least, of which
    ``base`` are made anyway. A bound, and the chosen way of each; nothing if the solver gave up.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 — heavy, and rarely needed
    from scipy.sparse import coo_array  # noqa: PLC0415

    from sidestep.planning.exact.silent import silent  # noqa: PLC0415

    hosts = sorted({host for options in ways for host, _ in options})
    number = {host: at for at, host in enumerate(hosts)}
    starts = np.cumsum([0, *(len(options) for options in ways)])
    total = int(starts[-1])
    row: list[int] = []
    column: list[int] = []
    value: list[float] = []
    low: list[float] = []

    def add(entries: Sequence[tuple[int, float]], least: float) -> None:
        for at, factor in entries:
            row.append(len(low))
            column.append(at)
            value.append(factor)
        low.append(least)

    at_host: dict[int, dict[int, list[int]]] = {}
    for one, options in enumerate(ways):
        add([(int(starts[one]) + at, 1.0) for at in range(len(options))], 1.0)
        for at, (host, extra) in enumerate(options):
            at_host.setdefault(host, {}).setdefault(one, []).append(int(starts[one]) + at)
            if extra > 0:
                add([(total + number[host], 1.0), (int(starts[one]) + at, -float(extra))], 0.0)
    for host, who in at_host.items():
        known = {(a, b): pairs.get((a, b), {}).get(host, 0.0) for a in who for b in who if b < a}
        if len(who) > 1 and all(np.isinf(least) for least in known.values()):
            add([(at, -1.0) for parts in who.values() for at in parts], -1.0)
            continue
        for (a, b), least in known.items():
            both = [(at, -1.0) for at in who[a] + who[b]]
            extra = least - base.get(host, 0)
            if np.isinf(least):
                add(both, -1.0)
            elif extra > 0:
                add([(total + number[host], 1.0), *((at, extra * factor) for at, factor in both)], -extra)
    size = total + len(hosts)
    matrix = coo_array((value, (row, column)), shape=(len(low), size)).tocsr()
    upper = np.ones(size)
    upper[total:] = np.inf
    cost = np.zeros(size)
    cost[total:] = 1.0
    with silent():
        found = milp(
            cost,
            constraints=[LinearConstraint(matrix, np.array(low), np.inf)],
            integrality=np.ones(size),
            bounds=Bounds(0, upper),
            options={"node_limit": NODES, "mip_rel_gap": 0.0},
        )
    bound = found.mip_dual_bound if found.mip_dual_bound is not None and np.isfinite(found.mip_dual_bound) else 0.0
    if found.x is None:
        return int(np.ceil(bound - 1e-6)), []
    picked = [int(np.argmax(found.x[starts[one] : starts[one + 1]])) for one in range(len(ways))]
    return int(np.ceil(bound - 1e-6)), picked
