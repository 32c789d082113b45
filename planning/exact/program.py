"""A mixed-integer program put together in blocks of rows, and solved by HiGHS.

All variables lie between 0 and an upper end, so that no program is unbounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.exact.silent import silent

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Verdict = Literal["OPTIMAL", "FEASIBLE", "INFEASIBLE", "UNKNOWN"]
Cap = Literal["", "nodes", "seconds", "rounds", "order"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search for a proof ends: ``nodes`` of all its programs together decide the same on every machine,
    ``seconds`` for each program (0: no end) do not."""

    nodes: int = 5_000
    seconds: float = 0.0
    #: solutions looked at that the exact arithmetic refuses, before giving up
    rounds: int = 40


@dataclass(frozen=True, eq=False, kw_only=True)
class Solved:
    """What HiGHS found: ``x`` unless there is nothing, ``bound`` that no solution goes below."""

    verdict: Verdict
    x: F64
    value: float
    bound: float
    nodes: int
    capped: Cap = ""


class Program:
    """Variables and rows, added in blocks; may be solved many times with other costs and more rows."""

    def __init__(self) -> None:
        self._entries: list[tuple[I64, I64, F64]] = []
        self._low: list[F64] = []
        self._high: list[F64] = []
        self._upper: list[F64] = []
        self._whole: list[NDArray[np.int64]] = []
        self.rows = 0
        self.columns = 0

    def variables(self, count: int, *, whole: bool = True, upper: float = 1.0) -> I64:
        """The columns of ``count`` new variables in [0, upper]."""
        self._upper.append(np.full(count, upper))
        self._whole.append(np.full(count, int(whole), dtype=np.int64))
        self.columns += count
        return np.arange(self.columns - count, self.columns, dtype=np.int64)

    def add(self, row: I64, column: I64, value: F64, *, high: F64, low: F64 | None = None) -> None:
        """Rows ``low <= sum <= high``; ``row`` numbers them from 0 within this block."""
        high = np.asarray(high, dtype=np.float64)
        keep = value != 0
        self._entries.append((row[keep] + self.rows, column[keep], value[keep]))
        self._high.append(high)
        self._low.append(np.full(len(high), -np.inf) if low is None else np.asarray(low, dtype=np.float64))
        self.rows += len(high)

    def row(self, column: I64, value: F64, *, high: float = np.inf, low: float = -np.inf) -> None:
        """One row."""
        zeros = np.zeros(len(column), dtype=np.int64)
        self.add(zeros, column, np.asarray(value, dtype=np.float64), high=np.array([high]), low=np.array([low]))

    def solve(
        self, cost: F64, limits: Limits, *, closed: I64 | None = None, at_most: tuple[F64, float] | None = None
    ) -> Solved:
        """The least ``cost``; variables ``closed`` stay 0, and ``at_most`` bounds another sum this time."""
        if not self.columns:
            empty = np.zeros(0)
            low, high = (np.concatenate([*part, empty]) for part in (self._low, self._high))
            fits = bool((low <= 0).all() and (high >= 0).all())
            return Solved(verdict="OPTIMAL" if fits else "INFEASIBLE", x=empty, value=0.0, bound=0.0, nodes=0)
        upper = np.concatenate(self._upper)
        if closed is not None:
            upper[closed] = 0.0
        solved = self._run(cost, upper, limits, at_most, presolve=True)
        # "infeasible or unbounded" in presolve: ours are bounded, so ask again and be sure
        return solved if solved else self._run(cost, upper, limits, at_most, presolve=False) or _UNKNOWN

    def _run(
        self, cost: F64, upper: F64, limits: Limits, at_most: tuple[F64, float] | None, *, presolve: bool
    ) -> Solved | None:
        from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 — heavy
        from scipy.sparse import csc_array  # noqa: PLC0415

        options: dict[str, object] = {"mip_rel_gap": 0.0, "node_limit": limits.nodes, "presolve": presolve}
        if limits.seconds > 0:
            options["time_limit"] = limits.seconds
        rules = []
        if self.rows:
            row, column, value = (np.concatenate(parts) for parts in zip(*self._entries, strict=True))
            matrix = csc_array((value, (row, column)), shape=(self.rows, self.columns))
            rules = [LinearConstraint(matrix, np.concatenate(self._low), np.concatenate(self._high))]
        if at_most is not None:
            rules.append(LinearConstraint(csc_array(at_most[0][None]), -np.inf, at_most[1]))
        with silent():
            found = milp(
                cost,
                constraints=rules,
                integrality=np.concatenate(self._whole),
                bounds=Bounds(np.zeros(self.columns), upper),
                options=options,
            )
        if found.status == 4 and found.x is None and "limit" not in str(found.message):
            return None
        nodes = int(found.mip_node_count or 0)
        x = np.zeros(0) if found.x is None else np.asarray(found.x, dtype=np.float64)
        if found.status == 2:
            return Solved(verdict="INFEASIBLE", x=np.zeros(0), value=np.inf, bound=np.inf, nodes=nodes)
        bound = found.mip_dual_bound
        bound = -np.inf if bound is None or not np.isfinite(bound) else float(bound)
        capped: Cap = "" if found.status == 0 else "seconds" if "ime limit" in str(found.message) else "nodes"
        if not len(x):
            return Solved(verdict="UNKNOWN", x=x, value=np.inf, bound=bound, nodes=nodes, capped=capped)
        verdict: Verdict = "OPTIMAL" if found.status == 0 else "FEASIBLE"
        return Solved(verdict=verdict, x=x, value=float(found.fun), bound=bound, nodes=nodes, capped=capped)


_UNKNOWN = Solved(verdict="UNKNOWN", x=np.zeros(0), value=np.inf, bound=-np.inf, nodes=0)
