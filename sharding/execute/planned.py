"""A function with its chosen loops as shards: made once for arguments of some types, called any number of times."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import itertools
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidestep.sharding.analysis.attributes import Hoisted, hoisted, restored
from sidestep.sharding.analysis.context import Context
from sidestep.sharding.analysis.function import analysed
from sidestep.sharding.analysis.source import Source, read
from sidestep.sharding.execute.contract import Executor, HostShare, Network, Outcome, Refusal, ShardPolicy
from sidestep.sharding.execute.emitting import Emitted, emit
from sidestep.sharding.execute.rewriting import LoopPlan, call_site, planned, replaced
from sidestep.sharding.execute.transaction import LoopResult, Totals, Transaction
from sidestep.sharding.execute.trying import Begun, Pays, Plain, Rest, begun
from sidestep.sharding.execute.walk import Outside, Survey, overlap, surveyed
from sidestep.sharding.loops.classify import classify_all
from sidestep.sharding.loops.verdict import Verdict
from sidestep.sharding.universe.observed import type_of
from sidestep.sharding.universe.types import ANY, Type, join

Cuts = Callable[[int, int, int], Sequence[int]]
_RUN: Final = "_sd_run"


@dataclass(slots=True)
class Prepared:
    """A function analysed for real arguments: what every plan begins with."""

    function: types.FunctionType
    source: Source
    hoisted: Hoisted
    context: Context
    verdicts: list[Verdict]
    types: dict[str, Type]
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__qualname__


class CannotPlan(Exception):
    """The function's source or binding does not allow any plan; holds the refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.text}")
        self.refusal = refusal


def prepare(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], *, text: str | None = None
) -> Prepared:
    """Analyse a function for these arguments. Raises CannotPlan, and TypeError for arguments that do not fit."""
    if not isinstance(function, types.FunctionType):
        raise CannotPlan(Refusal("no-source", 0, f"{type(function).__name__} is no Python function"))
    if function.__closure__:
        raise CannotPlan(Refusal("closure", function.__code__.co_firstlineno, function.__qualname__))
    source, node = _located(function, text)
    moved = hoisted(node)
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    values = dict(bound.arguments)
    known = {name: type_of(value) for name, value in values.items()}
    for name, path in moved.paths.items():
        known[name] = _attribute_type(values, path)
    module = {name: type_of(function.__globals__[name]) for name in source.constants if name in function.__globals__}
    context = analysed(source, moved.node, known, module=module, overlapping=_overlapping(values))
    return Prepared(function, source, moved, context, classify_all(context), known)


def _located(function: types.FunctionType, text: str | None) -> tuple[Source, ast.FunctionDef]:
    code = function.__code__
    if text is None:
        try:
            module = inspect.getmodule(function)
            text = inspect.getsource(module) if module is not None else ""
        except (OSError, TypeError):
            text = ""
    try:
        source = read(text or "")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise CannotPlan(Refusal("no-source", code.co_firstlineno, str(error))) from error
    node = source.functions.get(function.__qualname__)
    if not isinstance(node, ast.FunctionDef) or _first_line(node) != code.co_firstlineno:
        raise CannotPlan(
            Refusal("no-source", code.co_firstlineno, f"{function.__qualname__} is not in its module's text")
        )
    if source.star:
        raise CannotPlan(Refusal("star-import", 1, "from … import * may bind any name"))
    return source, node


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(d.lineno for d in node.decorator_list)])


def _attribute_type(values: Mapping[str, Any], path: tuple[str, ...]) -> Type:
    one = values.get(path[0])
    for name in path[1:]:
        held = getattr(one, "__dict__", None)
        if type(held) is not dict or name not in held:
            return ANY
        one = held[name]
    return type_of(one)


def fits(prepared: Prepared, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether these arguments are of the types that the analysis rests on, and as separate."""
    try:
        bound = inspect.signature(prepared.function).bind(*args, **kwargs)
    except TypeError:
        return False
    bound.apply_defaults()
    known, context = prepared.types, prepared.context
    for name, value in bound.arguments.items():
        expected = known.get(name, ANY)
        if expected != ANY and join(expected, type_of(value)) != expected:
            return False
    return all(context.region(a) == context.region(b) for a, b in _overlapping(bound.arguments))


def _overlapping(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of parameters that have memory in common from the start."""
    surveys = dict[str, Survey]()
    for name, value in values.items():
        try:
            surveys[name] = surveyed(value)
        except Outside:
            continue
    return [
        (a, b) for a, b in itertools.combinations(surveys, 2)
        if surveys[a].objects and surveys[b].objects and overlap(surveys[a], surveys[b])
    ]  # fmt: skip


@dataclass(slots=True)
class Sharded:
    """Loops of a prepared function, built to run as shards."""

    prepared: Prepared
    loops: list[LoopPlan]
    emitted: list[Emitted]
    #: of loops that nothing is known of: whether the rest of each pays; none of them may be left, or is inside another
    pays: list[Pays] | None = None
    _code: types.CodeType | None = None

    @classmethod
    def of(cls, prepared: Prepared, verdicts: Sequence[Verdict]) -> Sharded:
        """Build the shards of accepted loops, none of them inside another."""
        plans = [planned(prepared.context, verdict, n) for n, verdict in enumerate(verdicts)]
        return cls(prepared, plans, [emit(plan, prepared.context) for plan in plans])

    def bindings_hold(self) -> bool:
        """Whether the module's names still mean what the analysis read."""
        function = self.prepared.function
        return all(_bindings_hold(function, self.prepared.source, emitted) for emitted in self.emitted)

    def call(
        self, executor: Executor, args: Sequence[Any], kwargs: Mapping[str, Any], cuts: Cuts | None = None
    ) -> Outcome:
        """Call the function, its loops as shards. Raises what it raises."""
        if not self.loops or not fits(self.prepared, args, kwargs) or not self.bindings_hold():
            value = self.prepared.function(*args, **kwargs)
            return Outcome(value, 0, ("arguments or bindings are not those of the plan",) if self.loops else ())
        made, totals = self.bound(executor, cuts)
        value = made(*args, **kwargs)
        return Outcome(value, totals.sharded, tuple(totals.fallbacks), totals.sent, totals.received)

    def bound(self, executor: Executor, cuts: Cuts | None = None) -> tuple[types.FunctionType, Totals]:
        """The function with its shards on an executor, for arguments of the plan's types; and its totals."""
        totals = Totals()
        return self._function(executor, totals, cuts), totals

    def _function(self, executor: Executor, totals: Totals, cuts: Cuts | None) -> types.FunctionType:
        prepared = self.prepared
        if self._code is None:
            self._code = _compiled(prepared, self.loops, tried=self.pays is not None)
        transactions = [
            Transaction(
                plan=plan, emitted=emitted, types=prepared.context.types, module=prepared.function.__globals__,
                executor=executor, cuts=functools.partial(cuts, plan.index) if cuts else
                functools.partial(even_cuts, executor.workers),
                block=f"{prepared.name}:{plan.verdict.line}", totals=totals,
                fresh=isinstance(plan.verdict.node, ast.For) and isinstance(plan.verdict.node.iter, ast.Call),
                attributes={x: p for x, p in prepared.hoisted.paths.items() if x in plan.live},
            )
            for plan, emitted in zip(self.loops, self.emitted, strict=True)
        ]  # fmt: skip

        return rebuilt(prepared, self._code, _Runtime(transactions, self.pays))


class _Runtime:
    """What the function's call sites call."""

    def __init__(self, transactions: list[Transaction], pays: list[Pays] | None) -> None:
        self._transactions, self._pays = transactions, pays

    def first(self, n: int, iterable: Any, local: dict[str, Any]) -> Begun:
        """The first turns of a loop, to run where it is."""
        return begun(iterable, local, self._pays[n] if self._pays is not None else None)

    def __call__(self, n: int, iterable: Any, local: dict[str, Any]) -> LoopResult:
        """The loop, or what is left of it."""
        if type(iterable) is Plain:
            return LoopResult(rest=iterable.items)
        if type(iterable) is Rest:
            return self._transactions[n].run(iterable.items, local, iterable.live)
        return self._transactions[n].run(iterable, local)


def _compiled(prepared: Prepared, loops: Sequence[LoopPlan], *, tried: bool) -> types.CodeType:
    """The function with call sites."""
    return compiled(prepared, {id(plan.verdict.node): call_site(plan, tried=tried) for plan in loops}, _RUN)


def tryable(prepared: Prepared, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Accepted loops that may be begun here: those that run through, and that no other loop begins again and again."""
    loops = [node for node in ast.walk(prepared.context.node) if isinstance(node, ast.For | ast.While)]
    inside = {id(part) for loop in loops for part in ast.walk(loop) if part is not loop}
    return [v for v in outermost(verdicts) if not v.leaves and id(v.node) not in inside]


def compiled(prepared: Prepared, sites: dict[int, list[ast.stmt]], runtime: str) -> types.CodeType:
    """The function with loops replaced, within another that binds the run-time: its module is left as it is."""
    node = copy.copy(prepared.hoisted.node)
    node.body = replaced(node.body, sites)
    node = restored(node, prepared.hoisted)
    node.decorator_list, node.returns = [], None
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    node.args.defaults = [ast.Constant(None)] * len(node.args.defaults)
    node.args.kw_defaults = [None if d is None else ast.Constant(None) for d in node.args.kw_defaults]
    outer = ast.parse(f"def _sd_outer({runtime}):\n    return {node.name}").body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body.insert(0, node)
    module = ast.fix_missing_locations(ast.Module([outer], []))
    return compile(module, f"<sharded {prepared.name}>", "exec", dont_inherit=True)


def rebuilt(prepared: Prepared, code: types.CodeType, runtime: Callable[..., Any]) -> types.FunctionType:
    """The function of that code, with its own defaults and its module's variables."""
    holder = dict[str, Any]()
    exec(code, prepared.function.__globals__, holder)  # noqa: S102 - the function's own text
    made: types.FunctionType = holder["_sd_outer"](runtime)
    made.__defaults__ = prepared.function.__defaults__
    made.__kwdefaults__ = prepared.function.__kwdefaults__
    return made


def _bindings_hold(function: types.FunctionType, source: Source, emitted: Emitted) -> bool:
    scope = function.__globals__
    for name in emitted.functions:
        bound = inspect.unwrap(scope[name]) if callable(scope.get(name)) else None
        node = source.functions[name]
        if not isinstance(bound, types.FunctionType) or bound.__code__.co_firstlineno != _first_line(node):
            return False
    for name, full in emitted.imports:
        if name in scope and not _means(scope[name], full):
            return False
    return not any(name in scope for name in emitted.builtins)


def _means(value: Any, full: str) -> bool:
    """Whether a value is what an import of this full name gives."""
    if full in sys.modules:
        return value is sys.modules[full]
    module, _, leaf = full.rpartition(".")
    return module in sys.modules and getattr(sys.modules[module], leaf, None) is value


def even_cuts(workers: int, first: int, last: int) -> list[int]:
    """As many parts as workers, equally long."""
    parts = max(1, min(workers, last - first))
    return [first + (last - first) * k // parts for k in range(parts + 1)]


def outermost(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Accepted loops that are not inside another accepted one."""
    chosen = list[Verdict]()
    inside = set[int]()
    for verdict in verdicts:
        if verdict.accepted and id(verdict.node) not in inside:
            chosen.append(verdict)
            inside |= {id(n) for n in ast.walk(verdict.node)}
    return chosen


def make_plan(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], *,
    hosts: int | Sequence[HostShare], network: Network, policy: ShardPolicy, profile: bool, force: bool,
) -> Any:  # fmt: skip
    """See ``contract.plan``."""
    from sidestep.sharding.score.choosing import chosen_plan  # noqa: PLC0415 - it needs this module

    return chosen_plan(
        function, args, kwargs, hosts=hosts, network=network, policy=policy, profile=profile, force=force
    )
