"""Reductions put together: in the order of iterations, on the original objects, and undone if one term fails."""

from __future__ import annotations

import operator
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from sidestep.sharding.execute.rewriting import LoopPlan
from sidestep.sharding.execute.walk import ATOMS, MUTABLE
from sidestep.sharding.loops.keyed import APPEND, DEFAULT, EITHER, GET, GROUP, UPDATE
from sidestep.sharding.loops.verdict import Reduction

_PLAIN: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "&": operator.and_, "|": operator.or_,
    "^": operator.xor,
}  # fmt: skip
_IN_PLACE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.iadd, "-": operator.isub, "*": operator.imul, "&": operator.iand, "|": operator.ior,
    "^": operator.ixor,
}  # fmt: skip
#: compared in a total order, except for NaN, which is never taken
_ORDERED: Final = frozenset({int, float, bool, str})


class Unfoldable(Exception):
    """Terms cannot be combined as the sequential loop would have; everything done so far was undone."""


class Fold:
    """The commit of one loop's reductions. ``values`` are names to bind; ``undo`` takes back what was done in place."""

    def __init__(self, plan: LoopPlan, scope: dict[str, Any]) -> None:
        self.plan, self.scope = plan, scope
        self.values = dict[str, Any]()
        self._undo = list[Callable[[], object]]()
        self._late = list[tuple[Any, list[tuple[str, Any]]]]()

    def undo(self) -> None:
        """Take everything in place back, last first."""
        while self._undo:
            self._undo.pop()()

    def check(self, picked: Sequence[dict[str, Any]]) -> None:
        """Refuse what cannot be combined exactly, before anything is done. Raises Unfoldable."""
        for name in self.plan.parts:
            if type(self.scope.get(name)) is not int or any(type(p.get(name)) is not int for p in picked):
                raise Unfoldable(f"{name} is not an int throughout")
        for name in self.plan.best:
            kinds = {type(self.scope.get(name)), *(type(p[name]) for p in picked if name in p)}
            if not kinds <= _ORDERED or ("str" in {k.__name__ for k in kinds} and len(kinds) > 1):
                raise Unfoldable(f"{name} is of types without a total order")
        for name in self.plan.logs:
            one = self.scope.get(name)
            r = self.plan.verdict.reductions[name]
            known = type(one) in MUTABLE or type(one) is np.ndarray
            if not known and (r.kind != "scalar" or not _immutable(one)):
                raise Unfoldable(f"{name} is of type {type(one).__name__}")

    def run(self, logs: Sequence[dict[str, list[Any]]], picked: Sequence[dict[str, Any]]) -> None:
        """Combine all shards' terms in order. Raises Unfoldable, with everything undone."""
        try:
            for name in self.plan.parts:
                self.values[name] = self._part(name, [p[name] for p in picked])
            for name in self.plan.best:
                self._best(name, picked)
            for name in self.plan.last:
                for p in picked:
                    if name in p:
                        self.values[name] = p[name]
            for name in self.plan.logs:
                terms = [term for log in logs for term in log[name]]
                self._log(name, self.plan.verdict.reductions[name], terms)
            for one, calls in self._late:
                _tried(one, calls)
        except Exception as error:
            self.undo()
            raise Unfoldable(f"{type(error).__name__}: {error}") from error
        for one, calls in self._late:
            for method, term in calls:
                getattr(one, method)(term)

    def _part(self, name: str, parts: list[int]) -> int:
        sign = self.plan.verdict.reductions[name].op.removesuffix("=")
        value: int = self.scope[name]
        combine = _PLAIN["+" if sign == "-" else sign]
        for part in parts:
            value = combine(value, part)
        return value

    def _best(self, name: str, picked: Sequence[dict[str, Any]]) -> None:
        better = operator.gt if self.plan.verdict.reductions[name].op == "max" else operator.lt
        value = self.scope[name]
        for p in picked:
            if name in p and better(p[name], value):
                value = p[name]
                for beside in self.plan.companions.get(name, []):
                    if beside in p:
                        self.values[beside] = p[beside]
        self.values[name] = value

    def _log(self, name: str, r: Reduction, terms: list[Any]) -> None:
        one = self.scope[name]
        if r.kind == "append":
            self._calls(one, r, terms)
        elif r.kind == "keyed":
            self._keyed(one, terms)
        else:
            self.values[name] = self._scalar(one, r, terms)

    def _scalar(self, value: Any, r: Reduction, terms: list[Any]) -> Any:
        if r.op.endswith("="):
            self._remember(value)
            combine = _IN_PLACE[r.op[0]]
        elif r.op.startswith("x"):
            combine = _PLAIN[r.op[1]]
        else:
            plain = _PLAIN[r.op[0]]
            for term in terms:
                value = plain(term, value)
            return value
        if type(value) is float and combine is operator.iadd and set(map(type, terms)) == {float}:
            return float(np.add.accumulate(np.array([value, *terms], np.float64))[-1])  # one after the other, as above
        for term in terms:
            value = combine(value, term)
        return value

    def _remember(self, one: Any) -> None:
        """A way back for an object that is about to change in place."""
        if type(one) is np.ndarray:
            saved = one.copy()
            self._undo.append(lambda: np.copyto(one, saved))
        elif isinstance(one, list):
            items = list(one)
            self._undo.append(lambda: one.__setitem__(slice(None), items))
        elif type(one) in MUTABLE:
            raise TypeError(f"no way back for a {type(one).__name__}")

    def _calls(self, one: Any, r: Reduction, terms: list[Any]) -> None:
        """``append`` and its like. Only of lists is there a way back: others wait until nothing can fail any more."""
        calls = [(r.op, term) for term in terms] if "/" not in r.op else terms
        if type(one) is not list:
            self._late.append((one, calls))
            return
        count = len(one)
        self._undo.append(lambda: one.__delitem__(slice(count, None)))
        if r.op == "append":
            one.extend(terms)
            return
        for method, term in calls:
            getattr(one, method)(term)

    def _keyed(self, one: Any, terms: list[Any]) -> None:
        """Statements on elements, one after the other; each leaves a way back."""
        for what, op, keys, default, term in terms:
            holder = one
            for k in keys[:-1]:
                holder = holder[k]
            last = keys[-1]
            if what in {APPEND, GROUP}:
                self._collect(holder, last, default, term, what)
                continue
            missing = isinstance(holder, dict) and last not in holder
            if what == DEFAULT and not missing and isinstance(holder, dict):
                continue
            if what != UPDATE and not isinstance(holder, dict):
                raise TypeError(f"counting in a {type(holder).__name__}")
            old = None if missing else holder[last]
            if not _immutable(old) and type(holder) is not np.ndarray:
                raise TypeError("a keyed reduction of mutable values")
            self._way_back(holder, last, missing, old)
            if what == DEFAULT or (what == EITHER and missing):
                holder[last] = default
            elif what == GET:
                holder[last] = _PLAIN[op](default if missing else old, term)
            else:
                holder[last] = _IN_PLACE[op](holder[last], term)

    def _way_back(self, holder: Any, last: Any, missing: bool, old: Any) -> None:
        saved = old.copy() if isinstance(old, np.ndarray) else old
        if missing:
            self._undo.append(lambda: holder.__delitem__(last))
        else:
            self._undo.append(lambda: holder.__setitem__(last, saved))

    def _collect(self, holder: Any, last: Any, default: Any, term: Any, what: int) -> None:
        """``h[k].append(v)``, where the list may be a new one."""
        if what == GROUP and last not in holder:
            self._way_back(holder, last, True, None)
            holder[last] = default
        elif isinstance(holder, defaultdict) and last not in holder:
            self._way_back(holder, last, True, None)
        into = holder[last]
        if type(into) is not list:
            raise TypeError(f"appending to a {type(into).__name__}")
        self._undo.append(into.pop)
        into.append(term)


def _tried(one: Any, calls: Sequence[tuple[str, Any]]) -> None:
    """Calls without a way back, tried on nothing. Raises what one of them would have raised."""
    if not isinstance(one, set | deque) and type(one) not in {dict, OrderedDict, defaultdict}:
        raise TypeError(f"no way back for a {type(one).__name__}")
    for method, term in calls:
        if not hasattr(one, method):
            raise AttributeError(method)
        if isinstance(one, set):
            set(term if method == "update" else (term,))
        elif isinstance(one, dict) and not isinstance(term, dict):
            dict(term)


def _immutable(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(_immutable, value))
    return type(value) in ATOMS or isinstance(value, np.generic | frozenset)
