"""Checks at the start of a loop: what the analysis could not prove, and what it took on trust."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np

from sidestep.sharding.analysis.context import GLOBAL
from sidestep.sharding.execute.walk import ATOMS, DICTS, Survey, overlap, surveyed
from sidestep.sharding.loops.verdict import Guard
from sidestep.sharding.universe.observed import type_of
from sidestep.sharding.universe.types import ANY, Type, join

_SEQUENCES: Final = frozenset({list, tuple, str, range, np.ndarray, dict, bytes, set, frozenset, deque})
_NAMES: Final = {
    "len": len, "int": int, "min": min, "max": max, "abs": abs, "round": round, "__builtins__": {},
}  # fmt: skip
_SMALL: Final = 1 << 40


def failed(guards: Iterable[Guard], scope: Mapping[str, Any], items: Any) -> str:
    """The first guard that does not hold, as text; "" when all do."""
    for guard in guards:
        try:
            held = _CHECKS[guard.kind](guard, scope, items)
        except Exception as error:  # noqa: BLE001 - the program's own values may raise anything: then it does not hold
            return f"{guard.kind} {guard.text}: {type(error).__name__}"
        if not held:
            return f"{guard.kind} {guard.text}"
    return ""


def _value(text: str, scope: Mapping[str, Any]) -> Any:
    name = text.removeprefix(GLOBAL)
    if name in scope:
        return scope[name]
    return eval(compile(text, "<guard>", "eval"), dict(_NAMES), dict(scope))  # noqa: S307 - arithmetic the analysis wrote


def _holds(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    return bool(_value(guard.text, scope))


def _integer(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    value = _value(guard.text, scope)
    return type(value) in (int, bool) or (isinstance(value, np.integer) and abs(int(value)) < _SMALL)


def _sequence(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    value = _value(guard.text, scope)
    return type(value) in _SEQUENCES or type(value) in ATOMS


def _not_dict(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    return type(_value(guard.text, scope)) not in DICTS


def _rows(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    """Whether the objects below the root are a tree, down to the depth that is written through."""
    level, seen = [_value(guard.text, scope)], set[int]()
    arrays = list[Any]()
    for _ in range(guard.depth + 1):
        below = list[Any]()
        for one in level:
            kind = type(one)
            if kind in ATOMS or isinstance(one, np.generic):
                continue
            if kind is not tuple:
                if id(one) in seen:
                    return False
                seen.add(id(one))
            if kind is np.ndarray:
                arrays.append(one)
            elif kind in DICTS:
                below += one.values()
            elif kind in (list, tuple, deque) and not set(map(type, one)) <= ATOMS:
                below += one
        level = below
    return _apart_in_memory(arrays)


def _apart_in_memory(arrays: list[Any]) -> bool:
    spans = sorted(np.lib.array_utils.byte_bounds(a) for a in arrays if a.size)
    return all(before[1] <= after[0] for before, after in pairwise(spans))


def _separate(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    one, other = (surveyed(_value(name, scope)) for name in guard.text.split())
    return not overlap(one, other)


def _unlooped(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    one, other = (_value(name, scope) for name in guard.text.split())
    deep = guard.depth or isinstance(one, np.ndarray)
    return one is not other and not (deep and reaches(surveyed(other), one))


def _dict(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    return type(_value(guard.text, scope)) in DICTS


def _keys(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    """Whether all keys differ, and are of one kind that names one element each, in a list as in a dict."""
    if guard.depth >= 0 and set(map(type, items)) != {tuple}:
        return False  # what an item holds could change before its turn
    keys = [item[guard.depth] for item in items] if guard.depth >= 0 else list(items)
    return _plain(keys) and len(set(keys)) == len(keys)


def _plain(keys: list[Any]) -> bool:
    kinds = set(map(type, keys))
    if kinds <= {str}:
        return True
    if kinds == {tuple}:
        return len(set(map(len, keys))) == 1 and all(_plain([part]) for key in keys for part in key)
    return all(kind is int or issubclass(kind, np.integer) for kind in kinds) and min(keys) >= 0


def _apart(guard: Guard, scope: Mapping[str, Any], items: Any) -> bool:
    return True  # with the surveys of what is shipped, in ``transaction``


_CHECKS: Final = {
    "holds": _holds, "integer": _integer, "sequence": _sequence, "not-dict": _not_dict, "rows": _rows,
    "apart": _apart, "dict": _dict, "keys": _keys, "separate": _separate,
    "unlooped": _unlooped,
}  # fmt: skip


def mistyped(types: Mapping[str, Type], live: Mapping[str, Any]) -> str:
    """A live-in whose value is not of the type that the analysis rests on; "" when all are."""
    for name, value in live.items():
        expected = types.get(name, ANY)
        if expected != ANY and join(expected, type_of(value)) != expected:
            return name
    return ""


def reaches(survey: Survey, value: Any) -> bool:
    """Whether a survey found this very object, or memory of it."""
    if id(value) in survey.numbers:
        return True
    return type(value) is np.ndarray and any(np.may_share_memory(value, a) for a in survey.arrays)
