"""One measured run: what the function takes, what each iteration of its loops takes, what would be shipped."""

from __future__ import annotations

import ast
import copy
import time
import types
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidestep.sharding import codec
from sidestep.sharding.execute.iterating import ITERATORS, listed
from sidestep.sharding.execute.planned import Prepared, compiled, fits, rebuilt
from sidestep.sharding.execute.rewriting import LoopPlan
from sidestep.sharding.execute.walk import ATOMS, Outside, surveyed
from sidestep.sharding.score.weights import BYTES, inside

_SIZED = 3
#: iterations of one loop that are kept one by one; of what comes after them the sum
_KEPT = 100_000


@dataclass(slots=True)
class LoopProfile:
    """A loop over one run. ``costs``: CPU seconds of each iteration, for each time the loop was entered.

    A loop that is entered millions of times would fill the memory: after ``_KEPT`` iterations an entry only counts in
    ``more_entries``, ``more_iterations`` and ``more_seconds``.

    ``shipped`` and ``returned`` are bytes per entry; ``packing`` CPU seconds to encode and decode what is shipped;
    ``terms`` what all entries together append, add or sum up, and ``inside`` the values that those terms hold.
    """

    costs: list[list[float]] = field(default_factory=list)
    more_entries: int = 0
    more_iterations: int = 0
    more_seconds: float = 0.0
    seconds: float = 0.0
    shipped: float = 0.0
    returned: float = 0.0
    packing: float = 0.0
    terms: int = 0
    inside: float = 0.0
    #: why it cannot be shipped at all
    outside: str = ""

    @property
    def entries(self) -> int:
        """How often it was entered."""
        return len(self.costs) + self.more_entries

    @property
    def iterations(self) -> int:
        """Of all entries together."""
        return sum(map(len, self.costs)) + self.more_iterations

    @property
    def whole(self) -> float:
        """CPU seconds of all its iterations."""
        return sum(map(sum, self.costs)) + self.more_seconds


@dataclass(slots=True)
class Profile:
    """The whole run: CPU seconds, and a profile per candidate loop.

    ``looking``: CPU seconds that each call takes to see whether its arguments are of the types and as separate as those
    that it was analysed for.
    """

    seconds: float
    loops: list[LoopProfile]
    looking: float = 0.0


def measure(prepared: Prepared, loops: Sequence[LoopPlan], args: Sequence[Any], kwargs: dict[str, Any]) -> Profile:
    """Run the function twice on copies of the arguments: as it is, and with its loops watched.

    Raises codec.Refused for arguments outside the universe, and whatever the function raises.
    """
    function = prepared.function
    one, other = codec.clone([list(args), kwargs]), codec.clone([list(args), kwargs])
    begun = time.process_time()
    function(*one[0], **one[1])  # type: ignore[index]
    seconds = time.process_time() - begun
    begun = time.process_time()
    fits(prepared, args, kwargs)
    profile = Profile(seconds, [LoopProfile() for _ in loops], time.process_time() - begun)
    sizing = [0.0]
    watched = _watched(prepared, loops, profile, sizing)
    begun = time.process_time()
    watched(*other[0], **other[1])  # type: ignore[index]
    _without(time.process_time() - begun - seconds - sizing[0], profile)
    return profile


def _without(watching: float, profile: Profile) -> None:
    """Take off every iteration what it cost to watch it, which is the same for each."""
    each = max(0.0, watching) / max(sum(loop.iterations for loop in profile.loops), 1)
    for loop in profile.loops:
        kept = loop.whole - loop.more_seconds
        left = max(0.0, kept - each * (loop.iterations - loop.more_iterations))
        costs = [[max(0.0, c - each) for c in costs] for costs in loop.costs]
        # A clock that ticks coarsely has iterations of nothing beside ones of much: their sum is what is right.
        share = left / max(sum(map(sum, costs)), 1e-12)
        loop.costs = [[c * share for c in some] for some in costs]
        loop.more_seconds = max(0.0, loop.more_seconds - each * loop.more_iterations)


def _watched(
    prepared: Prepared, loops: Sequence[LoopPlan], profile: Profile, sizing: list[float]
) -> types.FunctionType:  # fmt: skip
    """The function with its loops watched; ``sizing[0]`` grows by what it takes to see what would be shipped."""
    kept = [0] * len(loops)
    # What is added by keys does not show in a length: every iteration may have.
    seen = [
        [name if plan.verdict.reductions[name].kind != "keyed" else "" for name in plan.logs] for plan in loops
    ]  # fmt: skip

    def enter(n: int, iterable: Any, local: dict[str, Any]) -> Iterator[Any]:
        loop, plan = profile.loops[n], loops[n]
        if loop.entries < _SIZED:
            begun = time.process_time()
            iterable = _size(loop, plan, iterable, local)
            sizing[0] += time.process_time() - begun
        costs = list[float]()
        keep = kept[n] < _KEPT
        if keep:
            loop.costs.append(costs)
        else:
            loop.more_entries += 1
        grows = [local.get(name) for name in seen[n]]
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
            if keep:
                kept[n] += len(costs)
            else:
                loop.more_iterations += len(costs)
                loop.more_seconds += sum(costs)
            for one, was in zip(grows, before, strict=True):
                has = _length(one)
                added = len(costs) if was is None or has is None else max(0, has - was)
                loop.terms += added
                loop.inside += added * inside(one) if added else 0.0

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
    """Of a sequence that a loop adds to, how much it has; None for what every iteration may add to unseen."""
    return len(one) if type(one) in {list, deque} else None


def _size(loop: LoopProfile, plan: LoopPlan, iterable: Any, local: dict[str, Any]) -> Any:
    """Look at, encode and decode what would be shipped, to know its bytes and seconds; what is to be iterated over."""
    live = {name: local[name] for name in plan.live if name in local}
    if type(iterable) in ITERATORS:
        items, failing = listed(iterable)
        if failing is not None:
            return failing
        iterable = items
    # Items that are plain go in parts, those of a range not at all; rows and the like go whole to each shard.
    listable = type(iterable) is not range and hasattr(iterable, "__len__")
    plain = not listable or set(map(type, iterable)) <= ATOMS
    begun = time.process_time()
    try:
        data = codec.dumps((live, None if plain else iterable), sets=codec.Sets.CONTENTS)
        codec.loads(data)
        surveyed(live, None if plain else iterable)
    except (codec.Refused, Outside) as error:
        loop.outside = str(error)
        return iterable
    took = time.process_time() - begun
    entries = loop.entries
    written = {name: live[name] for name in plan.written if name in live}
    back = float(len(codec.dumps(written, sets=codec.Sets.CONTENTS))) if written else 0.0
    parts = BYTES * len(iterable) if plain and listable else 0
    loop.shipped = (loop.shipped * entries + len(data) + parts) / (entries + 1)
    loop.returned = (loop.returned * entries + back) / (entries + 1)
    loop.packing = (loop.packing * entries + took) / (entries + 1)
    return iterable
