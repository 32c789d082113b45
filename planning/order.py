"""Order: every prefix of a plan is safe, and what must wait for what.

A plan is replayed move by move before it leaves the planner; nothing is proposed that the
replay refuses.
"""

from __future__ import annotations

import numpy as np

from sidestep.planning.load import Load
from sidestep.planning.rules import Rules
from sidestep.planning.trial import TOLERANCE, Move, Trial
from sidestep.planning.uncertainty import F64


def waits(load: Load, rules: Rules, moves: tuple[Move, ...]) -> tuple[tuple[int, ...], ...]:
    """For each move the positions of the earlier ones that must be done before it starts.

    Only those that free room on its destination, and only if it has none without them.
    """
    trial = Trial(load, rules)
    found: list[tuple[int, ...]] = []
    for move in moves:
        leaving = [at for at, earlier in enumerate(trial.moves) if earlier.source == move.destination]
        needed = bool(leaving) and not trial.fits(move.destination, move.shard, leaving=False)
        found.append(tuple(leaving) if needed else ())
        trial.push(move)
    return tuple(found)


def first_flaw(load: Load, rules: Rules, moves: tuple[Move, ...]) -> str:
    """Replay the plan; "" if every prefix is feasible and no worse than the start, else what is not."""
    trial, start = Trial(load, rules), Trial(load, rules)
    for move in moves:
        shard, host = rules.shard_names[move.shard], rules.host_names[move.destination]
        code = rules.kept[move.shard] or rules.gives(move.source) or rules.received[move.destination]
        if code:
            return f"{shard} to {host}: {code}"
        if rules.host[move.shard] != move.source or move.shard in trial.at or move.source == move.destination:
            return f"{shard} to {host}: it is not on {rules.host_names[move.source]}"
        if trial.avoided(move.shard, move.destination):
            return f"{shard} to {host}: AVOID"
        if not trial.fits(move.destination, move.shard):
            return f"{shard} to {host}: NO_ROOM"
        trial.push(move)
        for row in (move.source, move.destination):
            if (excess(load, trial, row) > excess(load, start, row) + TOLERANCE).any():
                return f"{shard} to {host}: {rules.host_names[row]} would be worse than before"
    return ""


def excess(load: Load, trial: Trial, host: int) -> F64:
    """(R, T) how far demand at the strict quantile is above the limit, as a fraction of it."""
    limit = np.maximum(load.limit[host], 1e-9)[:, None]
    return np.asarray(np.maximum(trial.upper(host, load.strict) / limit - 1.0, 0.0), dtype=np.float64)
