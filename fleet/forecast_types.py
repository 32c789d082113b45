"""The parts of a forecast that travel without arrays: contention and accounts.

Apart from ``forecast`` so that a front end can read them before numpy is loaded.
"""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class Contention(Struct, frozen=True, kw_only=True):
    """Predicted contention of one host in one dimension, or by one pressure (``psi_cpu`` and so on).

    ``probability`` is that of demand above the threshold for at least the minimum
    duration within the horizon; ``starts_at`` the unix time at which the policy's
    quantile first stays above it; ``peak`` the highest value of that quantile as a
    fraction of allocatable capacity, of pressure as a fraction of time. ``proven`` says
    whether such probabilities have beaten the climatology on this very series; automation
    above level advise ignores those that have not. ``measured`` says that it is no prediction, but
    there, which needs no proof: demand has been above its threshold for the minimum duration, or is now
    in a series that cannot be forecast (S5.22).
    """

    host: Label
    dimension: str
    probability: float
    starts_at: float
    lead: float
    peak: float
    proven: bool = False
    #: "demand" or "pressure"
    cause: str = "demand"
    measured: bool = False


class Account(Struct, frozen=True, kw_only=True):
    """How good past forecasts were: one row per model, over the last scored windows.

    ``skill`` is 1 - error / error of persistence (median over hosts, cpu); ``coverage``
    the share of values inside the 80 % band; NaN before anything was scored.
    """

    model: Label
    skill: float
    coverage: float
    scored: int
