"""Bounds of polynomials over loop variables, with what has to be checked at run time for them to hold."""

from __future__ import annotations

from collections.abc import Sequence

from sidestep.sharding.analysis.places import Variable
from sidestep.sharding.analysis.polynomials import Poly
from sidestep.sharding.loops.verdict import Guard


def never_negative(symbol: str) -> bool:
    """Whether a symbol is a length or a count."""
    return symbol.startswith(("len(", "@")) or symbol.endswith((".size", ".ndim")) or ".shape[" in symbol


def surely_positive(p: Poly, guards: list[Guard]) -> bool:
    """Whether p >= 0 when each of its symbols is; those that may be negative become guards."""
    if p.constant < 0:
        positive = any(key and v > 0 for key, v in p.terms.items())
        if not positive or any(key and v < 0 for key, v in p.terms.items()):
            return False
        return runtime(p, guards)
    found = list[Guard]()
    for key, v in p.terms.items():
        if key and v < 0:
            return False
        found += [Guard("holds", f"({symbol}) >= 0") for symbol in key if not never_negative(symbol)]
    guards += found
    return True


def runtime(p: Poly, guards: list[Guard]) -> bool:
    """Let p >= 0 be checked at run time; false when it holds something that is not known then."""
    if p.value is not None:
        return p.value >= 0
    if any("@" in symbol or "δ" in symbol or symbol.endswith("'") for symbol in p.symbols()):
        return False
    if not any(key and v > 0 for key, v in p.terms.items()):
        return False  # true of small numbers only: no reason to start shards
    guards.append(Guard("holds", f"{p.text()} >= 0"))
    return True


def lowest(p: Poly, variables: Sequence[Variable], guards: list[Guard]) -> Poly | None:
    """A lower bound of p in invariant symbols only; None when there is none.

    Variables are eliminated from the innermost outwards, each by the end of its range that makes p smaller.
    """
    for name, low, high in reversed(variables):
        degree = p.degree(name)
        if degree == 0:
            continue
        if degree > 1:
            return None
        coefficient, rest = p.split(name)
        value = coefficient.value
        if value is not None:
            rising = value > 0
        elif all(v > 0 for v in coefficient.terms.values()) or all(v < 0 for v in coefficient.terms.values()):
            rising = next(iter(coefficient.terms.values())) > 0
            guards += [
                Guard("holds", f"({symbol}) >= 0") for key in coefficient.terms for symbol in key
                if not never_negative(symbol)
            ]  # fmt: skip
        else:
            return None
        end = low if rising else high
        if end is None:
            return None
        p = coefficient * end + rest
    return p
