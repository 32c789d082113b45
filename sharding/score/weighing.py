"""What is left of a loop, weighed without a profile: by what its last turns took and by the sizes of what it reads."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sidestep.sharding.analysis.trees import names_in
from sidestep.sharding.execute.contract import HostShare, Network, ShardPolicy
from sidestep.sharding.execute.rewriting import LoopPlan
from sidestep.sharding.score.predict import score, worth_it
from sidestep.sharding.score.profile import LoopProfile, Profile

#: seconds to encode and decode a value in a container, and a byte of an array; bytes of such a value
_VALUE, _BYTE, _BYTES = 0.17e-6, 0.7e-9, 9
#: turns are weighed in so many lots at most
_LOTS: Final = 256
#: of a container so many elements are looked at, and so deep
_SAMPLE, _DEEP = 32, 3


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
            terms=len(plan.logs) * left,
        )  # fmt: skip
        return worth_it(score(Profile(seconds, [loop]), [plan], self._hosts, self._network), self._policy)


def _iterated(plan: LoopPlan) -> set[str]:
    """Names of what the loop iterates over, which is shipped as well; numbers of a range are not."""
    node = plan.verdict.node
    given = node.iter if isinstance(node, ast.For) else None
    ranged = isinstance(given, ast.Call) and isinstance(given.func, ast.Name) and given.func.id == "range"
    return set() if given is None or ranged else names_in(given)


def weight(value: Any, deep: int = _DEEP) -> tuple[float, float]:
    """Seconds to encode and decode a value, and its bytes; of large containers by a sample."""
    if isinstance(value, np.ndarray):
        return value.nbytes * _BYTE, float(value.nbytes)
    if isinstance(value, str | bytes | bytearray):
        return _VALUE + len(value) * _BYTE, float(_BYTES + len(value))
    if not isinstance(value, list | tuple | set | frozenset | dict | deque) or not value or not deep:
        return _VALUE, float(_BYTES)
    items = list(value.values()) if isinstance(value, dict) else list(value)
    some = items[:: max(1, len(items) // _SAMPLE)]
    found = [weight(one, deep - 1) for one in some]
    scale = len(items) / len(some) * (2 if isinstance(value, dict) else 1)
    return scale * sum(cost for cost, _ in found), scale * sum(size for _, size in found)
