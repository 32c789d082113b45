"""One measured run: what the function takes, what each iteration of its loops takes, what would be shipped."""

from __future__ import annotations

import ast
import copy
import time
import types
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidestep.sharding import codec
from sidestep.sharding.execute.planned import Prepared, compiled, rebuilt
from sidestep.sharding.execute.rewriting import LoopPlan

_SIZED = 3


@dataclass(slots=True)
class LoopProfile:
    """A loop over one run. ``costs``: CPU seconds of each iteration, for each time the loop was entered.

    ``shipped`` and ``returned`` are bytes per entry; ``packing`` CPU seconds to encode and decode what is shipped;
    ``terms`` what all entries together append, add or sum up.
    """

    costs: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    shipped: float = 0.0
    returned: float = 0.0
    packing: float = 0.0
    terms: int = 0
    #: why it cannot be shipped at all
    outside: str = ""


@dataclass(slots=True)
class Profile:
    """The whole run: CPU seconds, and a profile per candidate loop."""

    seconds: float
    loops: list[LoopProfile]


def measure(prepared: Prepared, loops: Sequence[LoopPlan], args: Sequence[Any], kwargs: dict[str, Any]) -> Profile:
    """Run the function twice on copies of the arguments: as it is, and with its loops watched.

    Raises codec.Refused for arguments outside the universe, and whatever the function raises.
    """
    function = prepared.function
    one, other = codec.clone([list(args), kwargs]), codec.clone([list(args), kwargs])
    begun = time.process_time()
    function(*one[0], **one[1])  # type: ignore[index]
    seconds = time.process_time() - begun
    profile = Profile(seconds, [LoopProfile() for _ in loops])
    watched = _watched(prepared, loops, profile)
    begun = time.process_time()
    watched(*other[0], **other[1])  # type: ignore[index]
    _without(time.process_time() - begun - seconds, profile)
    return profile


def _without(watching: float, profile: Profile) -> None:
    """Take off every iteration what it cost to watch it, which is the same for each."""
    count = sum(len(costs) for loop in profile.loops for costs in loop.costs)
    each = max(0.0, watching) / max(count, 1)
    for loop in profile.loops:
        whole = sum(map(sum, loop.costs))
        left = max(0.0, whole - each * sum(map(len, loop.costs)))
        costs = [[max(0.0, c - each) for c in costs] for costs in loop.costs]
        # A clock that ticks coarsely has iterations of nothing beside ones of much: their sum is what is right.
        share = left / max(sum(map(sum, costs)), 1e-12)
        loop.costs = [[c * share for c in some] for some in costs]


def _watched(prepared: Prepared, loops: Sequence[LoopPlan], profile: Profile) -> types.FunctionType:
    def enter(n: int, iterable: Any, local: dict[str, Any]) -> Iterator[Any]:
        loop, plan = profile.loops[n], loops[n]
        if len(loop.costs) < _SIZED:
            _size(loop, plan, iterable, local)
        costs = list[float]()
        loop.costs.append(costs)
        grows = [local.get(name) for name in plan.logs]
        before = [_length(one) for one in grows]
        clock = time.process_time
        last = clock()
        try:
            for item in iterable:
                yield item
                now = clock()
                costs.append(now - last)
                last = now
        finally:
            for one, was in zip(grows, before, strict=True):
                has = _length(one)
                loop.terms += len(costs) if was is None or has is None else max(0, has - was)

    sites = dict[int, list[ast.stmt]]()
    for plan in loops:
        loop = plan.verdict.node
        assert isinstance(loop, ast.For)
        call = ast.parse(f"_sd_enter({plan.index}, None, locals())", mode="eval").body
        assert isinstance(call, ast.Call)
        call.args[1] = copy.deepcopy(loop.iter)
        body, orelse = copy.deepcopy(loop.body), copy.deepcopy(loop.orelse)
        sites[id(loop)] = [ast.For(copy.deepcopy(loop.target), call, body, orelse, None)]
    return rebuilt(prepared, compiled(prepared, sites, "_sd_enter"), enter)


def _length(one: Any) -> int | None:
    """Of a container that a loop adds to, how much it has; None for a number, which every iteration adds to."""
    return len(one) if type(one) in {list, set, dict, deque, Counter} else None


def _size(loop: LoopProfile, plan: LoopPlan, iterable: Any, local: dict[str, Any]) -> None:
    """Encode and decode what would be shipped, to know its bytes and seconds."""
    live = {name: local[name] for name in plan.live if name in local}
    begun = time.process_time()
    try:
        data = codec.dumps(live, sets=codec.Sets.CONTENTS)
        codec.loads(data)
    except codec.Refused as error:
        loop.outside = str(error)
        return
    took = time.process_time() - begun
    entries = len(loop.costs)
    written = {name: live[name] for name in plan.written if name in live}
    back = float(len(codec.dumps(written, sets=codec.Sets.CONTENTS))) if written else 0.0
    items = 0 if isinstance(iterable, range) or not hasattr(iterable, "__len__") else 9 * len(iterable)
    loop.shipped = (loop.shipped * entries + len(data) + items) / (entries + 1)
    loop.returned = (loop.returned * entries + back) / (entries + 1)
    loop.packing = (loop.packing * entries + took) / (entries + 1)
