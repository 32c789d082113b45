"""Values of a closed universe as bytes, and back: what loop shards, function arguments and capsules carry.

The universe: None, bool, int, float, complex, str, bytes, bytearray, range, slice, tuple, list, dict, set, frozenset,
deque, Counter, OrderedDict, defaultdict (its factory one of these types), numpy arrays and scalars of kinds
``biufcSUmM``, and iterators over these; exact types only. Whatever else is met is refused by name.

Kept: which objects are one object, views into one memory (with dtype, shape, strides and offset), the bits of floats,
the order of dicts. The bytes can carry no code: decoding calls constructors of these types, and nothing else.
"""

from sidestep.sharding.codec.compare import canonical, same
from sidestep.sharding.codec.decoding import clone, decode, loads
from sidestep.sharding.codec.encoding import dumps, encode
from sidestep.sharding.codec.framing import pack, pack_parts, unpack
from sidestep.sharding.codec.limits import LIMITS, Damaged, Encoded, Limits, Refused, Sets

__all__ = [
    "LIMITS",
    "Damaged",
    "Encoded",
    "Limits",
    "Refused",
    "Sets",
    "canonical",
    "clone",
    "decode",
    "dumps",
    "encode",
    "loads",
    "pack",
    "pack_parts",
    "same",
    "unpack",
]
