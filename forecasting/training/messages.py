"""What the trainer hands to the oracle: who serves which series, and what they say.

Needs msgspec only, so that daemon and worker can name these values without loading anything heavy.
"""

from __future__ import annotations

from msgspec import Struct


class Champion(Struct, frozen=True):
    """The model that serves ``metric`` of the series of ``group`` ("" is every one that no group with a champion has).

    ``score`` is its scaled CRPS and ``versus`` that of the model that it replaced, both of the latest round;
    ``since`` (unix seconds) is when it was promoted. ``metric`` "" means every metric.
    """

    group: str
    metric: str
    model: str
    score: float
    versus: float
    since: float


class Curves(Struct, frozen=True):
    """Forecasts that a champion made, to be served while they are young.

    ``series`` are n names ("host NAME METRIC" or "shard NAME METRIC"); ``start`` (unix seconds) is the end of
    the last step that the forecast knows, ``step`` is in seconds, ``horizons`` are B ascending numbers of steps after
    ``start``, ``levels`` Q ascending quantile levels; ``values`` is (n, B, Q) little-endian ``f4``, all finite.
    """

    series: tuple[str, ...]
    model: str
    start: float
    step: float
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    values: bytes


class Adoption(Struct, frozen=True):
    """What the oracle is to do from now on: all champions, and the newest curves.

    A series that is in no curve is served by the oracle's own model. ``weights`` is a
    network that was tuned on this fleet; empty keeps the one that is used.
    """

    champions: tuple[Champion, ...]
    curves: tuple[Curves, ...]
    weights: bytes = b""
