"""Curves of a champion: fitted on all that is known, for every series of its arena. Runs in a child of the trainer."""

from __future__ import annotations

import contextlib
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.fleet.inventory import CandidateSpec
from sidestep.forecasting.registry import make
from sidestep.forecasting.training import candidates
from sidestep.forecasting.training.messages import Curves
from sidestep.forecasting.training.origins import LEVELS, knots
from sidestep.forecasting.wire import to_bytes

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

#: horizons of a curve
KNOTS: Final = 10
#: known values that a series needs
LEAST: Final = 12


class Wanted(Struct, frozen=True):
    """What curves are made of: who makes them, and what of the table.

    ``values`` (K, n) end at ``end`` (unix seconds). ``offsets`` are those of the round, (H, len(LEVELS)),
    and ``leads`` (H,) the steps ahead that they were measured at.
    """

    candidate: CandidateSpec
    names: tuple[str, ...]
    values: F32
    end: float
    step: float
    season: float
    horizon: int
    offsets: F64
    leads: tuple[int, ...]


def reach(horizon: int) -> int:
    """How many steps a curve reaches: it is served until it is half a horizon old, and must still cover one then."""
    return horizon + max(1, (horizon + 1) // 2)


def curves(wanted: Wanted) -> Curves:
    """The curves; a series that does not vary, is not known or cannot be forecast is left out."""
    ahead = np.array(knots(reach(wanted.horizon), KNOTS), dtype=np.int64)
    known = np.isfinite(wanted.values)
    with np.errstate(invalid="ignore"):
        high = np.where(known, wanted.values, -np.inf).max(axis=0, initial=-np.inf)
        low = np.where(known, wanted.values, np.inf).min(axis=0, initial=np.inf)
    rows = np.flatnonzero((known.sum(axis=0) >= LEAST) & (high > low))
    said = _panel(wanted, rows, ahead) if candidates.is_ours(wanted.candidate) else _singles(wanted, rows, ahead)
    good = np.isfinite(said).all(axis=(1, 2))
    return Curves(
        series=tuple(wanted.names[row] for row in rows[good]),
        model=wanted.candidate.name,
        start=wanted.end,
        step=wanted.step,
        horizons=tuple(int(h) for h in ahead),
        levels=LEVELS,
        values=to_bytes(said[good]),
    )


def _panel(wanted: Wanted, rows: NDArray[np.intp], ahead: NDArray[np.int64]) -> F64:
    model = make(wanted.candidate.model, wanted.season, int(ahead[-1]))
    model.begin(len(rows))
    model.observe(wanted.values[:, rows])
    return np.sort(model.forecast_array(ahead, LEVELS), axis=-1)


def _singles(wanted: Wanted, rows: NDArray[np.intp], ahead: NDArray[np.int64]) -> F64:
    forecaster = candidates.made(wanted.candidate, wanted.season)
    said = np.full((len(rows), len(ahead), len(LEVELS)), np.nan)
    offsets = None
    if not candidates.has_intervals(forecaster) and len(wanted.offsets):
        offsets = np.stack([np.interp(ahead, wanted.leads, column) for column in wanted.offsets.T], axis=1)
    for at, row in enumerate(rows):
        known = candidates.filled(wanted.values[-candidates.LONGEST :, row].astype(np.float64))
        start = wanted.end - len(known) * wanted.step
        with contextlib.suppress(Exception):  # somebody else's code: the series is left to the oracle's own model
            found = candidates.asked(forecaster, known, start, wanted.step, ahead)
            if found.shape[1] == 1 and offsets is not None:
                found = found + offsets * float(np.std(known))
            if found.shape[1] == len(LEVELS):
                said[at] = candidates.sane(found, known)
    return said
