"""Ranges of names: ``web[01-40]`` and ``db[a,b]-[1-3,7]`` stand for many hosts.

A bracket holds numbers, ranges of numbers and words, with commas between them. Zeros in
front of a range's first number set the width. Several brackets make every combination,
the last one running fastest.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from typing import Final

#: names that one pattern may stand for
MAX_NAMES: Final = 10_000

_RANGE: Final = re.compile(r"(\d{1,9})-(\d{1,9})")
_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_NUMBERED: Final = re.compile(r"(.*?)(\d{1,9})(\D*)")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")


def is_range(pattern: str) -> bool:
    """Whether a text has a bracket, so that it must be expanded."""
    return "[" in pattern or "]" in pattern


def expand(pattern: str, limit: int = MAX_NAMES) -> tuple[str, ...]:
    """The texts that a pattern stands for, in order; one without brackets stands for itself.

    Raises ValueError with the reason; a pattern for more than ``limit`` texts is refused
    before any is made.
    """
    pieces = _PART.split(pattern)
    fixed, brackets = pieces[::2], pieces[1::2]
    if any(is_range(piece) for piece in fixed):
        raise ValueError("has a bracket without its partner, or one within another")
    choices = [[_item(item.strip()) for item in bracket.split(",")] for bracket in brackets]
    count = math.prod(sum(size for size, _, _ in items) for items in choices)
    if count > limit:
        raise ValueError(f"stands for {count} names, more than {limit}")
    lists = [[name for item in items for name in _names(item)] for items in choices]
    rows = itertools.product(*lists)
    return tuple("".join(itertools.chain(*itertools.zip_longest(fixed, row, fillvalue=""))) for row in rows)


_Item = tuple[int, str, str]


def _item(item: str) -> _Item:
    """How many names an item of a bracket stands for, its first and its last."""
    found = _RANGE.fullmatch(item)
    if found is None:
        if not _WORD.fullmatch(item):
            raise ValueError(f"has {item!r} in a bracket, which is neither a range nor a word")
        if re.fullmatch(r"\d+-\d+", item):
            raise ValueError(f"has the range {item[:40]!r} with more than nine digits")
        return 1, item, item
    first, last = found[1], found[2]
    if int(first) > int(last):
        raise ValueError(f"has the range {item!r}, which runs backwards")
    if len(last) < len(first) or (last.startswith("0") and len(last) != len(first)):
        raise ValueError(f"has the range {item!r}, whose ends are not written with as many digits")
    return int(last) - int(first) + 1, first, last


def _names(item: _Item) -> list[str]:
    count, first, _ = item
    if count == 1:
        return [first]
    width = len(first) if first.startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(int(first), int(first) + count)]


def compress(names: Iterable[str]) -> tuple[str, ...]:
    """Patterns that together stand for just these names, in the order in which they come first."""
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for name in dict.fromkeys(names):
        found = _NUMBERED.fullmatch(name)
        if found is None or is_range(name):
            groups.setdefault((name, "", False), []).append("")
        else:
            groups.setdefault((found[1], found[3], True), []).append(found[2])
    return tuple(f"{before}{_brackets(numbers)}{after}" for (before, after, _), numbers in groups.items())


def _brackets(numbers: list[str]) -> str:
    """Numbers as they stand in a bracket; a single one needs none."""
    runs: list[tuple[str, str]] = []
    for number in sorted((n for n in numbers if n), key=lambda n: (int(n), len(n))):
        if runs and number == _next(*runs[-1]):
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    shown = [first if first == last else f"{first}-{last}" for first, last in runs]
    return f"[{','.join(shown)}]" if len(shown) > 1 or "-" in "".join(shown) else "".join(shown)


def _next(first: str, last: str) -> str:
    """The name after ``last`` in a range that begins with ``first``."""
    return f"{int(last) + 1:0{len(first) if first.startswith('0') else 0}d}"
