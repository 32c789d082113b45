"""The type of an expression, from the types of names."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from sidestep.sharding.analysis.context import NOTHING, Bound, Context, Local
from sidestep.sharding.analysis.trees import COMPREHENSIONS, Comprehension
from sidestep.sharding.analysis.typing_calls import call_type
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.observed import type_of as observed_type
from sidestep.sharding.universe.types import (
    ANY,
    BOOL,
    BOT,
    DTYPE,
    FLOAT,
    FUNC,
    INT,
    NONE,
    NUM,
    NUMARR,
    STR,
    Type,
    array_of,
    arrayish,
    dict_of,
    element,
    iter_of,
    join,
    join_all,
    list_of,
    number,
    scalar,
    set_of,
    stored,
    tuple_of,
    tuples_of,
)

_SEQUENCES = frozenset({"list", "tuple", "tuples"})


def type_of(context: Context, node: ast.expr | None, bound: Bound = NOTHING) -> Type:  # noqa: PLR0911, PLR0912
    """The type of an expression; ``bot`` as long as nothing is known of what it depends on."""

    def t(n: ast.expr) -> Type:
        return type_of(context, n, bound)

    match node:
        case None:
            return NONE
        case ast.Constant(value=value):
            known = observed_type(value)
            return known if scalar(known) else ANY
        case ast.Name(id=name):
            return bound[name].type if name in bound else _name(context, node, name)
        case ast.BinOp():
            return _binary(node.op, t(node.left), t(node.right))
        case ast.UnaryOp():
            return _unary(node.op, t(node.operand))
        case ast.BoolOp():
            return join_all(map(t, node.values))
        case ast.Compare():
            return _compare(node, [t(n) for n in (node.left, *node.comparators)])
        case ast.IfExp():
            return join(t(node.body), t(node.orelse))
        case ast.NamedExpr():
            return t(node.value)
        case ast.JoinedStr() | ast.FormattedValue():
            return STR
        case ast.Starred():
            return element(t(node.value))
        case ast.List():
            return list_of(join_all(map(t, node.elts)))
        case ast.Set():
            return set_of(join_all(map(t, node.elts)))
        case ast.Tuple():
            if any(isinstance(e, ast.Starred) for e in node.elts):
                return tuples_of(join_all(map(t, node.elts)))
            return tuple_of(*map(t, node.elts))
        case ast.Dict():
            return _dict(node, [t(v) for v in node.values], [t(k) if k else None for k in node.keys])
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            return _comprehension(context, node, bound)
        case ast.Subscript():
            return _subscript(context, node, bound)
        case ast.Attribute():
            return _attribute(context, node, bound)
        case ast.Call():
            return call_type(context, node, bound, t)
        case ast.Lambda():
            return FUNC
        case _:
            return ANY


def _name(context: Context, node: ast.expr, name: str) -> Type:  # noqa: PLR0911
    if name in context.local:
        return context.types.get(name, BOT)
    source = context.source
    if name in source.constants:
        if name in context.globals:
            return context.globals[name]
        if name in source.unsure:
            return ANY
        value = source.constants[name]
        try:
            return observed_type(ast.literal_eval(value))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return ANY
    dotted = context.dotted(node)
    if dotted:
        known = effects.DOTTED.get(dotted)
        return known if isinstance(known, Type) and scalar(known) else FUNC if known is not None else ANY
    return FUNC if name in source.functions or context.builtin(name) else ANY


def _binary(op: ast.operator, a: Type, b: Type) -> Type:  # noqa: PLR0911, PLR0912 - Python's arithmetic, one rule a line
    if BOT in {a, b}:
        return a if b == BOT else b
    if a.name == "array" or b.name == "array":
        if isinstance(op, ast.MatMult):
            return NUMARR
        if (a.name == "array" or number(a)) and (b.name == "array" or number(b)):
            ranks = [x.rank for x in (a, b) if x.name == "array"]
            return array_of(None if None in ranks else max(r for r in ranks if r is not None))
        return NUMARR
    if NUMARR in {a, b}:
        return NUMARR
    if number(a) and number(b):
        return _arithmetic(op, a, b)
    if a == STR and isinstance(op, ast.Mod):
        return STR
    if STR in {a, b}:
        return STR if isinstance(op, ast.Add | ast.Mult) and ({a.name, b.name} <= {"str", "int", "bool"}) else ANY
    if isinstance(op, ast.Mult):
        for x in (a, b):
            if x.name in _SEQUENCES:
                return list_of(element(x)) if x.name == "list" else tuples_of(element(x))
    if a.name == b.name == "set":
        return join(a, b)
    if isinstance(op, ast.Add) and a.name in _SEQUENCES and b.name in _SEQUENCES:
        return list_of(join(element(a), element(b))) if a.name == "list" else tuples_of(join(element(a), element(b)))
    return NUMARR if _with_number(op, a, b) else ANY


def _with_number(op: ast.operator, a: Type, b: Type) -> bool:
    """Whether one is a number, and whatever the other is makes a number or an array with it, or fails."""
    if isinstance(op, ast.Mult):  # a whole number repeats a sequence
        return any(number(x) and x.name in {"float", "complex"} for x in (a, b))
    if isinstance(op, ast.Mod):  # a text is filled in
        return number(a)
    return not isinstance(op, ast.MatMult) and (number(a) or number(b))


def _arithmetic(op: ast.operator, a: Type, b: Type) -> Type:
    if isinstance(op, ast.Div):
        return FLOAT if not {a.name, b.name} & {"complex", "num"} else NUM
    if isinstance(op, ast.Pow):
        return NUM
    if {a.name, b.name} <= {"bool", "int"}:
        return INT
    joined = join(a, b)
    return NUM if joined.name == "bool" else joined


def _unary(op: ast.unaryop, t: Type) -> Type:
    if isinstance(op, ast.Not):
        return BOOL
    if t.name == "bool":
        return INT
    return t if number(t) or arrayish(t) or t == BOT else ANY


def _compare(node: ast.Compare, types: list[Type]) -> Type:
    if all(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops):
        return BOOL
    plain = all(scalar(t) or (t.args and t.name != "iter") for t in types)
    return BOOL if plain and "num" not in {t.name for t in types} else NUM if all(map(number, types)) else NUMARR


def _dict(node: ast.Dict, values: list[Type], keys: list[Type | None]) -> Type:
    key, value = BOT, BOT
    for k, v in zip(keys, values, strict=True):
        if k is not None:
            key, value = join(key, k), join(value, v)
        elif v.name == "dict":
            key, value = join(key, v.args[0]), join(value, v.args[1])
        else:
            return dict_of(ANY, ANY)
    return dict_of(key, value)


def _comprehension(context: Context, node: Comprehension, bound: Bound) -> Type:
    inner = dict(bound)
    for generator in node.generators:
        bind(inner, generator.target, element(type_of(context, generator.iter, inner)))
    if isinstance(node, ast.DictComp):
        return dict_of(type_of(context, node.key, inner), type_of(context, node.value, inner))
    made = type_of(context, node.elt, inner)
    return list_of(made) if isinstance(node, ast.ListComp) else (
        set_of(made) if isinstance(node, ast.SetComp) else iter_of(made)
    )  # fmt: skip


def bind(bound: dict[str, Local], target: ast.expr, t: Type, shares: frozenset[str] = frozenset()) -> None:
    """Bind a comprehension's target to what it iterates over."""
    for name, part in parts(target, t):
        bound[name] = Local(part, frozenset() if scalar(part) else shares)


def parts(target: ast.expr, t: Type) -> Iterable[tuple[str, Type]]:
    """The names of a target with the part of a value's type that each gets."""
    if isinstance(target, ast.Name):
        yield target.id, t
    elif isinstance(target, ast.Starred):
        yield from parts(target.value, list_of(element(t)))
    elif isinstance(target, ast.Tuple | ast.List):
        exact = t.name == "tuple" and len(t.args) == len(target.elts)
        for i, e in enumerate(target.elts):
            if isinstance(e, ast.Starred):
                yield from parts(e.value, list_of(element(t)))
            else:
                yield from parts(e, t.args[i] if exact else element(t))


def _subscript(context: Context, node: ast.Subscript, bound: Bound) -> Type:
    base, index = type_of(context, node.value, bound), node.slice
    if isinstance(index, ast.Slice):
        if base.name == "tuple":
            return tuples_of(element(base))
        return base if base.name in {"str", "bytes", "range", "bot", "array", "numarr", "list", "tuples"} else ANY
    if base.name == "array":
        return _array_part(context, base, index, bound)
    if base.name == "dict":
        return base.args[1]
    if base.name == "tuple" and isinstance(index, ast.Constant):
        at = index.value
        return base.args[at] if isinstance(at, int) and -len(base.args) <= at < len(base.args) else element(base)
    return stored(base)


def _array_part(context: Context, base: Type, index: ast.expr, bound: Bound) -> Type:
    if base.rank is None:
        return NUMARR
    rank = base.rank
    for i in index.elts if isinstance(index, ast.Tuple) else [index]:
        if isinstance(i, ast.Slice):
            continue
        if isinstance(i, ast.Constant) and i.value is None:
            rank += 1
            continue
        t = type_of(context, i, bound)
        if t == BOT:
            return BOT
        if t.name != "int" and not (t.name == "num" and isinstance(i, ast.Name | ast.BinOp)):
            return NUMARR
        rank -= 1
    return NUM if rank == 0 else array_of(rank) if rank > 0 else NUMARR


def _attribute(context: Context, node: ast.Attribute, bound: Bound) -> Type:
    dotted = context.dotted(node)
    if dotted:
        known = effects.DOTTED.get(dotted)
        if isinstance(known, Type) and scalar(known):
            return known
        return FUNC if dotted.startswith(("numpy", "math")) else ANY
    known = effects.ATTRIBUTES.get(node.attr)
    base = type_of(context, node.value, bound)
    if known == "view":
        return array_of(base.rank) if base.name == "array" and node.attr != "flat" else (
            NUM if number(base) else BOT if base == BOT else NUMARR if base.name == "numarr" else ANY
        )  # fmt: skip
    if known is None or base.name == "any":
        return ANY
    if node.attr == "shape" and base.name == "array" and base.rank:
        return tuple_of(*(INT,) * base.rank)
    return known if isinstance(known, Type) else DTYPE


def is_array(context: Context, node: ast.expr, bound: Bound = NOTHING) -> bool:
    """Whether an expression is surely an array (or a number): stores into it hold no reference."""
    return arrayish(type_of(context, node, bound))


__all__ = ["COMPREHENSIONS", "bind", "is_array", "parts", "type_of"]
