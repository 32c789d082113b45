"""Calm ordering: rows follow their rank, but a row moves only for a reason.

A table that re-sorts on every sample cannot be read. A row keeps its place until its
rank is off by more than ``SLACK`` places, or has been off at all for ``PATIENCE`` seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SLACK: Final = 3
PATIENCE: Final = 5.0


@dataclass(frozen=True)
class Order:
    """The rows as shown, and since when each displaced one has been displaced."""

    names: tuple[str, ...] = ()
    since: Mapping[str, float] = field(default_factory=dict)


def settle(order: Order, scores: Mapping[str, float], now: float) -> Order:
    """The next order, highest score first, ties by name.

    Names that are new are put in their rank, names that are gone leave. With scores that
    do not change, the order equals the sorted one after ``PATIENCE`` seconds.
    """
    wanted = sorted(scores, key=lambda name: (-scores[name], name))
    rank = {name: at for at, name in enumerate(wanted)}
    shown = [name for name in order.names if name in rank]
    off = {name: abs(rank[name] - at) for at, name in enumerate(shown)}
    since = {name: order.since.get(name, now) for name, by in off.items() if by}
    movers = {name for name, at in since.items() if off[name] > SLACK or now - at >= PATIENCE}
    movers.update(rank.keys() - off.keys())
    if not movers:
        return Order(tuple(shown), since)
    result = [name for name in shown if name not in movers]
    for name in wanted:
        if name in movers:
            result.insert(rank[name], name)
    kept = {name: at for name, at in since.items() if name not in movers}
    return Order(tuple(result), kept)
