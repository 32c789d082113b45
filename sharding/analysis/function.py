"""A function analysed: its context with types and regions, and summaries of the functions it calls."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from sidestep.sharding.analysis.collect import Collector
from sidestep.sharding.analysis.context import GLOBAL, NOTHING, Bound, Context, Summary, begin
from sidestep.sharding.analysis.inference import infer
from sidestep.sharding.analysis.places import Places
from sidestep.sharding.analysis.sharing import shares
from sidestep.sharding.analysis.source import AnyFunction, Source
from sidestep.sharding.analysis.trees import always_leaves, line_of, walk
from sidestep.sharding.analysis.typing_values import type_of
from sidestep.sharding.execute.contract import Refusal
from sidestep.sharding.universe.types import ANY, BOT, NONE, Type, join, scalar

_DEEPEST = 12
_ROUNDS = 4
#: decorators that change nothing but how often a pure function runs
_CACHES = frozenset({"functools.lru_cache", "functools.cache"})


def analysed(
    source: Source,
    node: AnyFunction,
    types: Mapping[str, Type] | None = None,
    *,
    stack: tuple[str, ...] = (),
    module: Mapping[str, Type] | None = None,
    overlapping: Iterable[tuple[str, str]] = (),
) -> Context:
    """Types and regions of a function for argument types; parameters are separate unless they are ``overlapping``.

    Whether they are is checked when a shard runs.
    """
    context = begin(source, node, summary, linked, types, stack, module)
    for one, other in overlapping:
        context.unite(one, other)
    infer(context)
    return context


def summary(caller: Context, call: ast.Call, bound: Bound = NOTHING) -> Summary | None:  # noqa: PLR0911
    """What a call of one of the module's functions does; None when it is not surely one."""
    f = call.func
    if not isinstance(f, ast.Name) or f.id in bound or not caller.known_function(f.id):
        return None
    node = caller.source.functions[f.id]
    if not isinstance(node, ast.FunctionDef):
        return None
    if any(_decorator(caller, d) not in _CACHES for d in node.decorator_list):
        return Summary(ANY, False, frozenset(), (Refusal("decorated", line_of(node), f.id),))
    types = _argument_types(caller, call, node, bound)
    if BOT in types.values():
        return Summary(BOT, True)
    key = (f.id, tuple(sorted((name, str(t)) for name, t in types.items())))
    known = caller.source.summaries.get(key)
    if known is not None:
        return known
    if len(caller.stack) > _DEEPEST:
        every = frozenset(a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg))
        return Summary(ANY, False, every, (Refusal("call-depth", line_of(call), f.id),))
    return _settled(caller, node, key, types)


def _decorator(context: Context, node: ast.expr) -> str | None:
    return context.dotted(node.func if isinstance(node, ast.Call) else node)


def _argument_types(caller: Context, call: ast.Call, node: ast.FunctionDef, bound: Bound) -> dict[str, Type]:
    a = node.args
    names = [p.arg for p in (*a.posonlyargs, *a.args)]
    every = {p.arg: ANY for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)}
    unclear = a.vararg or a.kwarg or any(isinstance(x, ast.Starred) for x in call.args)
    if unclear or any(k.arg is None for k in call.keywords):
        return every
    types = {name: type_of(caller, x, bound) for name, x in zip(names, call.args, strict=False)}
    types |= {k.arg: type_of(caller, k.value, bound) for k in call.keywords if k.arg}
    defaults = dict(zip(names[len(names) - len(a.defaults) :], a.defaults, strict=True))
    defaults |= {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None}
    for name, default in defaults.items():
        types.setdefault(name, type_of(caller, default) if isinstance(default, ast.Constant) else ANY)
    return {**every, **types}


def _settled(caller: Context, node: ast.FunctionDef, key: object, types: dict[str, Type]) -> Summary:
    """The summary as a fixed point, so that recursion ends."""
    summaries = caller.source.summaries
    found = Summary(BOT, True)
    for _ in range(_ROUNDS):
        summaries[key] = found
        made = _summarised(caller, node, types)
        if (made.returns, made.fresh, made.mutates, len(made.refusals)) == (
            found.returns, found.fresh, found.mutates, len(found.refusals),
        ):  # fmt: skip
            summaries[key] = made
            return made
        found = made
    summaries[key] = Summary(ANY, False, found.mutates, found.refusals)
    return summaries[key]


def _summarised(caller: Context, node: ast.FunctionDef, types: dict[str, Type]) -> Summary:
    context = analysed(caller.source, node, types, stack=caller.stack, module=caller.globals)
    outside = context.regions(context.parameters)
    returns = BOT if always_leaves(node.body) else NONE
    fresh = True
    for n in walk(node.body):
        if isinstance(n, ast.Return):
            returns = join(returns, NONE if n.value is None else type_of(context, n.value))
            shared = shares(context, n.value)
            if context.regions(shared) & outside or any(name.startswith(GLOBAL) for name in shared):
                fresh = False
    private = frozenset(
        name for name in context.local
        if context.region(name) not in outside and not context.region(name).startswith(GLOBAL)
    )  # fmt: skip
    collector = Collector(context, Places(context, varying=set(context.local)), private=private)
    collector.statements(node.body)
    refusals = list(collector.refusals)
    written = {a.root for a in collector.accesses if a.mode == "write"}
    regions = context.regions(written)
    if any(region.startswith(GLOBAL) for region in regions) or any(
        context.region(name) in regions for name in _global_roots(context, collector)
    ):
        refusals.append(Refusal("global-mutation", line_of(node), node.name))
    mutates = frozenset(
        p for p in context.parameters if context.region(p) in regions and not scalar(context.types.get(p, ANY))
    )
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if default is not None and not _plain_default(default):
            refusals.append(Refusal("callee-default", line_of(default), node.name))
    if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in walk(node.body)):
        refusals.append(Refusal("generator", line_of(node), node.name))
    if collector.orders_sets:
        refusals.append(Refusal("orders-sets", line_of(node), node.name))
    if node.decorator_list and (mutates or not scalar(returns)):
        refusals.append(Refusal("decorated", line_of(node), node.name))
    links = frozenset(
        (p, q) for p in mutates for q in context.parameters if p != q and context.region(p) == context.region(q)
    )
    return Summary(returns, fresh, mutates, tuple(dict.fromkeys(refusals)), links)


def linked(caller: Context, call: ast.Call) -> list[tuple[ast.expr, ast.expr]]:
    """Pairs of arguments of which, after the call, the first may hold memory of the second."""
    made = summary(caller, call)
    if made is None or not made.links:
        return []
    assert isinstance(call.func, ast.Name)
    a = caller.source.functions[call.func.id].args
    names = [p.arg for p in (*a.posonlyargs, *a.args)]
    given = dict(zip(names, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
    return [(given[p], given[q]) for p, q in made.links if p in given and q in given]


def _global_roots(context: Context, collector: Collector) -> set[str]:
    return {a.root for a in collector.accesses if a.root.startswith(GLOBAL)}


def _plain_default(node: ast.expr) -> bool:
    """Whether evaluating a default again, elsewhere, yields the same."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
