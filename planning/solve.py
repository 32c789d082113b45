"""One planning run over arrays: which moves, and which hosts are left and why.

Shared by the plan from the forecast and by the one from present load alone, so that the
difference between the two is the forecast's doing and nothing else's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidestep.fleet.contention import first_sustained
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import scrub
from sidestep.fleet.plans import Plan, Reason
from sidestep.fleet.resources import DIMENSIONS, MEMORY, show_seconds, show_size
from sidestep.planning.covers import Relief, relief
from sidestep.planning.eject import make_room
from sidestep.planning.load import Load, Quantile
from sidestep.planning.order import first_flaw
from sidestep.planning.rules import Rules
from sidestep.planning.search import Destinations, Search
from sidestep.planning.trial import Move, Trial

#: a plan already shown is kept while it costs at most this much more than a new one
STICKY = 1.10


@dataclass(frozen=True)
class Solution:
    """The moves in order; for every host that stays hot, by row, the coded reason."""

    moves: tuple[Move, ...]
    left: dict[int, Reason]


def hot_hosts(load: Load, rules: Rules) -> dict[int, list[Contention]]:
    """Hosts in predicted contention, soonest first, each with its contentions."""
    found: dict[int, list[Contention]] = {}
    for contention in load.contentions:
        found.setdefault(rules.host_row[contention.host], []).append(contention)
    return found


def solve(load: Load, rules: Rules, policy: Policy) -> Solution:
    """Relieve as many hot hosts as can be, with the fewest bytes moved.

    First so that they stay under their limits at the strict quantile; those for which that
    cannot be done, so that they are no longer predicted contention; those for which no host
    has room, by making some.
    """
    hot = hot_hosts(load, rules)
    closed = np.zeros(len(rules.host_names), dtype=np.bool_)
    closed[list(hot)] = True
    where = Destinations(load, rules, closed)
    moves: tuple[Move, ...] = ()
    todo, left, reliefs = dict(hot), dict[int, Reason](), tuple[Relief, ...]()
    for quantile in dict.fromkeys((load.strict, load.relaxed)):
        reliefs, left = _reliefs(load, rules, policy, todo, quantile)
        found = Search(Trial(load, rules, moves), where, reliefs, policy.max_moves).run()
        reliefs = tuple(r for r, hot_still in zip(reliefs, found.left, strict=True) if hot_still)
        moves = found.moves
        todo = {host: todo[host] for host in hot if host in left or host in {r.host for r in reliefs}}
        if not todo:
            break
    trial = Trial(load, rules, moves)
    for one in reliefs:
        if not make_room(trial, where, one, policy.max_moves):
            left[one.host] = _no_room(trial, where, one, hot[one.host][0], policy)
    moves = tuple(trial.moves)
    flaw = first_flaw(load, rules, moves)
    if flaw:
        return Solution((), {host: _reason(rules, cs[0], "NOT_VERIFIED", flaw) for host, cs in hot.items()})
    return Solution(moves, {host: left[host] for host in hot if host in left})


def keep_previous(load: Load, rules: Rules, previous: Plan, fresh: Solution) -> Solution | None:
    """The previous plan's moves if they still do what the fresh ones do, at nearly the same cost.

    An operator who has read a plan should not find another one at the next tick that is no
    better (measured: fresh plans keep a third of their actions under 2 % noise).
    """
    moves = _same_moves(rules, previous, load)
    if moves is None or first_flaw(load, rules, moves):
        return None
    hot = hot_hosts(load, rules)
    trial = Trial(load, rules, moves)
    solved = {host for host in hot if is_relieved(load, trial, host)}
    if not solved >= {host for host in hot if host not in fresh.left}:
        return None
    if any(move.relieves not in solved for move in moves) or len(moves) > STICKY * len(fresh.moves):
        return None
    cost, least = (sum(float(load.bytes[m.shard]) for m in plan) for plan in (moves, fresh.moves))
    if cost > STICKY * least:
        return None
    return Solution(moves, {host: why for host, why in fresh.left.items() if host not in solved})


def is_relieved(load: Load, trial: Trial, host: int) -> bool:
    """Whether the host is out of predicted contention after the moves, in every planned dimension."""
    upper = trial.upper(host, load.relaxed)
    return bool((first_sustained(upper, load.limit[host], load.duration) < 0).all())


def _same_moves(rules: Rules, previous: Plan, load: Load) -> tuple[Move, ...] | None:
    moves: list[Move] = []
    hot = hot_hosts(load, rules)
    for action in previous.actions:
        shard, source = rules.shard_row.get(action.shard), rules.host_row.get(action.source)
        destination = rules.host_row.get(action.destination)
        relieves = rules.host_row.get(action.evidence.host) if action.evidence else None
        if shard is None or source is None or destination is None or relieves is None or relieves not in hot:
            return None
        owner = rules.placement.owners.get(action.shard)
        if owner is None or owner.token != action.token or not load.known[shard]:
            return None
        moves.append(Move(shard, source, destination, relieves))
    return tuple(moves)


def _reliefs(
    load: Load, rules: Rules, policy: Policy, hot: dict[int, list[Contention]], quantile: Quantile
) -> tuple[tuple[Relief, ...], dict[int, Reason]]:
    """What can be done for each hot host; no more hosts than the churn budget can serve."""
    reliefs: list[Relief] = []
    left: dict[int, Reason] = {}
    for host, contentions in hot.items():
        code = rules.gives(host)
        if code:
            left[host] = _reason(rules, contentions[0], code, _HELD[code])
        elif len(reliefs) >= 2 * policy.max_moves:
            left[host] = _reason(rules, contentions[0], "CHURN", f"max_moves = {policy.max_moves} serves sooner hosts")
        else:
            hot_dimensions = tuple(DIMENSIONS.index(c.dimension) for c in contentions)
            one = relief(load, rules, host, quantile, hot_dimensions, policy.min_gain)
            if one.covers:
                reliefs.append(one)
            else:
                left[host] = _reason(rules, contentions[0], one.code, one.text)
    return tuple(reliefs), left


_HELD = {
    "BUSY": "it takes part in a running move",
    "SETTLING": "it settles after a move; its forecast does not know the effect yet",
    "NOT_READY": "it cannot be reached or does not answer",
    "DISPUTED": "a shard of it is placed elsewhere than it was seen; the next snapshot will tell",
}


def _reason(rules: Rules, contention: Contention, code: str, text: str) -> Reason:
    lead = show_seconds(contention.lead)
    where = f"{contention.host} {contention.dimension} {contention.probability:.0%} in {lead}"
    return Reason(code, scrub(f"{where}: {text}"))


def _no_room(trial: Trial, where: Destinations, one: Relief, contention: Contention, policy: Policy) -> Reason:
    """What is missing: the churn budget, or room for the shard of the cheapest cover that is hardest to place."""
    rules, load = trial.rules, trial.load
    if all(len(trial.moves) + len(cover.shards) > policy.max_moves for cover in one.covers):
        text = f"needs {min(len(c.shards) for c in one.covers)} moves; max_moves = {policy.max_moves} leaves "
        return _reason(rules, contention, "CHURN", text + f"{policy.max_moves - len(trial.moves)}")
    shards = one.covers[0].shards
    shard = next((s for s in shards if not where.of(trial, s)), shards[-1])
    lacks: list[tuple[float, int, str]] = []
    for host in np.flatnonzero(where.open).tolist():
        if host != one.host and not trial.avoided(shard, host):
            lack = trial.upper(host, load.strict, [shard], leaving=False).max(axis=1) - load.limit[host]
            share = lack / np.maximum(load.capacity[host], 1e-9)
            worst = int(share.argmax())
            if share[worst] > 0:
                lacks.append((float(share[worst]), int(rules.rank[host]), _amount(worst, lack[worst], host, rules)))
    name = rules.shard_names[shard]
    if lacks:
        return _reason(rules, contention, "NO_ROOM", f"{name} needs " + " or ".join(t for _, _, t in sorted(lacks)[:3]))
    codes = [f"{n} {c}" for n, c in zip(rules.host_names, rules.received, strict=True) if c][:4]
    text = f"no host may take {name}" + (f" ({', '.join(codes)})" if codes else ": it avoids what is there")
    return _reason(rules, contention, "NO_ROOM", text)


def _amount(dimension: int, lack: float, host: int, rules: Rules) -> str:
    amount = show_size(lack) if dimension == MEMORY else f"{lack:.2f} cores"
    return f"{amount} more {DIMENSIONS[dimension]} on {rules.host_names[host]}"
