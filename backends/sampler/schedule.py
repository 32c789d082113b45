"""Work that a host says it will start by itself: systemd timers and cron tables."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class ScheduledTask(Struct, frozen=True):
    """One timer or cron entry: ``next`` is unix seconds, ``period`` seconds between runs, None if it is not known."""

    name: Label
    next: float
    period: float | None
