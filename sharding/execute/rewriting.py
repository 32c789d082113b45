"""A loop as a function of its own: reductions written down, exits told, so that any process can run a part of it."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sidestep.sharding.analysis.attributes import AT
from sidestep.sharding.analysis.context import GLOBAL, Context
from sidestep.sharding.analysis.sharing import shares
from sidestep.sharding.analysis.trees import OWN_SCOPE
from sidestep.sharding.loops.keyed import APPEND, GROUP, keyed_statement
from sidestep.sharding.loops.reductions import OPERATORS
from sidestep.sharding.loops.verdict import Reduction, Verdict
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import scalar

#: what partial sums of integers begin with
IDENTITY: Final = {"+": 0, "-": 0, "*": 1, "&": -1, "|": 0, "^": 0}
_INTEGERS: Final = frozenset({"int", "bool"})
#: how a shard ended
RAN, BROKE, RETURNED = range(3)


@dataclass(slots=True)
class LoopPlan:
    """How one loop is cut and put together again.

    ``live`` are names shipped; ``logs`` are names whose combining is written down, ``parts`` integers combined per
    shard, ``best`` minima and maxima with their companions; ``last`` names whose last value counts.
    """

    index: int
    verdict: Verdict
    live: list[str]
    globals: list[str]
    logs: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    best: list[str] = field(default_factory=list)
    companions: dict[str, list[str]] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)
    #: live names of regions that shards write into
    written: list[str] = field(default_factory=list)
    #: names by region: those of one region may share memory
    regions: dict[str, str] = field(default_factory=dict)
    #: regions that shards write into, and those that the items belong to
    written_regions: set[str] = field(default_factory=set)
    item_regions: set[str] = field(default_factory=set)
    #: reads or changes what no parameter or local name holds: whether that is theirs too is seen when it runs
    foreign: bool = False

    @property
    def changes(self) -> bool:
        """Whether the loop changes anything that was there before it."""
        known = any(guard.kind == "unlooped" for guard in self.verdict.guards)
        return bool(self.written_regions) or known or (self.foreign and bool(self.logs))

    @property
    def items_written(self) -> bool:
        """Whether shards may write into what the loop iterates over: ``for row in rows: row[0] = 1``."""
        return bool(self.written_regions & self.item_regions)

    @property
    def picked(self) -> list[str]:
        """Names whose values at the end of a shard are sent back."""
        beside = [c for names in self.companions.values() for c in names]
        return [*self.parts, *self.best, *beside, *self.last]

    @property
    def outputs(self) -> list[str]:
        """Names that the function binds after the loop has run as shards."""
        r = self.verdict.reductions
        return [*self.picked, *(x for x in self.logs if r[x].kind == "scalar")]


def planned(context: Context, verdict: Verdict, index: int) -> LoopPlan:
    """How a loop's names travel."""
    plan = LoopPlan(index, verdict, [], [])
    for name, r in verdict.reductions.items():
        if r.kind == "companion":
            plan.companions.setdefault(r.of, []).append(name)
        elif r.kind != "scalar":
            plan.logs.append(name)
        elif r.op in {"min", "max"}:
            plan.best.append(name)
        elif r.op.endswith("=") and r.type.name in _INTEGERS:
            plan.parts.append(name)
        else:
            plan.logs.append(name)
    beside = {c for names in plan.companions.values() for c in names}
    plan.live = sorted(verdict.exposed - set(plan.logs) - set(plan.parts) - beside)
    plan.last = sorted(verdict.last - beside)
    written = context.regions(verdict.sections)
    plan.regions = {name: context.region(name) for name in (*plan.live, *plan.logs)}
    plan.written = [name for name in plan.live if context.region(name) in written]
    plan.written_regions = written
    if isinstance(verdict.node, ast.For):
        plan.item_regions = context.regions(shares(context, verdict.node.iter))
    elsewhere = {name for name in context.local if name.startswith(AT)} | {GLOBAL + x for x in context.source.constants}
    touched = written | plan.item_regions | set(plan.regions.values())
    plan.foreign = bool(context.regions(elsewhere) & touched)
    return plan


def log_name(name: str) -> str:
    """The list in which a shard writes down what is combined into a name."""
    return f"_sd_log_{name}"


class Rewriter(ast.NodeTransformer):
    """The loop's body within the shard: combining becomes writing down, leaving becomes a result."""

    def __init__(self, plan: LoopPlan, context: Context) -> None:
        self.plan, self.context = plan, context
        self.depth = 0

    def _logged(self, name: str) -> Reduction | None:
        return self.plan.verdict.reductions[name] if name in self.plan.logs else None

    def _log(self, name: str, value: ast.expr) -> ast.stmt:
        call = ast.Call(ast.Attribute(_load(log_name(name)), "append", ast.Load()), [value], [])
        return ast.Expr(call)

    def _term(self, value: ast.expr) -> ast.expr:
        """A term as it is now: later stores must not change it."""
        from sidestep.sharding.analysis.typing_values import type_of  # noqa: PLC0415 - kept near its use

        if scalar(type_of(self.context, value)):
            return value
        return ast.Call(_load("_sd_now"), [value], [])

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        """``x += e`` and ``h[k] += e``."""
        if isinstance(node.target, ast.Name) and self._logged(node.target.id):
            return self._log(node.target.id, self._term(node.value))
        return self._keyed(node) or node

    def _keyed(self, node: ast.stmt) -> ast.stmt | None:
        """A statement that combines into an element, written down as what it does, with what."""
        form = keyed_statement(node)
        r = self._logged(form.root) if form is not None else None
        if form is None or r is None or r.kind != "keyed":
            return None
        keys = ast.Tuple([copy.deepcopy(k) for k in form.keys], ast.Load())
        held = form.what in {APPEND, GROUP}
        term = form.term if held else self._term(form.term)
        parts = [ast.Constant(form.what), ast.Constant(form.op), keys, form.default, term]
        return self._log(form.root, ast.Tuple(parts, ast.Load()))

    def visit_If(self, node: ast.If) -> ast.stmt:
        """``if k in h: h[k] += e`` with its ``else``."""
        made = self._keyed(node)
        if made is not None:
            return made
        node.body = [s for old in node.body for s in _list(self.visit(old))]
        node.orelse = [s for old in node.orelse for s in _list(self.visit(old))]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        """``x = x + e`` and ``x = e + x``."""
        target = node.targets[0]
        r = self._logged(target.id) if isinstance(target, ast.Name) else None
        if r is None or r.kind != "scalar" or not isinstance(node.value, ast.BinOp) or not isinstance(target, ast.Name):
            return self._keyed(node) or node
        return self._log(target.id, self._term(node.value.right if r.op.startswith("x") else node.value.left))

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """``out.append(e)`` and its like."""
        call = node.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and isinstance(call.func.value, ast.Name)
        ):
            name, method = call.func.value.id, call.func.attr
            r = self._logged(name)
            if r is not None and r.kind == "append" and method in effects.LOGGED:
                value = call.args[0]
                if method in {"extend", "update"}:
                    value = ast.Call(_load("_sd_all"), [value], [])
                elif method in {"add", "discard"}:
                    value = ast.Call(_load("_sd_key"), [value], [])
                single = "/" not in r.op
                return self._log(name, value if single else ast.Tuple([ast.Constant(method), value], ast.Load()))
        return self._keyed(node) or node

    def visit_For(self, node: ast.For) -> ast.stmt:
        """Breaks of inner loops are theirs."""
        return self._inner(node)

    def visit_While(self, node: ast.While) -> ast.stmt:
        """Breaks of inner loops are theirs."""
        return self._inner(node)

    def _inner(self, node: ast.For | ast.While) -> ast.stmt:
        self.depth += 1
        node.body = [s for old in node.body for s in _list(self.visit(old))]
        self.depth -= 1
        node.orelse = [s for old in node.orelse for s in _list(self.visit(old))]
        return node

    def visit_Break(self, node: ast.Break) -> ast.stmt:
        """Leaving the loop ends the shard."""
        return node if self.depth else self._end(BROKE, ast.Constant(None))

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        """Leaving the function ends the shard."""
        return self._end(RETURNED, node.value or ast.Constant(None))

    def _end(self, how: int, value: ast.expr) -> ast.stmt:
        return ending(self.plan, how, value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        """Functions of their own are left alone."""
        return node


def ending(plan: LoopPlan, how: int, value: ast.expr) -> ast.Return:
    """``return (how, value, logs, picked)``."""
    logs = ast.Dict([ast.Constant(x) for x in plan.logs], [_load(log_name(x)) for x in plan.logs])
    names = ast.List([ast.Constant(x) for x in plan.picked], ast.Load())
    picked = ast.Call(_load("_sd_pick"), [ast.Call(_load("locals"), [], []), names], [])
    return ast.Return(ast.Tuple([ast.Constant(how), value, logs, picked], ast.Load()))


def shard_function(plan: LoopPlan, context: Context, name: str) -> ast.FunctionDef:
    """The loop as ``name(_sd_items, *live)``."""
    node = plan.verdict.node
    assert isinstance(node, ast.For)
    rewriter = Rewriter(plan, context)
    body = [s for old in copy.deepcopy(node.body) for s in _list(rewriter.visit(old))]
    start: list[ast.stmt] = [
        ast.Assign([ast.Name(log_name(x), ast.Store())], ast.List([], ast.Load())) for x in plan.logs
    ]
    start += [
        ast.Assign([ast.Name(x, ast.Store())], ast.Constant(IDENTITY[plan.verdict.reductions[x].op.removesuffix("=")]))
        for x in plan.parts
    ]
    loop = ast.For(copy.deepcopy(node.target), _load("_sd_items"), body, [], None)
    parameters = [ast.arg(x) for x in ("_sd_items", *plan.live)]
    arguments = ast.arguments([], parameters, None, [], [], None, [])
    whole = [*start, loop, ending(plan, RAN, ast.Constant(None))]
    return _function(name, arguments, whole)


def _function(name: str, arguments: ast.arguments, body: list[ast.stmt]) -> ast.FunctionDef:
    made = ast.FunctionDef(name, arguments, body, [], None, None)
    if "type_params" in made._fields:
        setattr(made, "type_params", [])  # noqa: B010 - since Python 3.12
    return made


def call_site(plan: LoopPlan, *, tried: bool = False) -> list[ast.stmt]:
    """What stands in the function in place of the loop.

    A loop that is ``tried`` begins here, as it was written, and only what it leaves then goes to the run-time.

    The run-time gives back values to bind, whether the loop was left, and iterations that are still to run: those
    run here, in the original loop, whose ``else`` then is also where it was.
    """
    node = plan.verdict.node
    assert isinstance(node, ast.For)
    n = plan.index
    out, values = f"_sd_out{n}", f"_sd_values{n}"
    head: list[ast.stmt] = ast.parse(f"{out} = _sd_run({n}, _sd_iterable, locals())\n{values} = {out}.values").body
    assert isinstance(head[0], ast.Assign)
    assert isinstance(head[0].value, ast.Call)
    head[0].value.args[1] = copy.deepcopy(node.iter)
    if tried:
        first = ast.parse(f"{out} = _sd_run.first({n}, _sd_iterable, locals())").body[0]
        assert isinstance(first, ast.Assign)
        assert isinstance(first.value, ast.Call)
        first.value.args[1] = head[0].value.args[1]
        head[0].value.args[1] = ast.Attribute(_load(out), "later", ast.Load())
        turns = ast.For(copy.deepcopy(node.target), ast.Attribute(_load(out), "rest", ast.Load()),
                        copy.deepcopy(node.body), [], None)  # fmt: skip
        head = [first, turns, *head]
    binds = [ast.parse(f"if {x!r} in {values}: {x} = {values}[{x!r}]").body[0] for x in dict.fromkeys(plan.outputs)]
    leaves = ast.parse(f"if {out}.left == {RETURNED}: return {out}.value").body if plan.verdict.leaves else []
    loop = ast.For(copy.deepcopy(node.target), ast.Attribute(_load(out), "rest", ast.Load()),
                   copy.deepcopy(node.body), copy.deepcopy(node.orelse), None)  # fmt: skip
    if not plan.verdict.leaves:
        return [*head, *binds, loop]
    guard = ast.parse(f"if {out}.left == {RAN}: pass").body[0]
    assert isinstance(guard, ast.If)
    guard.body = [loop]
    return [*head, *binds, *leaves, guard]


def replaced(body: Sequence[ast.stmt], sites: dict[int, list[ast.stmt]]) -> list[ast.stmt]:
    """A copy of statements in which loops (by identity) are replaced."""

    def copied(value: object) -> object:
        if isinstance(value, list):
            made = list[object]()
            for one in value:
                made.extend(sites[id(one)] if id(one) in sites else [copied(one)])
            return made
        if isinstance(value, ast.AST):
            fresh = type(value)()
            for name, part in ast.iter_fields(value):
                setattr(fresh, name, copied(part))
            return ast.copy_location(fresh, value)
        return value

    made = copied(list(body))
    assert isinstance(made, list)
    return made


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _list(made: object) -> list[ast.stmt]:
    return made if isinstance(made, list) else [made]  # type: ignore[list-item]


__all__ = ["OPERATORS", "OWN_SCOPE", "LoopPlan", "call_site", "planned", "replaced", "shard_function"]
