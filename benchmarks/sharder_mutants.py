"""The mutation check: each rule that keeps shards exact is broken in turn, and some program must notice.

Rules are broken in this process, by putting a careless function in the place of a careful one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.sharder_exact import Counts, check, defined, one_loop, result_of
from benchmarks.sharder_programs import ALIASINGS
from sidestep.sharding.analysis import collect_expressions, function, typing_values, webs
from sidestep.sharding.execute import folding, guards, planned, rewriting, transaction, worker
from sidestep.sharding.loops import bounds, classify, conflicts, disjoint

#: name, arguments: a program with a function f
Program = tuple[str, str, Callable[[], tuple[Any, ...]]]
Change = tuple[Any, str, Any]


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _no_mutation(*given: Any) -> Any:
    return dataclasses.replace(_SUMMARISED(*given), mutates=frozenset())


def _backwards(self: Any, answers: Any, survey: Any) -> Any:
    return _ANSWERS(self, answers, survey)[::-1]


def _all_bound(context: Any, body: Any, exposed: Any, targets: Any) -> Any:
    return frozenset(n for n in _FRESH(context, [], set(), set()) | context.local if n not in context.parameters)


def _any_number(op: Any, a: Any, b: Any) -> bool:
    return typing_values.number(a) or typing_values.number(b)


_SUMMARISED = function._summarised
_ANSWERS = transaction.Transaction._answers
_FRESH = classify.fresh_names
_RULES = dict(guards._CHECKS)


def _without(kind: str) -> Change:
    return guards, "_CHECKS", {**_RULES, kind: _always(True)}


def _at_once(self: Any, one: Any, r: Any, terms: Any) -> None:
    for method, term in [(r.op, term) for term in terms] if "/" not in r.op else terms:
        getattr(one, method)(term)


MUTANTS: dict[str, tuple[Change, ...]] = {
    "all accesses are disjoint": ((conflicts, "_apart", _always(True)),),
    "subscripts never count from the end": ((disjoint, "_from_start", _always(True)),),
    "polynomials are never negative": ((disjoint, "surely_positive", _always(True)),),
    "coefficients have no sign": ((bounds, "runtime", _always(True)), (disjoint, "runtime", _always(True))),
    "names never share memory": ((transaction.Transaction, "_check_memory", _always(None)),),
    "rows are distinct": (_without("rows"),),
    "keys differ": (_without("keys"),),
    "what is gone over by its keys is a dict": (_without("dict"),),
    "names that were one object are two": (_without("separate"),),
    "iterables are read before their loops": ((classify, "reading", _always("before")),),
    "names that functions keep are their loops'": ((webs._Seen, "_elsewhere", _always(None)),),
    "what cannot be taken back is done at once": ((folding.Fold, "_calls", _at_once),),
    "an iterator goes on after it was listed": ((transaction, "again", lambda iterator: iterator),),
    "subscripts are integers": (_without("integer"),),
    "guards that compare": (_without("holds"),),
    "dicts have a fixed length": (_without("not-dict"),),
    "whole numbers repeat nothing": ((typing_values, "_with_number", _any_number),),
    "functions mutate nothing": ((function, "_summarised", _no_mutation),),
    "carried scalars": ((classify._Classifier, "_scalars", _always(None)),),
    "early exits": ((classify, "own_exits", _always([])),),
    "fresh is what is bound": ((classify, "fresh_names", _all_bound),),
    "rows put elsewhere": ((conflicts, "_rebound", _always(None)),),
    "sums of what is no int": ((folding.Fold, "check", _always(None)),),
    "float sums in any grouping": (
        (rewriting, "_INTEGERS", frozenset({"int", "bool", "float", "num", "any"})),
        (folding.Fold, "check", _always(None)),
    ),
    "terms are not kept as they were": ((worker, "now", lambda value: value),),
    "extensions are not kept as they were": ((worker, "everything", lambda value: value),),
    "any iterable is listed": ((transaction.Transaction, "_listable", _always(True)),),
    "sets of text made in shards": ((collect_expressions, "_plain_keys", _always(True)),),
    "shards are committed backwards": ((transaction.Transaction, "_answers", _backwards),),
    "types are as annotated": ((guards, "mistyped", _always("")), (planned.Sharded, "_fits", _always(True))),
}


@contextmanager
def broken(changes: Iterable[Change]) -> Iterator[None]:
    """Break rules for a while."""
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in changes if hasattr(owner, name)]
    for owner, name, value in changes:
        if hasattr(owner, name):
            setattr(owner, name, value)
    worker._SOURCES.clear()
    try:
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
        worker._SOURCES.clear()


def killed_by(changes: Iterable[Change], programs: Iterable[Program], seeds: Iterable[int]) -> str:
    """The first program that notices; "" when none does. A crash of the analysis or run counts as noticing."""
    for name, text, arguments in programs:
        if _notices(changes, text, arguments):
            return name
    for seed in seeds:
        counts = Counts()
        with broken(changes):
            try:
                check(seed, seed % ALIASINGS, 2 + seed % 4, counts)
            except Exception as error:  # noqa: BLE001 - a broken rule may break anything
                return f"seed {seed}: {type(error).__name__}"
        if counts.mismatches:
            return counts.mismatches[0]
    return ""


def _notices(changes: Iterable[Change], text: str, arguments: Callable[[], tuple[Any, ...]]) -> bool:
    function_ = defined(text)
    expected = result_of(function_, arguments())
    with broken(changes):
        try:
            prepared = planned.prepare(function_, arguments(), {}, text=text)
            return any(
                not one_loop(planned.Sharded.of(prepared, [verdict]), parts, arguments(), expected, Counts())
                for verdict in prepared.verdicts if verdict.accepted for parts in (2, 3)
            )  # fmt: skip
        except Exception:  # noqa: BLE001
            return True
