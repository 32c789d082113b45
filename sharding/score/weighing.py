"""What is left of a loop, weighed without a profile: by what its last turns took and by the sizes of what it reads."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, Final

from sidestep.sharding.analysis.trees import names_in
from sidestep.sharding.execute.contract import HostShare, Network, ShardPolicy
from sidestep.sharding.execute.rewriting import LoopPlan
from sidestep.sharding.score.predict import score, worth_it
from sidestep.sharding.score.profile import LoopProfile, Profile
from sidestep.sharding.score.weights import inside, weight

#: turns are weighed in so many lots at most
_LOTS: Final = 256


class Weighing:
    """Whether the rest of a loop would gain by shards; for one loop, hosts and a policy."""

    def __init__(
        self, plan: LoopPlan, hosts: Sequence[HostShare], network: Network, policy: ShardPolicy
    ) -> None:  # fmt: skip
        self._plan, self._hosts, self._network, self._policy = plan, hosts, network, policy

    def __call__(self, each: float, left: int, local: dict[str, Any]) -> bool:
        """Whether ``left`` turns of ``each`` CPU seconds pay."""
        seconds = each * left
        if seconds < self._policy.min_seconds:
            return False
        plan, lots = self._plan, min(left, _LOTS)
        read = [weight(local[name]) for name in {*plan.live, *_iterated(plan)} if name in local]
        written = [weight(local[name]) for name in plan.written if name in local]
        loop = LoopProfile(
            costs=[[seconds / lots] * lots], shipped=sum(size for _, size in read),
            returned=sum(size for _, size in written), packing=sum(cost for cost, _ in read),
            terms=len(plan.logs) * left, inside=left * sum(inside(local.get(name)) for name in plan.logs),
        )  # fmt: skip
        return worth_it(score(Profile(seconds, [loop]), [plan], self._hosts, self._network), self._policy)


def _iterated(plan: LoopPlan) -> set[str]:
    """Names of what the loop iterates over, which is shipped as well; numbers of a range are not."""
    node = plan.verdict.node
    given = node.iter if isinstance(node, ast.For) else None
    ranged = isinstance(given, ast.Call) and isinstance(given.func, ast.Name) and given.func.id == "range"
    return set() if given is None or ranged else names_in(given)
