# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: PLR0912, PLR0915 - plain loops compile best
"""The compiled walk: proposals drawn at random, taken by the rule of simulated annealing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.rebalance.compound import together
from sidestep.planning.rebalance.jit import compiled, inlined
from sidestep.planning.rebalance.kernels import (
    CHAIN,
    KIN_SWAP,
    PUSH,
    REPLACE,
    SCAN,
    SHIFT,
    SWAP,
    UNDO,
    below,
    draw,
    shift,
    swap,
)
from sidestep.planning.rebalance.model import I64
from sidestep.planning.rebalance.scan import push, replace, scan
from sidestep.planning.rebalance.state import State

#: how a proposal moves: not at all, one shard, two that change hosts, several in a row
NONE, ONE, TWO, SEVERAL = range(4)


@inlined
def pick(s, rng, hot, bits, hot_share):
    """A shard: with the share of ``hot_share`` / 1024 one of a host that ``hot`` names, otherwise any."""
    if len(hot) and bits < hot_share:
        at = hot[below(rng, len(hot))]
        if s.filled[at] > 0:
            return np.int64(s.rows[at, below(rng, s.filled[at])])
    return below(rng, len(s.host))


@inlined
def fellow(s, rng, p):
    """A random shard of the same app, perhaps the same one."""
    a = s.app[p]
    begin = s.shards_at[a]
    return np.int64(s.shards[begin + below(rng, s.shards_at[a + 1] - begin)])


@inlined
def close_by(s, rng, at):
    """A random host of the same failure domain, perhaps the same one: no app's spread minds it."""
    begin = s.hosts_at[s.domain[at]]
    return np.int64(s.hosts[begin + below(rng, s.hosts_at[s.domain[at] + 1] - begin)])


@compiled
def walk(
    s: State,
    rng: NDArray[np.uint64],
    proposals: int,
    temperature: float,
    penalty: int,
    crush: int,
    mix: I64,
    hot: I64,
    hot_share: int,
    chance: NDArray[np.float64],
    noise: NDArray[np.float64],
    tally: I64,
    scratch: I64,
    field: I64,
) -> None:
    """Make ``proposals`` proposals at one temperature.

    ``mix`` (kinds,) are rising ends out of 1024; ``chance`` (4096,) are exponential variates, the
    rise that is accepted at temperature 1; ``tally`` (kinds, 2) counts what was proposed and taken.
    """
    hosts = len(s.cost)
    who, to, old = scratch[0], scratch[1], scratch[2]
    # each way to move is written once, with what differs in variables: machine code of a proposal is long, and
    # compiling it several times over is what people would wait for
    for _ in range(proposals):
        bits = draw(rng)
        kind = 0
        lot = np.int64(bits >> np.uint64(54))
        while lot >= mix[kind]:
            kind += 1
        limit = np.int64(temperature * chance[np.int64((bits >> np.uint64(42)) & np.uint64(4095))])
        p = pick(s, rng, hot, np.int64((bits >> np.uint64(32)) & np.uint64(1023)), hot_share)
        how, weight, links = NONE, crush, np.int64(2)
        q, h = np.int64(0), np.int64(0)
        if kind == SHIFT:
            how, h = ONE, below(rng, hosts)
        elif kind == UNDO:
            how, h = ONE, np.int64(s.home[p])
        elif kind == SWAP:
            how, q = TWO, below(rng, len(s.host))
        elif kind == SCAN:
            h = scan(s, rng, p, temperature, noise, field[0], field[1])
            if h >= 0:
                how, limit, weight = ONE, np.int64(penalty // 2), 0
        elif kind == PUSH:
            q = below(rng, len(s.host))
            if push(s, rng, p, q, limit, temperature, noise, field[0], field[1], who, to):
                how, weight = SEVERAL, 0
        elif kind == REPLACE:
            q = below(rng, len(s.host))
            for _ in range(16):
                if s.host[q] != s.home[q]:
                    break
                q = below(rng, len(s.host))
            if s.host[q] == s.home[q]:
                continue
            if replace(s, p, q, limit, who, to):
                how, weight = SEVERAL, 0
        elif kind == KIN_SWAP:
            how, q = TWO, fellow(s, rng, p)
        elif kind == CHAIN:
            # each but the last pushes another shard out of the way
            who[0], to[0] = p, below(rng, hosts)
            links = 2 + np.int64((bits >> np.uint64(2)) & np.uint64(1))
            good = True
            for i in range(1, links):
                if s.filled[to[i - 1]] == 0:
                    good = False
                    break
                q = np.int64(s.rows[to[i - 1], below(rng, s.filled[to[i - 1]])])
                way_out = below(rng, 4)
                home = s.home[q]
                who[i] = q
                to[i] = home if way_out == 0 else s.host[p] if way_out == 1 else below(rng, hosts)
                if q == p or to[i] == to[i - 1] or (i == 2 and q == who[1]):
                    good = False
                    break
            if not good:
                continue
            how = SEVERAL
        else:
            who[0], who[1] = p, fellow(s, rng, p)
            if p == who[1]:
                continue
            to[0], to[1] = close_by(s, rng, s.host[who[1]]), close_by(s, rng, s.host[p])
            how = SEVERAL
        taken = False
        if how == ONE:
            taken = shift(s, p, h, limit, penalty, weight)
        elif how == TWO:
            taken = swap(s, p, q, limit, penalty, weight)
        elif how == SEVERAL:
            taken = together(s, who, to, links, limit, penalty, weight, old)
        tally[kind, 0] += 1
        tally[kind, 1] += taken
