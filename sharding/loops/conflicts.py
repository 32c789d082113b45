"""What iterations do to one region of memory: nothing in common, a reduction, or a dependence."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from sidestep.sharding.analysis.collect import Access
from sidestep.sharding.analysis.context import GLOBAL, Context
from sidestep.sharding.analysis.places import Dim, Iteration, key_symbol
from sidestep.sharding.analysis.polynomials import Poly
from sidestep.sharding.analysis.trees import line_of, text_of
from sidestep.sharding.execute.contract import Refusal
from sidestep.sharding.loops.disjoint import disjoint
from sidestep.sharding.loops.keyed import keyed_forms
from sidestep.sharding.loops.reductions import logged_calls
from sidestep.sharding.loops.verdict import Guard, Reduction, Verdict
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import ANY, stored

_STORES = frozenset({"", "aug"})


@dataclass(slots=True)
class LoopView:
    """What the questions here need to know of a loop."""

    context: Context
    body: Sequence[ast.stmt]
    iteration: Iteration
    fixed: set[str]
    fresh: frozenset[str]
    target: ast.expr
    iterated: ast.expr
    #: names that the loop binds
    bound: set[str] = field(default_factory=set)
    #: names of the target by which elements are told apart, with the part of an item that each is
    keys: dict[str, int] = field(default_factory=dict)
    #: roots of which elements are told apart by keys
    keyed: set[str] = field(default_factory=set)
    #: no store of the region takes an object over that was there before
    unlinked: bool = False

    @property
    def step(self) -> Poly:
        """By how much the loop variable grows; always forwards."""
        step = self.iteration.step or Poly.const(1)
        return -step if step.value is not None and step.value < 0 else step


def settle(loop: LoopView, accesses: list[Access], verdict: Verdict) -> None:
    """Decide about one region: add its guards, its reductions, or why its accesses depend on each other."""
    every = [a for a in accesses if a.root not in loop.fresh]
    outside = next((a for a in every if a.root.startswith(GLOBAL)), None)
    if outside is not None and any(a.mode == "write" for a in every):
        verdict.refusals.append(Refusal("global-mutation", line_of(outside.node), text_of(outside.node)))
        return
    for root in sorted({a.root for a in every if a.mode == "write"}):
        own = [a for a in every if a.root == root]
        if root in verdict.reductions or _logged(loop, own, verdict):
            over = next((a for a in own if a.mode == "iterate"), None)
            if over is not None:
                _refuse(verdict, loop, own[0], over, "mutation")
                return
            verdict.guards += [Guard("apart", root), *_unlooped(root, every)]
            every = [a for a in every if a.root != root]
    loop.unlinked = all(a.via in _STORES and not a.held for a in every if a.mode == "write")
    while True:
        writes = [a for a in every if a.mode == "write"]
        guards = list[Guard]()
        clash = _clash(loop, every, writes, guards) or _rebound(writes)
        if clash is None:
            break
        root = clash[0].root
        if not _keyed(loop, [a for a in every if a.root == root], verdict):
            if root not in loop.keyed and loop.keys:
                loop.keyed.add(root)  # look again
                continue
            unknown = any(isinstance(d, Dim) and d.kind == "unknown" for a in clash for d in a.dims)
            _refuse(verdict, loop, *clash, "mutation" if not clash[0].dims else "indirect" if unknown else "carried")
            return
        verdict.guards += [Guard("apart", root), *_unlooped(root, every)]
        every = [a for a in every if a.root != root]
    verdict.guards += guards
    for root in {a.root for a in writes}:
        own = [a for a in every if a.root == root]
        stores = [a for a in own if a.mode == "write"]
        depth = max(len(a.dims) for a in own)
        if depth > 1 or any(a.via not in _STORES for a in stores):
            verdict.guards.append(Guard("rows", root, max(depth, 1)))
        verdict.sections[root] = [tuple(d for d in a.dims if isinstance(d, Dim)) for a in stores]


def _unlooped(root: str, every: list[Access]) -> list[Guard]:
    """What is gone over, by another name of the region, must not be what combining changes."""
    over = {(a.root, int(bool(a.dims) or a.via == "inside")) for a in every if a.mode == "iterate" and a.root != root}
    return [Guard("unlooped", f"{root} {other}", deep) for other, deep in sorted(over)]


def _refuse(verdict: Verdict, loop: LoopView, one: Access, other: Access, why: str) -> None:
    text = f"{text_of(one.node)} ({one.mode}) and {text_of(other.node)} ({other.mode})"
    verdict.refusals.append(Refusal(f"dep:{why}", line_of(one.node) or line_of(loop.target), text))


def _clash(
    loop: LoopView, every: list[Access], writes: list[Access], guards: list[Guard]
) -> tuple[Access, Access] | None:
    """The first pair that may touch the same element in different iterations."""
    for w in writes:
        for other in every:
            if not _apart(loop, w, other, guards):
                return w, other
    return None


def _apart(loop: LoopView, w: Access, other: Access, guards: list[Guard]) -> bool:  # noqa: PLR0911
    plain = bool(w.dims) and w.via in _STORES
    if w.root != other.root and other.via != "inside":
        return _separate(loop, w, other, guards)
    if w.root in loop.keyed and _by_keys(loop, w, other, guards):
        return True
    variable = loop.iteration.variable
    if other.mode == "length":
        if plain and not other.dims:
            guards.append(Guard("not-dict", w.root))
        return plain and not other.dims and w.root == other.root
    if other.mode == "iterate":
        if w.root != other.root or not plain or other.via == "inside":
            return False
        if len(w.dims) >= sum(isinstance(d, Dim) and d.kind != "slice" for d in other.dims) + 2:
            return True  # what its elements hold is another object
        if loop.iteration.kind != "sequence":
            return False
        at = Poly.symbol(variable)
        element = Access(
            other.root, (*other.dims, Dim("index", at, at + Poly.const(1))), "read", other.node,
            w.variables[: len(loop.fixed) + 1],
        )  # fmt: skip
        return disjoint(w, element, variable, loop.step, loop.fixed, guards)
    found = list[Guard]()
    if not disjoint(w, other, variable, loop.step, loop.fixed, found):
        return False
    guards += found
    guards += integers(w, loop)
    guards += integers(other, loop)
    return True


def _separate(loop: LoopView, w: Access, other: Access, guards: list[Guard]) -> bool:
    """Whether two names of a region may be told apart when the loop starts, and nothing in it links them."""
    fixed = not {w.root, other.root} & loop.bound and not any(a.root.startswith(GLOBAL) for a in (w, other))
    if not (fixed and loop.unlinked and w.via in _STORES):
        return False
    guards.append(Guard("separate", " ".join(sorted((w.root, other.root)))))
    return True


def _by_keys(loop: LoopView, w: Access, other: Access, guards: list[Guard]) -> bool:
    """Whether both name an element by this iteration's own key, or the loop goes over the very dict it stores into."""
    own = {Poly.symbol(key_symbol(name)): at for name, at in loop.keys.items()}
    if other.mode == "iterate":
        first = w.dims[0] if w.dims and w.via in _STORES else None
        part = own.get(first.low) if isinstance(first, Dim) and first.kind == "index" and first.low else None
        if part is None or other.dims or w.root != other.root or keys_of(loop.iterated) != (w.root, part):
            return False
        guards += [Guard("dict", w.root), Guard("keys", "", part)]
        return True
    if w.root != other.root or other.mode == "length":
        return False
    for a, b in zip(w.dims, other.dims, strict=False):
        assert isinstance(a, Dim)
        assert isinstance(b, Dim)
        if a.kind == b.kind == "index" and a.low is not None and a.low == b.low and a.low in own:
            guards.append(Guard("keys", "", own[a.low]))
            return True
    return False


def keys_of(iterated: ast.expr) -> tuple[str, int] | None:
    """The name whose keys are gone over, and which part of an item is the key: ``d``, ``d.keys()``, ``d.items()``."""
    match iterated:
        case ast.Name(id=name):
            return name, -1
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="keys" | "items" as which), args=[]):
            return name, -1 if which == "keys" else 0
        case ast.Call(func=ast.Name(id="list" | "tuple" | "sorted"), args=[inner], keywords=[]):
            return keys_of(inner)
    return None


def integers(access: Access, loop: LoopView) -> list[Guard]:
    """Symbols of subscripts must be ints: arithmetic on floats rounds, and arrays are other subscripts."""
    own = {v.name for v in access.variables} | {loop.iteration.variable}
    symbols = set[str]()
    for d in access.dims:
        for p in (d.low, d.high) if isinstance(d, Dim) else ():
            symbols |= p.symbols() if p is not None else set()
    return [
        Guard("integer", s) for s in sorted(symbols - own)
        if not s.startswith("@") and loop.context.types.get(s, ANY).name != "int" and not s.startswith("len(")
    ]  # fmt: skip


def _rebound(writes: list[Access]) -> tuple[Access, Access] | None:
    """A store that puts an object from elsewhere where another write then reaches through it."""
    for a in writes:
        if a.held:
            put = len(a.dims) + (a.via not in _STORES)
            for w in writes:
                if len(w.dims) - (w.via in _STORES) >= put:
                    return a, w
    return None


def _logged(loop: LoopView, own: list[Access], verdict: Verdict) -> bool:
    """Calls on one receiver that nobody looks at: written down, done later in order."""
    root = own[0].root
    calls = logged_calls(loop.body, effects.LOGGED)
    alike = all(a.mode == "write" and a.via in effects.LOGGED and not a.dims and id(a.node) in calls for a in own)
    named = all(isinstance(a.node, ast.Name) and a.node.id == root for a in own)
    if not (alike and named and root in loop.context.local - loop.bound):
        return False
    t = loop.context.types.get(root, ANY)
    verdict.reductions[root] = Reduction("append", "/".join(sorted({a.via for a in own})), t)
    return True


def _keyed(loop: LoopView, own: list[Access], verdict: Verdict) -> bool:
    """Only statements that combine into its elements: written down, done later in order."""
    root = own[0].root
    forms = keyed_forms(loop.body, root)
    covered = {node for form in forms for node in form.covered}
    if not forms or root not in loop.context.local - loop.bound or not all(id(a.node) in covered for a in own):
        return False
    t = loop.context.types.get(root, ANY)
    signs = {form.op for form in forms if form.op}
    verdict.reductions[root] = Reduction("keyed", "/".join(sorted(signs)) or "append", t, stored(t).name == "int")
    return True
