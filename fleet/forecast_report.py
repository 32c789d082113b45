"""The forecast of one host, shard or app as it is given away: JSON, published as ``forecast.schema.json``.

Unlike ``forecast`` it needs no numpy, so that a command line can make it. Numbers that
nobody knows are null. Keys are only ever added; ``schema`` changes when one changes its meaning.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

SCHEMA: Final = "sidestep.forecast/1"

Kind = Literal["host", "shard", "app"]
KINDS: Final[tuple[Kind, ...]] = ("host", "shard", "app")


class Chance(Struct, frozen=True, kw_only=True):
    """How likely a host is to be in contention within the horizon.

    ``proven`` says whether such chances have so far been better on this very host than its
    own long-run frequency; until then they rank hosts and are not to be acted on.
    ``starts_at``, ``lead`` and ``peak`` (fraction of allocatable) are null unless the chance
    reaches the policy's. ``reactive``: cannot be forecast, so that only what is measured counts.
    """

    host: str
    dimension: str
    chance: float | None
    proven: bool
    reactive: bool
    starts_at: float | None = None
    lead: float | None = None
    peak: float | None = None


class Accuracy(Struct, frozen=True, kw_only=True):
    """How good such forecasts were until now, all horizons together.

    ``scope`` is ``series`` for this very series or ``fleet`` for the median over all hosts'
    cpu. ``skill`` is 1 - error / error of persistence; coverages are the shares of values
    that fell inside the 80 % and 95 % bands; null before anything was scored.
    """

    scope: Literal["series", "fleet"]
    skill: float | None
    coverage80: float | None
    coverage95: float | None
    scored: int


class Peaks(Struct, frozen=True, kw_only=True):
    """Quantiles of the highest value within the next ``within`` seconds: one row a window, one column a level."""

    within: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]


class ForecastReport(Struct, frozen=True, kw_only=True):
    """Quantiles ahead of one series, the chance of contention, and how far to trust both.

    ``ahead`` are seconds from ``made_at`` and ``values`` has a row for each and a column for
    each of ``levels``, in ``unit``. ``confidence`` is ``insufficient`` until enough valid
    windows were seen: then nothing may be done on account of the numbers. ``fallback`` is ""
    or why a simpler model than the configured one is served.
    """

    schema: str = SCHEMA
    kind: Kind
    name: str
    metric: str
    unit: str
    #: unix seconds, and the same in ISO 8601
    made_at: float
    timestamp: str
    step: float
    confidence: str
    model: str
    fallback: str
    #: what was measured last, what may be handed out (null for shards), and the fraction of it that is too much
    now: float | None
    allocatable: float | None
    threshold: float | None
    #: shards that an app is the sum of, and those of them that have no forecast
    shards: int
    unknown: int
    levels: tuple[float, ...]
    ahead: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]
    peaks: Peaks | None = None
    #: of the host itself, or of the hosts that run the shard or the app
    contention: tuple[Chance, ...] = ()
    accuracy: Accuracy | None = None


def schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **msgspec.json.schema(ForecastReport),
    }
