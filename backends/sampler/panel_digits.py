"""Text to numbers, a fleet at a time: decimal tokens of many lines, eight digits an instruction.

Everything is whole-array arithmetic over the bytes: where tokens end is found once, the eight
bytes before every end are loaded as one word, checked to be digits and multiplied together.
No token is ever a Python object, and nothing but digits, one point and a lone ``-`` passes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

#: bytes that are read at a time, so that every intermediate array stays in the processor's cache
CHUNK: Final = 512 << 10
MOST_DIGITS: Final = 20
MOST_DECIMALS: Final = 6
_SPACE, _POINT, _NEWLINE = 32, 46, 10
#: every byte from here on is part of a token, every one below ends a token
_TOKEN: Final = 48
_PAD: Final = b"0" * 24
_WORD: Final = 8


def _table() -> bytes:
    """Separators and digits stay, ``-`` becomes 0x3f; any other byte becomes 0x7f, which is no digit."""
    table = bytearray(b"\x7f" * 256)
    for kept in b"0123456789 .\n":
        table[kept] = kept
    table[ord("-")] = 0x3F
    return bytes(table)


_TABLE: Final = _table()
_ZEROS: Final = np.uint64(0x3030303030303030)
_SIXES: Final = np.uint64(0x0606060606060606)
_HIGH: Final = np.uint64(0xF0F0F0F0F0F0F0F0)
#: a token of length n occupies the n highest bytes of the word that ends with it
_MASKS: Final = np.array([((1 << 64) - 1) << (64 - 8 * n) & ((1 << 64) - 1) for n in range(9)], dtype=np.uint64)
_DASH: Final = np.uint64(0x0F << 56)
_EXACT: Final = 2.0**52
_DECIMALS: Final = 10.0 ** np.arange(MOST_DECIMALS + 1)


class Numbers(NamedTuple):
    """All tokens of some lines in order; the first of every line is its kind and holds nothing."""

    #: NaN for ``-``
    values: F64
    #: tokens of every line, its kind included
    counts: I64
    #: whether every token of the line is a number
    sound: NDArray[np.bool_]


def read(text: bytes) -> Numbers:
    """The numbers of lines that all begin with ``V`` and a space and end with a newline."""
    parts, start = [], 0
    while start < len(text):
        end = text.find(b"\n", min(start + CHUNK, len(text) - 1)) + 1
        parts.append(_read(text[start:end]))
        start = end
    if not parts:
        return Numbers(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_))
    if len(parts) == 1:
        return parts[0]
    return Numbers(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _read(chunk: bytes) -> Numbers:
    # In front one token more and behind half of one, so that every word can be loaded
    text = b"".join((_PAD, chunk, _PAD[: _WORD + -len(chunk) % _WORD])).translate(_TABLE)
    octets, words = np.frombuffer(text, dtype=np.uint8), np.frombuffer(text, dtype="<u8")
    ends = np.flatnonzero(octets < _TOKEN)
    marks = octets[ends]
    length = np.empty_like(ends)
    length[0] = ends[0]
    np.subtract(ends[1:], ends[:-1], out=length[1:])
    length[1:] -= 1
    lines = np.flatnonzero(marks == _NEWLINE)
    kinds = np.concatenate(([0], lines[:-1] + 1))

    word = _word(words, ends)
    word ^= _ZEROS
    word &= _MASKS.take(length, mode="clip")
    wrong = _not_digits(word)
    number = _eight_digits(word)
    long = np.flatnonzero(length > _WORD)
    part = _word(words, ends[long] - _WORD)
    part ^= _ZEROS
    part &= _MASKS.take(length[long] - _WORD, mode="clip")
    wrong[long] |= _not_digits(part)
    number[long] += _eight_digits(part) * np.uint64(10**8)
    values = number.astype(np.float64)
    unknown = wrong & (length == 1) & (word == _DASH)
    wrong ^= unknown
    values[unknown] = np.nan
    wrong |= length == 0
    huge = np.flatnonzero(length > 2 * _WORD)
    if len(huge):
        _very_long(words, ends, length, huge, values, wrong)
    points = np.flatnonzero(marks == _POINT)
    wrong[kinds] = False
    counts = np.diff(lines, prepend=-1)
    if len(points):
        values = _with_decimals(values, length, marks, points, wrong)
        counts -= np.bincount(np.searchsorted(lines, points), minlength=len(lines))
    sound = np.ones(len(lines), dtype=np.bool_)
    sound[np.searchsorted(lines, np.flatnonzero(wrong))] = False
    return Numbers(values, counts, sound)


def _word(words: NDArray[Any], ends: I64) -> U64:
    """The eight bytes before each end, the last of them highest; from two aligned words, as loads must be."""
    at = ends >> 3
    shift = ((ends & 7) << 3).view(np.uint64)
    low = words.take(at - 1)
    low >>= shift
    high = words.take(at)
    # a shift by all 64 bits gives 0 in numpy
    high <<= np.uint64(64) - shift
    low |= high
    return np.asarray(low, dtype=np.uint64)


def _not_digits(word: U64) -> NDArray[np.bool_]:
    return np.asarray(((word | (word + _SIXES)) & _HIGH) != 0)


def _eight_digits(word: U64) -> U64:
    """Two digits become one number, two of those one of four digits, and so on: three steps for eight digits."""
    pairs = word * np.uint64(10) + (word >> np.uint64(8))
    odd = (pairs >> np.uint64(16)) & np.uint64(0x000000FF000000FF)
    pairs &= np.uint64(0x000000FF000000FF)
    pairs *= np.uint64(0x000F424000000064)
    odd *= np.uint64(0x0000271000000001)
    pairs += odd
    pairs >>= np.uint64(32)
    return pairs


def _very_long(words: NDArray[Any], ends: I64, length: I64, huge: I64, values: F64, wrong: NDArray[np.bool_]) -> None:
    """Tokens of more than 16 digits: what is above is added, what is above MOST_DIGITS is wrong."""
    wrong[huge[length[huge] > MOST_DIGITS]] = True
    huge = huge[length[huge] <= MOST_DIGITS]
    part = (_word(words, ends[huge] - 2 * _WORD) ^ _ZEROS) & _MASKS.take(length[huge] - 2 * _WORD)
    wrong[huge] |= _not_digits(part)
    values[huge] += _eight_digits(part).astype(np.float64) * 1e16


def _with_decimals(values: F64, length: I64, marks: NDArray[np.uint8], points: I64, wrong: NDArray[np.bool_]) -> F64:
    """Join what a point divided: the values without those of the decimals; ``wrong`` where this is no number."""
    # a point is never last: lines end with a newline
    after = points + 1
    digits = length[after]
    scale = _DECIMALS.take(digits, mode="clip")
    whole, part = values[points], values[after]
    # one division of exact numbers rounds right; where they are not exact, the last place is all that the part can move
    joined = np.where(whole * scale < _EXACT, (whole * scale + part) / scale, whole + part / scale)
    bad = wrong[after] | np.isnan(joined) | (digits > MOST_DECIMALS) | (marks[after] == _POINT)
    wrong[points[bad]] = True
    values[points] = joined
    kept = np.ones(len(values), dtype=np.bool_)
    kept[after] = False
    return np.asarray(values[kept])
