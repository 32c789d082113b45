"""What trust asks for, as numbers that people can read and change."""

from __future__ import annotations

from msgspec import Struct


class Terms(Struct, frozen=True, kw_only=True):
    """What must be so for the autopilot to act by itself.

    A missing measurement never earns trust and never loses it. ``better`` is the hysteresis: what
    was lost is offered again only when it holds with that much to spare, ``steady`` judgements in a row.
    """

    #: forecasts that must have been scored before any of them counts
    forecasts: int = 200
    #: 1 - error / error of persistence; below it the forecast is worth nothing
    least_skill: float = 0.0
    #: how far the share of values inside the 80 % band may be from 80 %, below it (too sure) and above it
    too_sure: float = 0.12
    too_wide: float = 0.19
    #: plans in a row, the newest, that are looked at; and how many of them are needed for level full
    plans: int = 10
    least_plans: int = 3
    #: share of them that must have succeeded
    success: float = 0.7
    #: fractions of capacity by which the measured peak may be above the predicted one, in the median plan
    peak_over: float = 0.15
    #: times that freeze and bytes may be of what was said, in the median plan
    freeze_over: float = 3.0
    bytes_over: float = 2.0
    better: float = 0.2
    steady: int = 5


DEFAULT_TERMS = Terms()
