"""A placement being tried: moves pushed and popped, and what hosts would then demand.

Every arrival counts from the start of the horizon, and until its move has ended at both
hosts: memory is held twice while a shard moves, and the destination must have room for it
all that time. Processor time is needed twice only while a shard is restored, which its
full arrival covers. A departure counts only for moves that wait for it (``Action.after``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.planning.load import Load, Quantile
from sidestep.planning.rules import Rules
from sidestep.planning.uncertainty import F64, NORMAL, arriving, combined, deviation_after, share_left

#: rounding that a limit forgives, as a fraction of it
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Move:
    """One move by rows; ``relieves`` is the host for whose sake it is made."""

    shard: int
    source: int
    destination: int
    relieves: int


class Trial:
    """Moves on top of a load; nothing of the load itself changes."""

    def __init__(self, load: Load, rules: Rules, moves: tuple[Move, ...] = ()) -> None:
        self.load, self.rules = load, rules
        self.moves: list[Move] = []
        self.gone: dict[int, list[int]] = {}
        self.come: dict[int, list[int]] = {}
        self.at: dict[int, int] = {}
        for move in moves:
            self.push(move)

    def push(self, move: Move) -> None:
        """Try one more move."""
        self.moves.append(move)
        self.gone.setdefault(move.source, []).append(move.shard)
        self.come.setdefault(move.destination, []).append(move.shard)
        self.at[move.shard] = move.destination

    def pop(self) -> Move:
        """Take the last move back."""
        move = self.moves.pop()
        self.gone[move.source].pop()
        self.come[move.destination].pop()
        del self.at[move.shard]
        return move

    def touched(self, host: int) -> bool:
        """Whether any tried move leaves or enters the host."""
        return bool(self.gone.get(host) or self.come.get(host))

    def _sums(self, shards: list[int]) -> tuple[F64, F64, F64]:
        mean = self.load.shard_mean[shards].astype(np.float64)
        sd = self.load.shard_sd[shards].astype(np.float64)
        return mean.sum(axis=0), (sd**2).sum(axis=0), sd.sum(axis=0)

    def _parts(self, host: int, extra: list[int], leaving: bool) -> tuple[F64, F64, F64]:
        """Median, share of the variance that stays, and variance that arrives; each (R, T)."""
        load = self.load
        mean, variance, deviation = self._sums(self.gone.get(host, []) if leaving else [])
        left_var = np.maximum(load.variance[host] - variance, 0.0)
        left_sd = np.maximum(load.deviation[host] - deviation, 0.0)
        share = share_left(combined(left_var, left_sd, load.rho), load.spread[host])
        new_mean, new_var, new_sd = self._sums(self.come.get(host, []) + extra)
        median = np.maximum(load.median[host] - mean, 0.0) + new_mean
        return median, share, arriving(new_var, new_sd, left_sd, load.rho)

    def upper(self, host: int, quantile: Quantile, extra: list[int] | None = None, *, leaving: bool = True) -> F64:
        """(R, T) demand at a quantile, with ``extra`` shards arriving too.

        Without ``leaving`` the shards that leave are still counted: the worst that can
        happen while nothing waits for anything.
        """
        median, share, added = self._parts(host, extra or [], leaving)
        away = deviation_after(quantile.deviation[host], quantile.z, share, added)
        return np.asarray(median + away, dtype=np.float64)

    def quantiles(self, host: int) -> F64:
        """(R, T, Q) the whole forecast of a host after the moves; the oracle's own if none touches it."""
        known = self.load.quantiles[host].astype(np.float64)
        if not self.touched(host):
            return np.asarray(known, dtype=np.float64)
        median, share, added = self._parts(host, [], True)
        away = known - self.load.median[host][..., None]
        after = median[..., None] + deviation_after(away, NORMAL, share[..., None], added[..., None])
        return np.asarray(after, dtype=np.float64)

    def fits(self, host: int, shard: int, *, leaving: bool = True) -> bool:
        """Whether a shard has room on a host through the whole horizon at the strict quantile."""
        return self.headroom(host, shard, leaving=leaving) >= -TOLERANCE

    def headroom(self, host: int, shard: int, *, leaving: bool = True) -> float:
        """The least room that stays with the shard there, a fraction of capacity; negative is missing."""
        upper = self.upper(host, self.load.strict, [shard], leaving=leaving)
        return float(spare(self.load, np.array([host]), upper[None])[0])

    def avoided(self, shard: int, host: int) -> bool:
        """Whether a shard that must not meet this one is on the host, or would be."""
        return any(
            self.rules.host[other] == host or self.at.get(other) == host for other in self.rules.conflicts(shard)
        )


def arrivals(load: Load, shard: int) -> F64:
    """(H, R, T) demand at the strict quantile of every host if the shard came, nothing else moving."""
    mean = load.shard_mean[shard].astype(np.float64)
    sd = load.shard_sd[shard].astype(np.float64)
    added = arriving(sd**2, sd, load.deviation, load.rho)
    z = load.strict.z
    return np.asarray(
        load.median + mean + np.sign(z) * np.sqrt(load.strict.deviation**2 + z**2 * added), dtype=np.float64
    )


def spare(load: Load, hosts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], upper: F64) -> F64:
    """(K,) least room below the limit over all dimensions and steps of (K, R, T), per capacity.

    Minus infinity where capacity or demand is unknown.
    """
    capacity, limit = load.capacity[hosts], load.limit[hosts]
    with np.errstate(invalid="ignore", divide="ignore"):
        room = (limit - upper.max(axis=2)) / capacity
    return np.asarray(np.where(np.isfinite(room), room, -np.inf).min(axis=1), dtype=np.float64)
