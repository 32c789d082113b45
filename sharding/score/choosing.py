"""From a function and its arguments to a plan: analyse, measure, score, cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sidestep.sharding import codec
from sidestep.sharding.analysis.graph import ShardGraph, graph_of
from sidestep.sharding.execute.contract import (
    Executor,
    HostShare,
    Network,
    Outcome,
    Refusal,
    ShardPolicy,
)
from sidestep.sharding.execute.planned import CannotPlan, Prepared, Sharded, even_cuts, outermost, prepare, tryable
from sidestep.sharding.execute.rewriting import LoopPlan, planned
from sidestep.sharding.partition.cutting import Costs, cut, resources_of
from sidestep.sharding.score.predict import Score, score, worth_it
from sidestep.sharding.score.profile import LoopProfile, Profile, measure
from sidestep.sharding.score.weighing import Weighing
from sidestep.sharding.score.weights import weight

#: seconds to encode arguments, above which a function of which nothing is known is not looked at
_HEAVY: Final = 0.05


@dataclass(slots=True)
class ChosenPlan:
    """See ``contract.Plan``. Without a prepared function it only says why not, and calls the function as it is."""

    target: Callable[..., Any]
    prepared: Prepared | None
    candidates: list[LoopPlan]
    profile: Profile | None
    found: Score
    sharded: Sharded | None
    hosts: tuple[HostShare, ...]
    network: Network
    _refusals: tuple[Refusal, ...]

    @property
    def function(self) -> str:
        """Its name."""
        return str(getattr(self.target, "__qualname__", "?"))

    @property
    def blocks(self) -> tuple[str, ...]:
        """The loops that run as shards."""
        loops = self.sharded.loops if self.sharded else []
        return tuple(f"{self.function}:{plan.verdict.line}" for plan in loops)

    @property
    def score(self) -> float:
        """Shardability."""
        return self.found.value

    @property
    def speedup(self) -> float:
        """Predicted; 1.0 when nothing is sharded."""
        return self.found.speedup if self.blocks else 1.0

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Why the rest is not sharded."""
        return self._refusals

    def graph(self) -> ShardGraph | None:
        """Blocks, contracts and edges."""
        return graph_of(self.prepared.context, self.prepared.verdicts) if self.prepared else None

    def document(self) -> dict[str, Any]:
        """The plan as JSON values."""
        graph = self.graph()
        return {
            "function": self.function, "blocks": list(self.blocks), "score": self.score, "speedup": self.speedup,
            "seconds": self.found.seconds, "hosts": [[h.name, h.cores, h.speed] for h in self.hosts],
            "refusals": [[r.code, r.line, r.text] for r in self._refusals],
            "graph": graph.document() if graph else None,
        }  # fmt: skip

    def cuts(self, loop: int, first: int, last: int, workers: int) -> list[int]:
        """Where a loop is cut for the hosts at hand; evenly when nothing was measured."""
        profile = self._measured(loop)
        hosts = list(self.hosts[:workers]) or [HostShare("here")] * workers
        if profile is None or not profile.costs or last - first < 2:
            return even_cuts(workers, first, last)
        costs = np.array(max(profile.costs, key=len))
        whole = Costs(costs, np.zeros(len(costs)), np.zeros(len(costs))).resampled(last)
        found = cut(whole, resources_of(hosts, self.network), first)
        return found.bounds if found else even_cuts(workers, first, last)

    def _measured(self, loop: int) -> LoopProfile | None:
        if self.profile is None or self.sharded is None:
            return None
        node = self.sharded.loops[loop].verdict.node
        return next(
            (p for p, c in zip(self.profile.loops, self.candidates, strict=True) if c.verdict.node is node), None
        )

    def run(self, executor: Executor, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Outcome:
        """Call the function, its chosen loops as shards."""
        if self.sharded is None:
            return Outcome(self.target(*args, **(kwargs or {})))
        return self.sharded.call(
            executor, args, kwargs or {}, lambda loop, first, last: self.cuts(loop, first, last, executor.workers)
        )


def chosen_plan(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], *,
    hosts: int | Sequence[HostShare], network: Network, policy: ShardPolicy, profile: bool, force: bool,
) -> ChosenPlan:  # fmt: skip
    """See ``contract.plan``."""
    shares = tuple(HostShare(f"host{n}") for n in range(hosts)) if isinstance(hosts, int) else tuple(hosts)
    nothing = Score(0.0, 1.0, 0.0, (), ())

    def without(why: Refusal) -> ChosenPlan:
        return ChosenPlan(function, None, [], None, nothing, None, shares, network, (why,))

    if not profile and not force and weight([*args, *kwargs.values()])[0] > _HEAVY:
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", 0)
        return without(
            Refusal("no-gain", line, "its arguments are so large that looking at them may cost more than it")
        )
    try:
        prepared = prepare(function, args, kwargs)
    except CannotPlan as error:
        return without(error.refusal)
    refusals = tuple(dict.fromkeys(why for v in prepared.verdicts for why in v.refusals))
    candidates = [planned(prepared.context, v, n) for n, v in enumerate(outermost(prepared.verdicts))]
    measured, found = None, nothing
    if profile and candidates:
        try:
            measured = measure(prepared, candidates, args, kwargs)
            found = score(measured, candidates, shares, network)
        except codec.Refused as error:
            refusals = (*refusals, Refusal("universe", prepared.context.node.lineno, str(error)))
        except Exception as error:  # noqa: BLE001 - the function fails for these arguments, as it will when it is called
            refusals = (*refusals, Refusal("raises", prepared.context.node.lineno, type(error).__name__))
    chosen = candidates if force else [candidates[n] for n in found.chosen] if worth_it(found, policy) else []
    if candidates and not chosen and profile:
        text = f"predicted {found.speedup:.2f}× of {found.seconds:.2f} s"
        refusals = (*refusals, Refusal("no-gain", prepared.context.node.lineno, text))
    sharded = Sharded.of(prepared, [plan.verdict for plan in chosen]) if chosen else None
    enough = sum(one.rate for one in resources_of(shares, network)) >= policy.min_speedup
    if enough and not profile and not force and (verdicts := tryable(prepared, prepared.verdicts)):
        # Nothing is known yet: each loop begins here, and is weighed as it goes.
        sharded = Sharded.of(prepared, verdicts)
        sharded.pays = [Weighing(plan, shares, network, policy) for plan in sharded.loops]
    return ChosenPlan(function, prepared, candidates, measured, found, sharded, shares, network, refusals)
