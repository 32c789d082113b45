"""A placement being tried: moves made and taken back, and what every host would then demand.

For every host three columns are kept: its median, the square of its distance to the strict
quantile, and the sum of the standard deviations present; with them an arrival costs one line
of arithmetic over the whole fleet. There are two pictures: ``after`` all moves, and ``during``
them, when what leaves is still there and what comes is there already, because a shard is held
at both ends while it moves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.model.outcome import Move
from sidestep.planning.model.problem import F64, I32, I64, Mask, Problem
from sidestep.planning.uncertainty import arriving, combined, share_left

#: rounding that a limit forgives, as a fraction of capacity
TOLERANCE = 1e-9


class State:
    """Moves on top of a problem. Cheap to push and pop; the problem itself never changes."""

    def __init__(self, problem: Problem, moves: tuple[Move, ...] = ()) -> None:
        self.problem = problem
        self.at: I32 = problem.host.copy()
        self.moves: list[Move] = []
        shape = problem.median.shape
        #: (H, D) sums over what left and what came: mean, variance, deviation
        self._gone = np.zeros((3, *shape))
        self._come = np.zeros((3, *shape))
        #: (H,) how many left and came
        self.left: I64 = np.zeros(shape[0], dtype=np.int64)
        self.came: I64 = np.zeros(shape[0], dtype=np.int64)
        #: after all moves, and during them: median, squared distance, deviations present
        self.after = [problem.median.copy(), np.square(problem.away), problem.deviation.copy()]
        self.during = [part.copy() for part in self.after]
        #: where demand is certain: (H, D) free room during the moves and after them, once something asked for it
        self._free: dict[bool, F64] = {}
        #: the last answer of ``spare``, while no move is made or taken back
        self._said: tuple[int, bool, I64, F64] | None = None
        for move in moves:
            self.push(move)

    def push(self, move: Move) -> None:
        """Try one more move of a shard that has not moved yet; with destination -1 it leaves and is nowhere."""
        self._count(move, 1)
        self.at[move.shard] = move.destination
        self.moves.append(move)

    def pop(self) -> Move:
        """Take the last move back."""
        move = self.moves.pop()
        self.at[move.shard] = move.source
        self._count(move, -1)
        return move

    def take(self, shard: int) -> Move:
        """Take back the move of this shard, wherever it stands among the moves."""
        place = next(i for i in range(len(self.moves) - 1, -1, -1) if self.moves[i].shard == shard)
        move = self.moves.pop(place)
        self.at[shard] = move.source
        self._count(move, -1)
        return move

    def reset(self, length: int = 0) -> None:
        """Take moves back until ``length`` are left."""
        while len(self.moves) > length:
            self.pop()

    def _count(self, move: Move, sign: int) -> None:
        problem, shard = self.problem, move.shard
        self._said = None
        mean = problem.mean[shard].astype(np.float64)
        if problem.certain:
            parts = sign * mean[None]
        else:
            sd = problem.sd[shard].astype(np.float64)
            parts = sign * np.stack([mean, sd**2, sd])
        if move.source >= 0:
            self.left[move.source] += sign
            self._add(self._gone, self.left, move.source, parts)
            self._refresh(move.source, arrives=False)
        if move.destination >= 0:
            self.came[move.destination] += sign
            self._add(self._come, self.came, move.destination, parts)
            self._refresh(move.destination, arrives=True)

    @staticmethod
    def _add(sums: F64, count: I64, host: int, parts: F64) -> None:
        if count[host]:
            sums[: len(parts), host] += parts
        else:
            sums[:, host] = 0.0  # exactly as before, whatever rounding left

    def _refresh(self, host: int, *, arrives: bool) -> None:
        """Both pictures of a host; what leaves it changes nothing of what is there ``during`` the moves."""
        gone, come = self._gone[:, host], self._come[:, host]
        if self.problem.certain:
            start = self.problem.median[host]
            after = self.after[0][host]
            np.maximum(np.subtract(start, gone[0], out=after), 0.0, out=after)
            after += come[0]
            if arrives:
                np.add(start, come[0], out=self.during[0][host])
            for during, free in self._free.items():
                if arrives or not during:
                    free[host] = self._left(during, host)
            return
        for into, (mean, variance, deviation) in ((self.after, gone), (self.during, np.zeros_like(gone))):
            for part, value in zip(into, self._parts(host, mean, variance, deviation, come), strict=True):
                part[host] = value

    def _parts(
        self,
        host: int,
        mean: F64,
        variance: F64,
        deviation: F64,
        come: F64,
        *,
        columns: I64 | slice = slice(None),
    ) -> tuple[F64, F64, F64]:
        """Median, squared distance and deviations present of a host; departures may be (S, D) alternatives."""
        p = self.problem
        left_sd = np.maximum(p.deviation[host, columns] - deviation, 0.0)
        left_var = np.maximum(p.variance[host, columns] - variance, 0.0)
        share = share_left(combined(left_var, left_sd, p.rho), p.spread[host, columns])
        added = arriving(come[1], come[2], left_sd, p.rho)
        median = np.maximum(p.median[host, columns] - mean, 0.0) + come[0]
        return median, np.square(p.away[host, columns]) * share + p.z**2 * added, left_sd + come[2]

    def _sign(self) -> float:
        return -1.0 if self.problem.z < 0 else 1.0

    def upper(self, rows: I64 | slice = slice(None), *, during: bool = False) -> F64:
        """(k, D) demand at the strict quantile after all moves, or while they run."""
        median, squared, _ = self.during if during else self.after
        if self.problem.certain:
            return np.asarray(median[rows] + self.problem.fixed[rows], dtype=np.float64)
        return np.asarray(median[rows] + self._sign() * np.sqrt(squared[rows]), dtype=np.float64)

    def arrivals(self, shard: int, rows: I64 | slice = slice(None), *, during: bool = True) -> F64:
        """(k, D) demand at the strict quantile of hosts to which the shard came as well."""
        p = self.problem
        mean, sd = p.mean[shard].astype(np.float64), p.sd[shard].astype(np.float64)
        median, squared, present = self.during if during else self.after
        if p.certain:
            return np.asarray(median[rows] + p.fixed[rows] + mean, dtype=np.float64)
        if p.linear:
            return np.asarray(median[rows] + self._sign() * np.sqrt(squared[rows]) + mean, dtype=np.float64)
        grown = squared[rows] + p.z**2 * arriving(sd**2, sd, present[rows], p.rho)
        return np.asarray(median[rows] + mean + self._sign() * np.sqrt(grown), dtype=np.float64)

    def spare(self, shard: int, rows: I64 | slice = slice(None), *, during: bool = True) -> F64:
        """(k,) least room that stays with the shard there, a fraction of capacity; negative is missing.

        Over all columns in which the shard demands anything. A host of unknown capacity or demand (NaN)
        has minus infinity; a column of unlimited room and finite capacity never is the least.
        """
        p, said = self.problem, self._said
        if said is not None and said[2] is rows and said[:2] == (shard, during):
            return said[3]
        with np.errstate(invalid="ignore", divide="ignore"):
            if p.certain:
                if during not in self._free:
                    self._free[during] = self._left(during, slice(None))
                free = self._free[during][rows] - p.mean[shard]
            else:
                free = p.room[rows] - self.arrivals(shard, rows, during=during)
            free /= p.capacity[rows]
        asks = (p.mean[shard] > 0) | (p.sd[shard] > 0)
        # the least of anything and NaN is NaN
        least = (free if asks.all() else free[:, asks]).min(axis=1, initial=np.inf)
        return np.asarray(np.where(np.isnan(least), -np.inf, least), dtype=np.float64)

    def roomy(self, shard: int, rows: I64, *, during: bool = True) -> I64:
        """Hosts of ``rows`` that have room for the shard; ``spare`` of just these is remembered until the next move."""
        spare = self.spare(shard, rows, during=during)
        enough = spare >= -TOLERANCE
        found = np.asarray(rows[enough], dtype=np.int64)
        self._said = shard, during, found, spare[enough]
        return found

    def _left(self, during: bool, rows: int | slice) -> F64:
        p = self.problem
        median = (self.during if during else self.after)[0][rows]
        if p.calm:
            return np.asarray(p.room[rows] - (median + p.fixed[rows]), dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.asarray(p.room[rows] - (median + p.fixed[rows]), dtype=np.float64)

    def open(self, shard: int) -> Mask:
        """(H,) hosts that may receive the shard as far as rules go, whatever their room."""
        out = self.problem.accepts & ~self.problem.constraints.blocked(self.at, shard)
        if self.at[shard] >= 0:
            out[self.at[shard]] = False
        return np.asarray(out, dtype=np.bool_)

    def members(self, host: int) -> I64:
        """Shards on a host after the moves, by row."""
        there = [m.shard for m in self.moves if self.at[m.shard] == host and m.destination == host]
        still = self.problem.on(host)
        still = still[self.at[still] == host]
        return np.asarray(np.union1d(still, np.array(there, dtype=np.int64)), dtype=np.int64)

    def without(self, host: int, shards: I64, sets: Mask, guest: int = -1) -> F64:
        """(S, D) demand of a host after the moves if each set (S, M) of its original ``shards`` left too.

        With a ``guest`` that comes in their place.
        """
        p = self.problem
        pick = sets.astype(np.float64)
        mean, sd = p.mean[shards].astype(np.float64), p.sd[shards].astype(np.float64)
        gone, come = self._gone[:, host], self._come[:, host].copy()
        if guest >= 0:
            own = p.sd[guest].astype(np.float64)
            come += np.stack([p.mean[guest].astype(np.float64), own**2, own])
        median, squared, _ = self._parts(host, gone[0] + pick @ mean, gone[1] + pick @ sd**2, gone[2] + pick @ sd, come)
        return np.asarray(median + self._sign() * np.sqrt(squared), dtype=np.float64)

    def leaving(self, host: int, mean: F64, variance: F64, deviation: F64, columns: I64, guest: int = -1) -> F64:
        """(S, C) demand of some columns of a host if shards with these sums (S, C) left after the moves too.

        With a ``guest`` that comes in their place.
        """
        p = self.problem
        gone, come = self._gone[:, host, columns], self._come[:, host, columns]
        if guest >= 0:
            own = p.sd[guest, columns].astype(np.float64)
            come = come + np.stack([p.mean[guest, columns].astype(np.float64), own**2, own])
        if p.certain:
            left = np.maximum(p.median[host, columns] - gone[0] - mean, 0.0)
            return np.asarray(left + (come[0] + p.fixed[host, columns]), dtype=np.float64)
        median, squared, _ = self._parts(
            host, gone[0] + mean, gone[1] + variance, gone[2] + deviation, come, columns=columns
        )
        return np.asarray(median + self._sign() * np.sqrt(squared), dtype=np.float64)

    def moved(self, rows: I64) -> tuple[F64, F64]:
        """(k, D) means of what came to hosts, and of what left them."""
        return self._come[0, rows], self._gone[0, rows]

    def hot(self, rows: NDArray[np.int64] | None = None) -> Mask:
        """(k,) which hosts are in contention after the moves."""
        p = self.problem
        at = slice(None) if rows is None else rows
        return p.held(self.upper(at), p.limit[at])

    def change(self, host: int) -> tuple[F64, F64, F64]:
        """(D,) a host's median after the moves, the share of its own variance that stays, and the variance added."""
        p = self.problem
        gone, come = self._gone[:, host], self._come[:, host]
        left_sd = np.maximum(p.deviation[host] - gone[2], 0.0)
        left_var = np.maximum(p.variance[host] - gone[1], 0.0)
        share = share_left(combined(left_var, left_sd, p.rho), p.spread[host])
        median = np.maximum(p.median[host] - gone[0], 0.0) + come[0]
        return median, share, arriving(come[1], come[2], left_sd, p.rho)
