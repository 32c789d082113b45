"""What calls return."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final

from sidestep.sharding.analysis.context import Bound, Context
from sidestep.sharding.universe import effects
from sidestep.sharding.universe.types import (
    ANY,
    BOT,
    DTYPE,
    INT,
    NONE,
    NUM,
    NUMARR,
    STR,
    Type,
    array_of,
    dict_of,
    element,
    iter_of,
    join,
    join_all,
    list_of,
    number,
    set_of,
    tuple_of,
    tuples_of,
)

TypeOf = Callable[[ast.expr], Type]
_ELEMENTWISE: Final = effects.names(
    "sqrt exp sin cos tan log abs absolute maximum minimum power floor ceil square tanh add multiply subtract divide "
    "negative conj"
)
_SHAPED: Final = frozenset(("zeros", "ones", "empty", "full"))
_LIKE: Final = frozenset(
    ("zeros_like", "ones_like", "full_like", "empty_like", "copy", "sort", "roll", "argsort", "cumsum")
)
_FACTORIES: Final = {
    "int": INT, "float": Type("float"), "list": list_of(BOT), "set": set_of(BOT), "dict": dict_of(BOT, BOT),
    "str": STR, "bool": Type("bool"),
}  # fmt: skip
_MAPPED: Final = {"int": INT, "float": Type("float"), "str": STR, "bool": Type("bool"), "len": INT, "ord": INT,
                  "chr": STR, "abs": NUM}  # fmt: skip


def call_type(context: Context, call: ast.Call, bound: Bound, type_of: TypeOf) -> Type:
    """The type of a call's result; ``any`` for calls that will be refused."""
    f = call.func
    if isinstance(f, ast.Name) and f.id not in bound and context.builtin(f.id):
        known = effects.BUILTINS.get(f.id)
        return ANY if known is None else by_tag(context, known, call, type_of)
    name = context.dotted(f)
    if name:
        return _dotted(context, name, call, type_of)
    if isinstance(f, ast.Attribute):
        return _method(context, f, call, type_of)
    if isinstance(f, ast.Name) and f.id not in bound:
        summary = context.summarise(context, call, bound)
        return summary.returns if summary else ANY
    return ANY


def _dotted(context: Context, name: str, call: ast.Call, type_of: TypeOf) -> Type:
    known = effects.DOTTED.get(name, effects.CONTAINERS.get(name))
    if known is not None:
        return by_tag(context, known, call, type_of)
    if name in effects.VIEWS:
        return ANY if name in {"numpy.split", "numpy.array_split", "numpy.hsplit", "numpy.vsplit"} else NUMARR
    if name in effects.ITERTOOLS:
        leaf = name.partition(".")[2]
        if leaf in {"permutations", "combinations", "combinations_with_replacement", "product", "pairwise"}:
            return iter_of(tuples_of(join_all(element(type_of(a)) for a in call.args)))
        return iter_of(ANY)
    if name in effects.WRITES_FIRST:
        return NONE
    return DTYPE if name in effects.DTYPES else ANY


def _method(context: Context, f: ast.Attribute, call: ast.Call, type_of: TypeOf) -> Type:  # noqa: PLR0911
    method = effects.METHODS.get(f.attr)
    if method is None:
        return ANY
    receiver = type_of(f.value)
    result = method.result
    if result == "element":
        if receiver.name == "dict":
            return tuple_of(*receiver.args) if f.attr == "popitem" else _with_default(receiver.args[1], call, type_of)
        return element(receiver)
    if result == "getdefault":
        return _with_default(receiver.args[1] if receiver.name == "dict" else ANY, call, type_of)
    if result == "same":
        return receiver if f.attr == "copy" else join(receiver, join_all(type_of(a) for a in call.args))
    if result == "view":
        return array_of() if receiver.name == "array" else NUMARR if receiver.name in {"any", "numarr"} else receiver
    if result == "iter":
        if receiver.name == "dict":
            key, value = receiver.args
            views = {"keys": iter_of(key), "values": iter_of(value), "items": iter_of(tuple_of(key, value))}
            return views.get(f.attr, iter_of(ANY))
        return iter_of(ANY)
    return by_tag(context, result, call, type_of)


def _with_default(value: Type, call: ast.Call, type_of: TypeOf) -> Type:
    return join(value, type_of(call.args[1]) if len(call.args) > 1 else NONE)


def by_tag(context: Context, result: effects.Result, call: ast.Call, type_of: TypeOf) -> Type:  # noqa: PLR0911, PLR0912
    """The type that a tag of the allow-list makes of the arguments."""
    if isinstance(result, Type):
        return result
    given = [type_of(a) for a in call.args]
    first = given[0] if given else BOT
    match result:
        case "array":
            return array_of(_rank(call, _leaf(context, call), given, type_of))
        case "numarr":
            return _ufunc(call, _leaf(context, call), given)
        case "number":
            if number(first):
                return INT if first.name == "bool" else first
            return BOT if first == BOT else NUMARR
        case "list":
            return list_of(element(first) if given else BOT)
        case "tuple":
            return tuples_of(element(first) if given else BOT)
        case "set":
            return set_of(element(first) if given else BOT)
        case "dict":
            if first.name == "dict":
                return first
            nothing = not given and not call.keywords
            return dict_of(BOT, BOT) if nothing else dict_of(ANY, ANY)
        case "ddict":
            factory = call.args[0] if call.args else None
            return dict_of(BOT, _FACTORIES.get(factory.id, ANY) if isinstance(factory, ast.Name) else ANY)
        case "iter":
            return iter_of(element(first))
        case "enumerate":
            return iter_of(tuple_of(INT, element(first)))
        case "zip":
            return iter_of(tuple_of(*map(element, given)))
        case "sum":
            plain = number(element(first)) and (len(given) < 2 or number(given[1]))
            return NUM if plain else BOT if element(first) == BOT else ANY
        case "either":
            extra = [type_of(k.value) for k in call.keywords if k.arg == "default"]
            return join_all([element(first), *extra]) if len(given) == 1 else join_all(given)
        case "filter":
            return iter_of(element(given[1]) if len(given) > 1 else ANY)
        case "map":
            f = call.args[0] if call.args else None
            mapped = isinstance(f, ast.Name) and f.id in _MAPPED and context.builtin(f.id)
            return iter_of(_MAPPED[f.id] if mapped and isinstance(f, ast.Name) else ANY)
        case "deepcopy" | "copy":
            return first
        case "mutates":
            return NONE
        case "pops":
            return element(first) if len(given) < 2 else join(element(first), given[1])
        case _:
            return ANY


def _leaf(context: Context, call: ast.Call) -> str:
    """The last part of what is called: of ``np.zeros``, of ``x.astype``, of a name that was imported."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return (context.dotted(call.func) or "").rpartition(".")[2]


def _rank(call: ast.Call, name: str, given: list[Type], type_of: TypeOf) -> int | None:  # noqa: PLR0911
    if call.keywords and any(k.arg in {"shape", "ndmin", "axis", "indexing"} for k in call.keywords):
        return None
    if name in _SHAPED and call.args:
        shape, t = call.args[0], given[0]
        if isinstance(shape, ast.Tuple):
            return None if any(isinstance(e, ast.Starred) for e in shape.elts) else len(shape.elts)
        return 1 if t == INT else len(t.args) if t.name == "tuple" else None
    if name in {"arange", "linspace"}:
        return 1
    if name in _LIKE and given and given[0].name == "array" and len(given) == 1:
        return given[0].rank
    if name == "astype" and isinstance(call.func, ast.Attribute):
        base = type_of(call.func.value)
        return base.rank if base.name == "array" else None
    return 2 if name in {"eye", "identity", "outer"} else None


def _ufunc(call: ast.Call, name: str, given: list[Type]) -> Type:
    if given and not call.keywords and all(number(t) or t.name in {"none", "dtype"} for t in given):
        return NUM
    ranks = [t.rank for t in given if t.name == "array"]
    if name in _ELEMENTWISE and ranks and all(t.name == "array" or number(t) for t in given):
        return array_of(None if None in ranks else max(r for r in ranks if r is not None))
    return NUMARR
