"""What is asked about pools of instances on the daemon's socket, and the answers; part of ``protocol``."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class ListPools(Struct, frozen=True, tag="list-pools"):
    """Pools and their instances, all or the one of that name. Answered by PoolsView."""

    name: str = ""


class DrillPool(Struct, frozen=True, tag="drill-pool"):
    """Wake a cold instance of that pool, check it, put it back. Answered by Done once it is begun."""

    name: str
    reason: str = ""


PoolRequest = ListPools | DrillPool


class PoolApp(Struct, frozen=True, kw_only=True):
    """One app of a pool: places in use, and the demand that is exceeded in one of ten cases (NaN unknown); instances.

    ``wanted`` are to serve, ``serving`` do; ``forecast`` is what the forecast asks for, ``added`` what measurement
    adds; ``unmet`` cannot be had at once; ``reason`` says what decided.
    """

    app: Label
    load: float
    soon: float
    wanted: int
    serving: int
    forecast: int
    added: int
    unmet: int
    reason: Label


class PoolInstanceRow(Struct, frozen=True, kw_only=True):
    """One instance; ``since`` is unix time, ``busy`` whether something is being done to it."""

    name: Label
    host: Label
    state: str
    app: Label
    port: int
    since: float
    busy: bool


class PoolRow(Struct, frozen=True, kw_only=True):
    """One pool. ``states`` counts its instances; ``fewer`` and ``more`` are what one ready instance fewer, and one
    more, would cost, in instances too many (NaN unknown). Seconds: p95 of activations and of warmings, over so many
    that were measured.

    The newest drill: unix time (0 for none), whether it has ended and succeeded, seconds from cold to ready.
    """

    name: Label
    priority: int
    guarantee: int
    most: int
    places: int
    ready_wanted: int
    fewer: float
    more: float
    states: dict[str, int]
    apps: tuple[PoolApp, ...]
    instances: tuple[PoolInstanceRow, ...]
    forecast: Label
    activation: float
    activations: int
    warming: float
    warmings: int
    served: int
    drilled: float
    drill_ended: bool
    drill_ok: bool
    drill_seconds: float
    drill_detail: Label
    guesses_hit: int
    guesses_missed: int
    guesses_open: int


class PoolsView(Struct, frozen=True, tag="pools", kw_only=True):
    """The pools as of the newest tick (unix time; 0 before the first)."""

    time: float
    pools: tuple[PoolRow, ...]


PoolReply = PoolsView
