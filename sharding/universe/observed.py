"""The types of real arguments, and of annotations when there are none."""

from __future__ import annotations

import ast
from collections import deque
from typing import Any, Final

import numpy as np

from sidestep.sharding.universe.types import (
    ANY,
    BOOL,
    BOT,
    BYTES,
    COMPLEX,
    FLOAT,
    INT,
    NONE,
    NUM,
    RANGE,
    STR,
    Type,
    array_of,
    dict_of,
    join,
    join_all,
    list_of,
    set_of,
    tuple_of,
    tuples_of,
)  # fmt: skip

#: dtype kinds of arrays that may cross: numbers, booleans, fixed strings and times
ARRAY_KINDS: Final = frozenset("biufcSUmM")
_PLAIN: Final = {
    bool: BOOL, int: INT, float: FLOAT, complex: COMPLEX, str: STR, bytes: BYTES, range: RANGE, type(None): NONE,
}  # fmt: skip
_LONG_TUPLE: Final = 8
_DEEP: Final = 40


def type_of(value: Any, depth: int = 0) -> Type:  # noqa: PLR0911
    """The type of a value; ``any`` for what is outside the universe. Looks at every element."""
    kind = type(value)
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain
    if depth > _DEEP:
        return ANY
    if isinstance(value, np.generic):
        return NUM if value.dtype.kind in "biufc" else ANY
    if kind is np.ndarray:
        return array_of(value.ndim) if value.dtype.kind in "biufc" else ANY
    if kind in (list, deque):
        return list_of(_elements(value, depth))
    if kind in (set, frozenset):
        return set_of(_elements(value, depth))
    if kind is tuple:
        if len(value) <= _LONG_TUPLE:
            return tuple_of(*(type_of(x, depth + 1) for x in value))
        return tuples_of(_elements(value, depth))
    if kind is dict:
        return dict_of(_elements(value, depth), _elements(value.values(), depth))
    return ANY


def _elements(values: Any, depth: int) -> Type:
    """The join of the types within, one look per plain type."""
    kinds = set(map(type, values))
    if kinds <= _PLAIN.keys():
        return join_all(_PLAIN[kind] for kind in kinds)
    found, rows = BOT, set[frozenset[type]]()
    for value in values:
        if type(value) is list:
            # Of many rows that hold the same kinds of plain values one is looked at.
            held = frozenset(map(type, value))
            if held in rows:
                continue
            if held <= _PLAIN.keys():
                rows.add(held)
        found = join(found, type_of(value, depth + 1))
        if found == ANY:
            break
    return found


_NAMES: Final = {
    "int": INT, "float": NUM, "bool": BOOL, "str": STR, "bytes": BYTES, "complex": NUM, "list": list_of(ANY),
    "List": list_of(ANY), "dict": dict_of(ANY, ANY), "Dict": dict_of(ANY, ANY), "set": set_of(ANY),
}  # fmt: skip
_LISTS: Final = frozenset({"list", "List", "Sequence", "Iterable", "Collection"})


def annotated(node: ast.expr | None) -> Type:  # noqa: PLR0911
    """The type that an annotation promises; ``any`` for whatever is not understood.

    A promise only: what depends on it is checked again at run time.
    """
    if isinstance(node, ast.Constant):
        if node.value is None:
            return NONE
        if isinstance(node.value, str):
            try:
                return annotated(ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                return ANY
    if isinstance(node, ast.Name):
        return _NAMES.get(node.id, ANY)
    if isinstance(node, ast.Attribute):
        return array_of() if node.attr == "ndarray" else ANY
    if isinstance(node, ast.Subscript):
        return _generic(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return join(annotated(node.left), annotated(node.right))
    return ANY


def _generic(node: ast.Subscript) -> Type:  # noqa: PLR0911
    base = node.value
    name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
    given = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name in _LISTS:
        return list_of(annotated(given[0])) if name in {"list", "List"} else ANY
    if name in {"set", "Set", "frozenset"}:
        return set_of(annotated(given[0]))
    if name in {"dict", "Dict"} and len(given) == 2:
        return dict_of(annotated(given[0]), annotated(given[1]))
    if name in {"tuple", "Tuple"}:
        if len(given) == 2 and isinstance(given[1], ast.Constant) and given[1].value is Ellipsis:
            return tuples_of(annotated(given[0]))
        return tuple_of(*map(annotated, given))
    if name in {"ndarray", "NDArray"}:
        return array_of()
    return ANY
