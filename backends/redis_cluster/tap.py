"""Which slots commands are for, by what a node lets be overheard for a moment (``MONITOR``). Pure.

The one way to see a hot key on nodes that count nothing by slot. Lines hold values as well; only the key is looked
at, and only its slot is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import numpy as np

from sidestep.backends.redis_cluster.balance import Demand
from sidestep.backends.redis_cluster.ranges import SLOTS, slot_of

#: of a line, that is looked at: a longer key is not seen
LOOKED: Final = 1024
_LINE: Final = re.compile(rb"^\S+ \[\d+ (\S+)\] ")
_WORD: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)")
_PLAIN: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
#: the word that is the first key, where it is not the second; 0 is none
_FIRST: Final[dict[bytes, int]] = {
    **dict.fromkeys((b"eval", b"evalsha", b"eval_ro", b"evalsha_ro", b"fcall", b"fcall_ro"), 3),
    **dict.fromkeys((b"object", b"memory", b"xgroup", b"xinfo", b"bitop", b"debug"), 2),
    **dict.fromkeys(
        (b"ping", b"info", b"cluster", b"select", b"asking", b"multi", b"exec", b"discard", b"unwatch", b"replconf",
         b"psync", b"auth", b"hello", b"client", b"config", b"command", b"monitor", b"wait", b"readonly", b"readwrite",
         b"publish", b"subscribe", b"migrate", b"restore-asking", b"script", b"function", b"latency", b"slowlog",
         b"dbsize", b"time", b"echo", b"scan", b"keys", b"randomkey", b"flushall", b"flushdb", b"shutdown", b"acl"), 0),
}  # fmt: skip


def key_of(line: bytes) -> bytes | None:
    """The first key of an overheard command; None where it has none, or a script's own command it is."""
    head = _LINE.match(line)
    if head is None or head[1] == b"lua":
        return None
    words = [found[1] for found in _WORD.finditer(line[head.end() : LOOKED])]
    if not words:
        return None
    first = _FIRST.get(words[0].lower(), 1)
    if not first or len(words) <= first or (first == 3 and words[2] == b"0"):
        return None
    return _ESCAPE.sub(_unescaped, words[first])


def shares(lines: Iterable[bytes]) -> Demand:
    """float64[16384]: each slot's part of the commands that have a key; zeros where none has."""
    found = np.zeros(SLOTS)
    keys = [key for line in lines if (key := key_of(line)) is not None]
    np.add.at(found, [slot_of(key) for key in keys], 1.0)
    return found / len(keys) if keys else found


def _unescaped(found: re.Match[bytes]) -> bytes:
    text = found[1]
    return bytes([int(text[1:], 16)]) if len(text) == 3 else _PLAIN.get(text, text)
