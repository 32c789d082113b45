"""Polynomials over loop variables and invariant expressions: the normal form of subscripts and loop bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Monomial = tuple[str, ...]


class Poly:
    """A sum of integer multiples of products of symbols; a symbol is a variable or an invariant expression's text."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, int] | None = None) -> None:
        self.terms = {k: v for k, v in (terms or {}).items() if v}

    @staticmethod
    def const(value: int) -> Poly:
        """A number."""
        return Poly({(): value})

    @staticmethod
    def symbol(name: str) -> Poly:
        """A symbol."""
        return Poly({(name,): 1})

    def __add__(self, other: Poly) -> Poly:
        terms = dict(self.terms)
        for k, v in other.terms.items():
            terms[k] = terms.get(k, 0) + v
        return Poly(terms)

    def __neg__(self) -> Poly:
        return Poly({k: -v for k, v in self.terms.items()})

    def __sub__(self, other: Poly) -> Poly:
        return self + -other

    def __mul__(self, other: Poly) -> Poly:
        terms = dict[Monomial, int]()
        for a, v in self.terms.items():
            for b, w in other.terms.items():
                key = tuple(sorted(a + b))
                terms[key] = terms.get(key, 0) + v * w
        return Poly(terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        return self.text()

    @property
    def value(self) -> int | None:
        """Its value when it is a number."""
        return self.terms.get((), 0) if all(not k for k in self.terms) else None

    @property
    def constant(self) -> int:
        """The term without symbols."""
        return self.terms.get((), 0)

    def symbols(self) -> set[str]:
        """All symbols that occur."""
        return {name for key in self.terms for name in key}

    def degree(self, name: str) -> int:
        """The highest power of the symbol."""
        return max((key.count(name) for key in self.terms), default=0)

    def split(self, name: str) -> tuple[Poly, Poly]:
        """The coefficient of a symbol that occurs linearly, and the rest."""
        coefficient, rest = dict[Monomial, int](), dict[Monomial, int]()
        for key, v in self.terms.items():
            if name in key:
                shorter = list(key)
                shorter.remove(name)
                coefficient[tuple(shorter)] = coefficient.get(tuple(shorter), 0) + v
            else:
                rest[key] = v
        return Poly(coefficient), Poly(rest)

    def substitute(self, name: str, by: Poly) -> Poly:
        """The polynomial with a symbol replaced."""
        if not any(name in key for key in self.terms):
            return self
        made = Poly()
        for key, v in self.terms.items():
            term = Poly({(): v})
            for symbol in key:
                term = term * (by if symbol == name else Poly.symbol(symbol))
            made = made + term
        return made

    def renamed(self, names: Iterable[tuple[str, str]]) -> Poly:
        """The polynomial with symbols renamed."""
        made = self
        for old, new in names:
            made = made.substitute(old, Poly.symbol(new))
        return made

    def text(self) -> str:
        """Python source of it."""
        if not self.terms:
            return "0"
        return " + ".join(
            "*".join([str(v), *(f"({name})" for name in key)]) for key, v in sorted(self.terms.items(), key=str)
        )
