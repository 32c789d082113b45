"""Demand as sums: what is exactly additive, and for uncertain demand a plane that never lies above it.

The distance to a quantile is the length of a vector that is linear in who is present, so it
is convex, and a tangent anywhere stays below it. A program made of tangents may promise too
much and never too little: what it calls impossible is impossible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.planning.model import Problem
from sidestep.planning.model.problem import F64, I64


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane:
    """Demand of each host is at least ``base`` less ``away_mean`` etc. of who leaves, plus those of who comes.

    Coefficients of a shard that leaves: ``mean + out_var * sd**2 + out_sd * sd``; of one that
    comes: ``mean + in_sd * sd``; all arrays (H, D).
    """

    base: F64
    out_var: F64
    out_sd: F64
    in_sd: F64

    def leaving(self, problem: Problem, rows: I64) -> F64:
        """(M, D) by how much demand of its host falls at most when a shard leaves."""
        host, sd = problem.host[rows], problem.sd[rows].astype(np.float64)
        mean = problem.mean[rows].astype(np.float64)
        return np.asarray(mean + self.out_var[host] * sd**2 + self.out_sd[host] * sd, dtype=np.float64)

    def coming(self, problem: Problem, rows: I64, hosts: I64) -> F64:
        """(V, D) by how much demand of a host grows at least when a shard comes."""
        sd = problem.sd[rows].astype(np.float64)
        return np.asarray(problem.mean[rows].astype(np.float64) + self.in_sd[hosts] * sd, dtype=np.float64)


def start(problem: Problem) -> Plane:
    """The tangent where everybody still is where it is; exact for linear problems and for no move."""
    p = problem
    base = p.median + p.away
    zero = np.zeros_like(base)
    if p.linear:
        return Plane(base=base, out_var=zero, out_sd=zero, in_sd=zero)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(p.spread > 0, p.away / (abs(p.z) * np.sqrt(p.spread)), 0.0)
        if p.z < 0:
            # below the median: distances shrink demand, at most by all of them in step
            most = abs(p.z) * np.maximum(np.abs(scale), 1.0)
            own = np.where(p.spread > 0, most * p.deviation, np.abs(p.away))
            return Plane(base=p.median - own, out_var=zero, out_sd=-most * (p.spread > 0), in_sd=-most)
        rate = np.where(p.spread > 0, p.away / p.spread, 0.0)
        common = np.where(p.away > 0, p.rho * p.z**2 * np.minimum(scale, 1.0) * p.deviation / p.away, 0.0)
    return Plane(base=base, out_var=rate * (1 - p.rho), out_sd=rate * p.rho * p.deviation, in_sd=common)


def at(problem: Problem, host: int, stay: I64, gone: I64, come: I64, new: I64) -> tuple[F64, F64, F64, F64] | None:
    """The tangent of one host's demand where ``come`` arrived and ``gone`` left; None where none is known to hold.

    ``stay`` and ``gone`` are all of its shards that may leave, ``new`` all that may come; the answer is
    ``(constant (D,), per stay and gone that leaves (M, D), per new (V, D))`` as in ``Plane``.
    """
    p = problem
    if p.z < 0:
        return None
    z2 = p.z**2
    spread, away = p.spread[host], p.away[host]
    own, arrive = np.concatenate([stay, gone]), p.sd[come].astype(np.float64)
    sd, new_sd = p.sd[own].astype(np.float64), p.sd[new].astype(np.float64)
    left = p.sd[gone].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(spread > 0, np.square(away) / spread, 0.0)
        cross = np.where(spread > 0, np.minimum(away * abs(p.z) / np.sqrt(spread), z2), 0.0)
    # with a level below z the common parts multiply with the lower of the two: still below the truth
    fixed = np.where(spread > 0, 0.0, np.square(away))
    d_own = np.maximum(p.deviation[host] - left.sum(axis=0), 0.0)
    v_own = np.maximum(p.variance[host] - (left**2).sum(axis=0), 0.0)
    d_in, v_in = arrive.sum(axis=0), (arrive**2).sum(axis=0)
    square = fixed + level * ((1 - p.rho) * v_own + p.rho * d_own**2)
    square = square + z2 * ((1 - p.rho) * v_in + p.rho * d_in**2) + 2 * p.rho * cross * d_own * d_in
    length = np.sqrt(np.maximum(square, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(length > 0, 1.0 / length, 0.0)
    here_own = np.isin(own, stay)[:, None]
    here_new = np.isin(new, come)[:, None]
    per_own = inverse * (level * (1 - p.rho) * sd**2 * here_own + p.rho * sd * (level * d_own + cross * d_in))
    per_new = inverse * (z2 * (1 - p.rho) * new_sd**2 * here_new + p.rho * new_sd * (z2 * d_in + cross * d_own))
    # the value at the point, led back to where nobody left and nobody came
    constant = length + per_own[len(stay) :].sum(axis=0) - (per_new * here_new).sum(axis=0)
    return (
        p.median[host] + constant,
        p.mean[own].astype(np.float64) + per_own,
        p.mean[new].astype(np.float64) + per_new,
        length,
    )
