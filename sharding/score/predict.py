"""The shardability score: ``S(P) = (1 - T_P / T_1) / (1 - 1 / P)``, from a profile, hosts and a network.

T_P takes every loop that gains at the time of its longest part plus what shipping costs, and everything else as it is.
Hosts count with the cores they are forecast to have free, not with those they are built with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sidestep.sharding.execute.contract import HostShare, Network, ShardPolicy
from sidestep.sharding.execute.rewriting import LoopPlan
from sidestep.sharding.partition.cutting import Costs, cut, resources_of
from sidestep.sharding.score.profile import LoopProfile, Profile

#: seconds per entry that a transaction takes on top (guards, surveys, threads), measured on small loops
_FIXED = 1.5e-3
#: seconds to write down, ship and fold one logged term; the same of a keyed one, which is done statement by statement
_TERM = 0.35e-6
_KEYED = 9e-6
#: the same for a value that a term holds
_INSIDE = 0.2e-6
_TERM_BYTES = 9


@dataclass(frozen=True, slots=True)
class LoopForecast:
    """A loop unsharded and sharded, in seconds of one call of its function; and whether shards gain."""

    before: float
    after: float

    @property
    def gain(self) -> float:
        """Seconds saved; 0 when none."""
        return max(0.0, self.before - self.after)


@dataclass(frozen=True, slots=True)
class Score:
    """``value`` in 0 to 1; ``speedup`` = T_1 / T_P; ``chosen`` loops by their index.

    ``forced`` is T_1 / T_P if every loop ran as shards, those that lose by it too: below 1 where the whole does.
    """

    value: float
    speedup: float
    seconds: float
    chosen: tuple[int, ...]
    loops: tuple[LoopForecast, ...]
    forced: float = 1.0


def forecast_loop(loop: LoopProfile, plan: LoopPlan, hosts: Sequence[HostShare], network: Network) -> LoopForecast:
    """What a loop takes before and after, on these hosts; entries that were not kept one by one, as those that were."""
    if loop.outside:
        return LoopForecast(loop.whole, float("inf"))
    resources = resources_of(hosts, network)
    rates = [r.rate for r in resources if r.rate > 0]
    shipping = _shipping(loop, plan, len(rates), network)
    after = 0.0
    for costs in loop.costs:
        whole = sum(costs)
        if len(costs) < 2 or not rates:
            after += whole
            continue
        if whole <= _FIXED:
            # It loses wherever it is cut, and there may be very many of these: the least that its parts can take.
            span = max(max(costs) / max(rates), whole / sum(rates))
        else:
            nothing = np.zeros(len(costs))
            found = cut(Costs(np.array(costs), nothing, nothing), resources)
            span = whole if found is None else found.makespan
        after += span + shipping
    return LoopForecast(loop.whole, after * loop.entries / max(len(loop.costs), 1))


def _shipping(loop: LoopProfile, plan: LoopPlan, hosts: int, network: Network) -> float:
    """Seconds that one entry ships, packs, compares and folds: the coordinator's share is not parallel."""
    terms = loop.terms / max(loop.entries, 1)
    held = loop.inside / max(loop.entries, 1)
    moved = hosts * loop.shipped + loop.returned + (terms + held) * _TERM_BYTES
    compared = 2 * loop.packing * bool(plan.written)
    kinds = [plan.verdict.reductions[name].kind for name in plan.logs]
    term = sum(_KEYED if kind == "keyed" else _TERM for kind in kinds) / max(len(kinds), 1)
    folded = terms * term + held * _INSIDE
    return _FIXED + network.latency_s * 2 + moved / network.bytes_per_s + loop.packing + compared + folded


def score(profile: Profile, plans: Sequence[LoopPlan], hosts: Sequence[HostShare], network: Network) -> Score:
    """Score a function for hosts. Monotone: a loop less to choose from never raises it."""
    loops = tuple(forecast_loop(loop, plan, hosts, network) for loop, plan in zip(profile.loops, plans, strict=True))
    before = max(profile.seconds, sum(f.before for f in loops), 1e-9)
    chosen = tuple(n for n, f in enumerate(loops) if f.gain > 0)
    after = before - sum(loops[n].gain for n in chosen) + profile.looking * bool(chosen)
    count = sum(1 for r in resources_of(hosts, network) if r.rate > 0)
    after = max(after, before / max(count, 1))
    value = (1 - after / before) / (1 - 1 / count) if count > 1 else 0.0
    every = max(before + sum(f.after - f.before for f in loops) + profile.looking, before / max(count, 1))
    return Score(min(1.0, max(0.0, value)), before / after, before, chosen, loops, before / every)


def worth_it(found: Score, policy: ShardPolicy, *, sharded_before: bool = False) -> bool:
    """Whether to shard: fast enough to gain, long enough to matter; what is sharded stays so within the hysteresis."""
    ease = 1 - policy.hysteresis if sharded_before else 1.0
    return bool(found.chosen) and found.speedup >= policy.min_speedup * ease and (
        found.seconds >= policy.min_seconds * ease
    )  # fmt: skip
