"""The ``/`` filter: which rows are shown. Pure.

Words with blanks between them, all of which must hold:

    db-0[12]     a regular expression that is found in the name, in any case
    ~dbx         fuzzy: these letters in this order
    risk>0.6     a comparison of a column: > >= < <= = != with a number (80%, 2G, 5m), = != ~ with a word
    !...         the opposite of any of these

What is wrong with a filter is in ``Query.problem``, to be shown where it is typed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from sidestep.fleet.nearest import near
from sidestep.fleet.resources import parse_seconds, parse_size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

#: a longer filter is refused
LONGEST: Final = 500
_COMPARISON: Final = re.compile(r"([a-z_0-9]+)(>=|<=|!=|=|>|<)(.+)")
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}


class Words(Struct, frozen=True):
    """A column of words: a number a row (None where every row has its own), and the words."""

    labels: Sequence[str]
    codes: Any = None


#: a column: words, or an array of numbers
Column = Words | Any
#: columns by name; the one called "name" is what expressions without a column look at
Fields = Mapping[str, Callable[[], Column]]


class Term(Struct, frozen=True, kw_only=True):
    """One word of a filter."""

    column: str = "name"
    sign: str = "~"
    text: str = ""
    number: float | None = None
    inverse: bool = False


class Query(Struct, frozen=True):
    """A filter that was read; with a ``problem`` it lets everything through."""

    terms: tuple[Term, ...] = ()
    problem: str = ""

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse(text: str, columns: Sequence[str] = ("name",)) -> Query:
    """The filter that a text means; ``columns`` are what can be compared."""
    if len(text) > LONGEST:
        return Query(problem=f"longer than {LONGEST} characters")
    terms: list[Term] = []
    for word in text.split():
        inverse, rest = word.startswith("!"), word.removeprefix("!")
        if not rest:
            continue  # still being typed
        term = _term(rest, columns)
        if isinstance(term, str):
            return Query(problem=term)
        terms.append(structs.replace(term, inverse=inverse))
    return Query(tuple(terms))


def _term(word: str, columns: Sequence[str]) -> Term | str:
    """One word without its ``!``, or what is wrong with it."""
    if found := _COMPARISON.fullmatch(word):
        return _comparison(found[1], found[2], found[3], columns)
    if re.fullmatch(r"[a-z_0-9]+(>=|<=|!=|=|>|<)", word) and word.rstrip("<>=!") in columns:
        return f"{word} what?"
    if word.startswith("~"):
        return Term(text=".*?".join(map(re.escape, word[1:])))
    try:
        re.compile(word)
    except (re.error, RecursionError, OverflowError) as error:
        return f"{word}: {error}"
    return Term(text=word)


def _comparison(column: str, sign: str, value: str, columns: Sequence[str]) -> Term | str:
    if column not in columns:
        return f"no column {column}: {near(column, columns)}"
    number = _number(value)
    if number is None and sign not in {"=", "!="}:
        return f"{value} is no number"
    return Term(column=column, sign=sign, text=value, number=number)


def _number(text: str) -> float | None:
    """``0.6``, ``60%``, ``2G``, ``5m`` as numbers; None for a word."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        pass
    for read in (parse_seconds, parse_size):
        try:
            return float(read(text))
        except (ValueError, OverflowError):
            continue
    return None


def passes(query: Query, count: int, fields: Fields) -> Mask:
    """(rows,) which rows the filter lets through; unknown numbers pass only ``!``."""
    import numpy as np  # noqa: PLC0415 - not before the first paint

    mask = np.ones(count, dtype=bool)
    for term in query.terms:
        if term.column in fields:
            mask &= _holds(term, fields[term.column]()) ^ term.inverse
    return mask


def _holds(term: Term, column: Column) -> Mask:
    import numpy as np  # noqa: PLC0415 - likewise

    if isinstance(column, Words):
        good = np.fromiter((_says(term, label) for label in column.labels), dtype=bool, count=len(column.labels))
        return good if column.codes is None else good[column.codes]
    if term.number is None:
        return np.full(len(column), term.sign == "!=")
    with np.errstate(invalid="ignore"):
        found: Mask = _OPERATORS[term.sign](np.round(column, 9), term.number) & ~np.isnan(column)
    return found


def _says(term: Term, label: str) -> bool:
    if term.sign == "~":
        return re.search(term.text, label, re.IGNORECASE) is not None
    same = term.text.casefold() == label.casefold()
    return same is (term.sign == "=")


def lets_through(query: Query, **words: str) -> bool:
    """Whether one row of words passes; numbers are compared where a word is one."""
    for term in query.terms:
        word = words.get(term.column, "")
        value = _number(word) if term.sign in {">", ">=", "<", "<="} else None
        if term.sign in {">", ">=", "<", "<="}:
            found = value is not None and bool(_OPERATORS[term.sign](value, term.number))
        else:
            found = _says(term, word)
        if found is term.inverse:
            return False
    return True
