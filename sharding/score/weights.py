"""What values weigh: seconds to encode and decode them, bytes, and what the terms of a loop hold; by samples."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np

#: seconds to encode and decode a value in a container, and a byte of an array; bytes of such a value
_VALUE, _BYTE, BYTES = 0.17e-6, 0.7e-9, 9
#: of a container so many elements are looked at, and so deep
_SAMPLE, _DEEP = 32, 3
#: a container among the terms of a loop costs as much as so many values beside those that it holds
_CONTAINER: Final = 45


def inside(one: Any) -> float:
    """How many values the last term of a sequence holds, its own container counted; 0 for a plain term, or none."""
    last = one[-1] if isinstance(one, list | deque) and one else None
    if not isinstance(last, list | tuple | set | frozenset | dict | deque):
        return 0.0
    return _CONTAINER + weight(last)[1] / BYTES


def weight(value: Any, deep: int = _DEEP) -> tuple[float, float]:
    """Seconds to encode and decode a value, and its bytes; of large containers by a sample."""
    if isinstance(value, np.ndarray):
        return value.nbytes * _BYTE, float(value.nbytes)
    if isinstance(value, str | bytes | bytearray):
        return _VALUE + len(value) * _BYTE, float(BYTES + len(value))
    if not isinstance(value, list | tuple | set | frozenset | dict | deque) or not value or not deep:
        return _VALUE, float(BYTES)
    items = list(value.values()) if isinstance(value, dict) else list(value)
    some = items[:: max(1, len(items) // _SAMPLE)]
    found = [weight(one, deep - 1) for one in some]
    scale = len(items) / len(some) * (2 if isinstance(value, dict) else 1)
    return scale * sum(cost for cost, _ in found), scale * sum(size for _, size in found)
