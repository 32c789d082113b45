"""Whether two accesses of different iterations can never touch the same element."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidestep.sharding.analysis.collect import Access
from sidestep.sharding.analysis.places import Dim, Variable
from sidestep.sharding.analysis.polynomials import Poly
from sidestep.sharding.loops.bounds import lowest, runtime, surely_positive
from sidestep.sharding.loops.verdict import Guard

#: how many steps the second access's iteration comes later (or earlier)
DELTA = "δ"


def disjoint(a: Access, b: Access, variable: str, step: Poly, fixed: set[str], guards: list[Guard]) -> bool:
    """Prove that ``a`` in iteration i and ``b`` in another never meet; what it rests on is added to guards.

    ``fixed`` are variables of loops around this one: they keep their value.
    """
    if a.root != b.root or not a.dims or not b.dims:
        return False
    for careful in (True, False):
        found = list[Guard]()
        if all(_one_way(a, b, variable, step, fixed, later, careful, found) for later in (True, False)):
            guards += found
            return True
    return False


def _one_way(
    a: Access, b: Access, variable: str, step: Poly, fixed: set[str], later: bool, careful: bool, guards: list[Guard]
) -> bool:
    mine = [v for v in a.variables if v.name not in fixed]
    theirs = [v for v in b.variables if v.name not in fixed]
    other = Poly.symbol(variable) + step * Poly.symbol(DELTA)
    inner = [v for v in theirs if v.name != variable]
    names = [(v.name, v.name + "'") for v in inner]

    def moved(p: Poly | None) -> Poly | None:
        return None if p is None else p.renamed(names).substitute(variable, other)

    one = Poly.const(1)
    delta = Variable(DELTA, one, None) if later else Variable(DELTA, None, -one)
    own = next((v for v in mine if v.name == variable), Variable(variable, None, None))
    together = [
        own, delta, *(v for v in mine if v.name != variable),
        *(Variable(new, moved(v.low), moved(v.high)) for v, (_, new) in zip(inner, names, strict=True)),
    ]  # fmt: skip
    for da, db in zip(a.dims, b.dims, strict=False):
        assert isinstance(da, Dim)
        assert isinstance(db, Dim)
        if "unknown" in {da.kind, db.kind}:
            continue
        found = list[Guard]()
        low_b, high_b = moved(db.low), moved(db.high)
        apart = _before(da.high, low_b, together, careful, found) or _before(high_b, da.low, together, careful, found)
        if apart and all(
            _from_start(p, own_variables, found) for p, own_variables in ((da.low, mine), (db.low, theirs))
        ):
            guards += found
            return True
    return False


def _before(
    end: Poly | None, begin: Poly | None, variables: Sequence[Variable], careful: bool, guards: list[Guard]
) -> bool:
    """Whether what ends at ``end`` (not included) comes before what begins at ``begin``."""
    if end is None or begin is None:
        return False
    found = list[Guard]()
    gap = lowest(begin - end, variables, found)
    prove: Callable[[Poly, list[Guard]], bool] = surely_positive if careful else runtime
    if gap is None or not prove(gap, found):
        return False
    guards += found
    return True


def _from_start(low: Poly | None, variables: Sequence[Variable], guards: list[Guard]) -> bool:
    """A subscript below 0 counts from the end: no proof holds for it."""
    if low is None:
        return False
    found = list[Guard]()
    least = lowest(low, variables, found)
    if least is None:
        return False
    if least.value is not None:
        if least.value < 0:
            return False
    elif not surely_positive(least, found) and not runtime(least, found):
        return False
    guards += found
    return True
