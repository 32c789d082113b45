"""Types of the closed universe as a lattice: ``bot`` (nothing known yet) below, ``any`` above.

Flow-insensitive: a name has one type, the join of everything that is bound to it. A scalar cannot be
mutated and holds no reference, so names of scalars never share memory; everything else may.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Type:
    """``name`` and what it holds: list[x], dict[k, v], tuple[a, b], tuples[x], iter[x]; ``rank`` of an array."""

    name: str
    args: tuple[Type, ...] = ()
    rank: int | None = None

    def __str__(self) -> str:
        if self.name == "array":
            return f"array[{'?' if self.rank is None else self.rank}]"
        return f"{self.name}[{', '.join(map(str, self.args))}]" if self.args else self.name


BOT, ANY, NONE = Type("bot"), Type("any"), Type("none")
BOOL, INT, FLOAT, COMPLEX, NUM = Type("bool"), Type("int"), Type("float"), Type("complex"), Type("num")
STR, BYTES, RANGE, SCALAR, SLICE, DTYPE = (
    Type("str"), Type("bytes"), Type("range"), Type("scalar"), Type("slice"), Type("dtype"),
)  # fmt: skip
#: a callable that is on the allow-list
FUNC = Type("func")
#: a number or an array, by whatever numpy makes of it
NUMARR = Type("numarr")

_SCALARS: Final = frozenset(
    {"int", "float", "bool", "complex", "str", "bytes", "none", "num", "range", "scalar", "bot", "slice", "dtype"}
)
_RANKS: Final = {"bool": 0, "int": 1, "float": 2, "complex": 3, "num": 4}
#: numbers that Python's arithmetic keeps exact types of
NUMBERS: Final = frozenset(_RANKS)
_ONE: Final = frozenset({"list", "set", "iter", "tuples"})


def list_of(element: Type) -> Type:
    """A list (or deque) of it."""
    return Type("list", (element,))


def set_of(element: Type) -> Type:
    """A set or frozenset of it."""
    return Type("set", (element,))


def iter_of(element: Type) -> Type:
    """A built-in iterator over it."""
    return Type("iter", (element,))


def tuples_of(element: Type) -> Type:
    """A tuple of unknown length."""
    return Type("tuples", (element,))


def tuple_of(*elements: Type) -> Type:
    """A tuple of known length."""
    return Type("tuple", elements)


def dict_of(key: Type, value: Type) -> Type:
    """A dict."""
    return Type("dict", (key, value))


def array_of(rank: int | None = None) -> Type:
    """A numpy array of numbers; its rank when known."""
    return Type("array", (), rank)


def scalar(t: Type) -> bool:
    """Whether values of it are immutable and hold no reference to anything mutable."""
    if t.name in _SCALARS:
        return True
    return t.name in {"tuple", "tuples"} and all(scalar(x) for x in t.args)


def number(t: Type) -> bool:
    """Whether it is a plain number (numpy's scalars included)."""
    return t.name in NUMBERS


def arrayish(t: Type) -> bool:
    """Whether it is an array, or a number or an array."""
    return t.name in {"array", "numarr"}


def join(a: Type, b: Type) -> Type:  # noqa: PLR0911 - one case of the lattice a line
    """The least type that holds both."""
    if b in {a, BOT}:
        return a
    if a == BOT:
        return b
    if number(a) and number(b):
        if "bool" in {a.name, b.name}:
            return NUM
        return max((a, b), key=lambda t: _RANKS[t.name])
    if (number(a) or arrayish(a)) and (number(b) or arrayish(b)):
        return array_of() if a.name == b.name == "array" else NUMARR
    if a.name == b.name and (a.name in _ONE or a.name == "dict"):
        return Type(a.name, tuple(join(x, y) for x, y in zip(a.args, b.args, strict=True)))
    if {a.name, b.name} <= {"tuple", "tuples"}:
        if a.name == b.name == "tuple" and len(a.args) == len(b.args):
            return tuple_of(*(join(x, y) for x, y in zip(a.args, b.args, strict=True)))
        return tuples_of(join(element(a), element(b)))
    return SCALAR if scalar(a) and scalar(b) else ANY


def join_all(types: Iterable[Type]) -> Type:
    """The join of many; ``bot`` of none."""
    found = BOT
    for t in types:
        found = join(found, t)
    return found


def element(t: Type) -> Type:  # noqa: PLR0911
    """What iterating over it yields; keys of a dict."""
    if t.name in _ONE or t.name == "dict":
        return t.args[0]
    if t.name == "tuple":
        return join_all(t.args)
    if t.name == "array":
        if t.rank is None:
            return NUMARR
        return NUM if t.rank == 1 else array_of(t.rank - 1)
    if t.name in {"str", "bot", "numarr"}:
        return t
    if t.name in {"range", "bytes"}:
        return INT
    return BOT if number(t) or t == NONE else ANY


def stored(t: Type) -> Type:
    """What subscripting by one index yields; values of a dict."""
    return t.args[1] if t.name == "dict" else element(t)


def may_be_set(t: Type) -> bool:
    """Whether iterating over it may follow a set's order, which no copy keeps."""
    return t.name in {"set", "any"}
