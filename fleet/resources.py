"""Resource dimensions, and the units in which people write them.

The order of ``DIMENSIONS`` is the order of the columns in every array of the model.
Planning looks at the first ``PLANNED`` of them; the others are observed and shown.
"""

from __future__ import annotations

import math
import re
from typing import Final

DIMENSIONS: Final = ("cpu", "memory", "read_ops", "write_ops", "net_rx", "net_tx")
#: cores, bytes, operations/s, operations/s, bytes/s, bytes/s
UNITS: Final = ("cores", "bytes", "ops/s", "ops/s", "bytes/s", "bytes/s")
CPU: Final = 0
MEMORY: Final = 1
PLANNED: Final = 2

#: what is forecast of every host and of every shard; the first PLANNED are those of DIMENSIONS.
#: ``net`` is received and sent together (bytes/s), pressure is PSI some in percent.
HOST_SERIES: Final = ("cpu", "memory", "net", "psi_cpu", "psi_memory", "psi_io")
SHARD_SERIES: Final = ("cpu", "memory", "read_ops", "write_ops")
#: what is kept besides of shards whose router or runner reports it: requests/s, seconds, seconds
REPORTED: Final = ("requests", "latency_p50", "latency_p95")

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*$", re.IGNORECASE)
_TIME = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, None: 1.0}


def parse_size(text: str | float) -> int:
    """Bytes from ``"512M"``, ``"2GiB"`` or a finite number; K, M, G, T are powers of 1024. Raises ValueError."""
    if isinstance(text, int | float):
        return int(text)
    match = _SIZE.match(text)
    if match is None:
        raise ValueError("not a size; write a number with K, M, G or T, such as 512M")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * 1024**power)


def parse_seconds(text: str | float) -> float:
    """Seconds from ``"15m"``, ``"500ms"`` or a number. Raises ValueError."""
    if isinstance(text, int | float):
        return float(text)
    match = _TIME.match(text)
    if match is None:
        raise ValueError("not a duration; write a number with ms, s, m, h, d or w, such as 15m")
    return float(match[1]) * _SECONDS[match[2]]


def show_size(value: float) -> str:
    """A size in at most six characters: ``1.5G``, ``512M``; ``?`` if it is not known."""
    if not math.isfinite(value):
        return "?"
    for suffix in ("", "K", "M", "G", "T"):
        if abs(value) < 1024 or suffix == "T":
            return f"{value:.0f}{suffix}" if value >= 10 or suffix == "" else f"{value:.1f}{suffix}"
        value /= 1024
    raise AssertionError("unreachable")


def show_seconds(value: float) -> str:
    """A duration in at most seven characters: ``45s``, ``12m``, ``3h05m``, ``12d04h``; ``?`` if it is not known.

    A negative one is past.
    """
    if not math.isfinite(value):
        return "?"
    sign, whole = ("-" if value < 0 else ""), abs(value)
    if whole < 1:
        return f"{sign}{whole * 1000:.0f}ms"
    if whole < 120:
        return f"{sign}{whole:.0f}s"
    if whole < 7200:
        return f"{sign}{whole / 60:.0f}m"
    if whole < 360000:
        return f"{sign}{int(whole // 3600)}h{int(whole % 3600 // 60):02d}m"
    days, rest = divmod(int(whole), 86400)
    return f"{sign}{days}d{rest // 3600:02d}h" if days < 100 else f"{sign}{days}d"
