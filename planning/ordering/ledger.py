"""What every host holds while a plan runs: arrivals count when they start, departures when they end."""

from __future__ import annotations

import numpy as np

from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64, I64, Mask
from sidestep.planning.ordering.model import TOLERANCE
from sidestep.planning.uncertainty import arriving, combined, share_left


class Demand:
    """The columns of some shards, by place: mean, and where it matters variance and deviation."""

    def __init__(self, problem: Problem, shards: I64) -> None:
        self.mean: F64 = problem.mean[shards].astype(np.float64)
        if problem.linear:
            self.parts: F64 = self.mean[None]
            self.asks: Mask = self.mean > 0
        else:
            sd = problem.sd[shards].astype(np.float64)
            self.parts = np.stack([self.mean, sd**2, sd])
            self.asks = (self.mean > 0) | (sd > 0)


def total(parts: F64, rows: I64, hosts: int) -> F64:
    """(P, hosts, D) sums of ``parts`` (P, n, D) by host."""
    out = np.zeros((parts.shape[0], hosts, parts.shape[2]))
    if len(rows):
        order = np.argsort(rows, kind="stable")
        found, first = np.unique(rows[order], return_index=True)
        out[:, found] = np.add.reduceat(parts[:, order], first, axis=1)
    return out


class Room:
    """How the room of hosts is judged, and up to where: the ceiling of every column.

    At first room, and no higher share of a limit than ``peak``; ``relax`` forgives what was
    above its room before, and shares up to 1.
    """

    def __init__(self, problem: Problem, peak: float) -> None:
        self.problem, self.peak = problem, peak
        self.relaxed = False
        self.start: F64 = problem.median + self.sign * np.abs(problem.away)
        self._certain: F64 = self.sign * np.abs(problem.away)
        self.squared: F64 = np.square(problem.away)
        with np.errstate(invalid="ignore"):
            self.ceiling: F64 = _forgiving(np.minimum(problem.room, peak * problem.limit))

    @property
    def sign(self) -> float:
        """On which side of the median the quantile lies."""
        return -1.0 if self.problem.z < 0 else 1.0

    def relax(self) -> bool:
        """Accept what is no worse than the start, if that is more than was accepted before."""
        if self.relaxed:
            return False
        self.relaxed, self.peak = True, max(self.peak, 1.0)
        p = self.problem
        with np.errstate(invalid="ignore"):
            before = self.ceiling
            least = np.minimum(p.room, self.peak * p.limit)
            self.ceiling = _forgiving(np.maximum(least, np.nan_to_num(self.start, nan=-np.inf, posinf=np.inf)))
            return bool((self.ceiling > before).any())

    def upper(self, hosts: I64, gone: F64, come: F64) -> F64:
        """(k, D) demand of hosts without ``gone`` and with ``come``, both (P, k, D)."""
        p = self.problem
        median = np.maximum(p.median[hosts] - gone[0], 0.0) + come[0]
        if p.linear:
            return np.asarray(median + self.sign * np.abs(p.away[hosts]), dtype=np.float64)
        left_var = np.maximum(p.variance[hosts] - gone[1], 0.0)
        left_sd = np.maximum(p.deviation[hosts] - gone[2], 0.0)
        share = share_left(combined(left_var, left_sd, p.rho), p.spread[hosts])
        added = arriving(come[1], come[2], left_sd, p.rho)
        return np.asarray(median + self.sign * np.sqrt(self.squared[hosts] * share + p.z**2 * added), dtype=np.float64)

    def over(self, hosts: I64, gone: F64, come: F64, asks: Mask) -> Mask:
        """(k, D) columns in which something is asked and the ceiling is passed, or nothing is known."""
        p = self.problem
        with np.errstate(invalid="ignore"):
            if not p.linear:
                return np.asarray(~(self.upper(hosts, gone, come) <= self.ceiling[hosts]) & asks, dtype=np.bool_)
            held = p.median[hosts]
            held -= gone[0]
            np.maximum(held, 0.0, out=held)
            held += come[0]
            held += self._certain[hosts]
            fits = held <= self.ceiling[hosts]
        return np.asarray(np.greater(asks, fits), dtype=np.bool_)


class Ledger:
    """The sums of what left and what came, host by host, while an order is being made."""

    def __init__(self, room: Room) -> None:
        self.room = room
        hosts, width = room.problem.limit.shape
        self.home = room.problem.host
        self.gone: F64 = np.zeros((1 if room.problem.linear else 3, hosts, width))
        self.come: F64 = np.zeros_like(self.gone)

    def copy(self) -> Ledger:
        """The same sums, to try something on."""
        other = Ledger(self.room)
        other.gone, other.come = self.gone.copy(), self.come.copy()
        return other

    def over(self, hosts: I64, parts: F64, asks: Mask) -> Mask:
        """(k, D) columns in which a further arrival (its parts, P, k, D) has no room on its host."""
        return self.room.over(hosts, self.gone[:, hosts], self.come[:, hosts] + parts, asks)

    def arrive(self, hosts: I64, shards: I64, parts: F64) -> None:
        """Shards come to hosts, each host at most once; a shard that comes home was never gone."""
        back = self.home[shards] == hosts
        if back.any():
            self.gone[:, hosts[back]] = np.maximum(self.gone[:, hosts[back]] - parts[:, back], 0.0)
            hosts, parts = hosts[~back], parts[:, ~back]
        self.come[:, hosts] += parts

    def leave(self, hosts: I64, shards: I64, parts: F64) -> None:
        """Shards leave hosts; what came by a move before is no longer among what came."""
        placed = hosts >= 0
        own = placed & (self.home[shards] == hosts)
        self.gone += total(parts[:, own], hosts[own], self.gone.shape[1])
        guest = placed & ~own
        if guest.any():
            self.come -= total(parts[:, guest], hosts[guest], self.gone.shape[1])
            np.maximum(self.come, 0.0, out=self.come)


def _forgiving(limit: F64) -> F64:
    return np.asarray(limit + np.abs(limit) * TOLERANCE + 1e-12, dtype=np.float64)
