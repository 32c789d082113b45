"""The closed universe as tables: classes of values, kinds of objects, and which methods may be bound."""

from __future__ import annotations

import types
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Final

import numpy as np

# Classes of values that lie in columns; a reference stands for an object of the kinds below.
NONE, BOOL, FLOAT, INT, STR, BYTES, COMPLEX, REF, SCALAR, NPSTR, NPBYTES, DTYPE, TYPE = range(13)

# Kinds of objects; each group of them has one.
(LIST, TUPLE, DICT, COUNTER, ORDERED, DEFAULT, SET, FROZENSET, DEQUE, BYTEARRAY, RANGE, SLICE, ARRAY) = range(13)
FORWARD, REVERSED, ENUMERATE, ZIP, DICT_ITERATOR, SET_ITERATOR, METHOD = range(13, 20)

MAPPINGS: Final = {DICT: dict, COUNTER: Counter, ORDERED: OrderedDict, DEFAULT: defaultdict}

#: kinds of data in arrays and numpy scalars
DTYPE_KINDS: Final = frozenset("biufcSUmM")

#: iterators over dicts, in the order of their codes
DICT_ITERATORS: Final[tuple[type, ...]] = (
    type(iter({}.keys())),
    type(iter({}.values())),
    type(iter({}.items())),
    type(reversed({}.keys())),
    type(reversed({}.values())),
    type(reversed({}.items())),
)
_FORWARDS: Final[tuple[type, ...]] = (
    type(iter([])),
    type(iter(())),
    type(iter(range(0))),
    type(iter(range(1 << 70))),
    type(iter("")),
    type(iter("é")),
    type(iter(b"")),
    type(iter(bytearray())),
    type(iter(np.zeros((1, 1)))),
)
#: what such an iterator may run over
ITERABLE: Final = frozenset({list, tuple, range, str, bytes, bytearray, np.ndarray})

KIND: Final[dict[type, int]] = {
    list: LIST, tuple: TUPLE, dict: DICT, Counter: COUNTER, OrderedDict: ORDERED, defaultdict: DEFAULT, set: SET,
    frozenset: FROZENSET, deque: DEQUE, bytearray: BYTEARRAY, range: RANGE, slice: SLICE, np.ndarray: ARRAY,
    **dict.fromkeys(_FORWARDS, FORWARD),
    type(reversed([])): REVERSED, reversed: REVERSED, enumerate: ENUMERATE, zip: ZIP,
    **dict.fromkeys(DICT_ITERATORS, DICT_ITERATOR),
    type(iter(set())): SET_ITERATOR, types.BuiltinMethodType: METHOD,
}  # fmt: skip

#: types that may be values: factories of defaultdicts, and names given to constructors
TYPES: Final[tuple[type, ...]] = (
    int, float, bool, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice, deque, Counter,
    OrderedDict, defaultdict, enumerate, zip, reversed,
)  # fmt: skip

_SCALARS: Final = {t for t in np.sctypeDict.values() if np.dtype(t).kind in "biufcmM"}
_DTYPES: Final = {type(np.dtype(code)) for code in "?bhilqpBHILQPefdgFDGSUmM"}

CLASS: Final[dict[type, int]] = {
    type(None): NONE, bool: BOOL, float: FLOAT, int: INT, str: STR, bytes: BYTES, complex: COMPLEX,
    np.str_: NPSTR, np.bytes_: NPBYTES, type: TYPE,
    **dict.fromkeys(_SCALARS, SCALAR), **dict.fromkeys(_DTYPES, DTYPE), **dict.fromkeys(KIND, REF),
}  # fmt: skip

#: what may be a key, or lie in a set: equal contents give equal hashes, and no identity is asked
HASHABLE: Final = frozenset(CLASS) - (frozenset(KIND) - {tuple, frozenset, range})

_LIST: Final = frozenset("append extend insert pop remove index count sort reverse copy clear".split())  # noqa: SIM905
_DICT: Final = frozenset("get setdefault pop update keys values items copy clear popitem".split())  # noqa: SIM905
_SET: Final = frozenset("add discard remove pop update copy clear union intersection difference issubset".split())  # noqa: SIM905
_TEXT: Final = frozenset("split strip startswith endswith upper lower replace find format join index count".split())  # noqa: SIM905
#: methods of built-in objects that a local name may hold (``push = stack.append``)
METHODS: Final[dict[type, frozenset[str]]] = {
    list: _LIST, bytearray: _LIST - {"sort"}, str: _TEXT, dict: _DICT, defaultdict: _DICT, set: _SET,
    deque: _LIST - {"sort"} | {"appendleft", "popleft", "extendleft", "rotate"},
}  # fmt: skip
