"""One decision for all pools: how many instances are to serve each app, and how many stand ready (S4.17–S4.20, S4.23).

Two questions over two leads. To serve: what an app needs by the time an activation that begins now has
ended. To stand READY: what all apps of the pool together may need beyond that, by the time an instance that is
warmed from now on would be ready; the newsvendor's answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.planning.pool.lead import highest_within, reach, steps_within
from sidestep.planning.pool.reactive import Reactive
from sidestep.planning.pool.sizing import around, deviates, excess, instances, level_of, newsvendor, value_at
from sidestep.planning.pool.steady import Stabiliser, Surprise, bound, step, within
from sidestep.planning.pool.terms import AGREED, Terms
from sidestep.planning.pool.terms import MEASURED as ALSO_BELOW

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: why an app is given what it is; the last that changed the number
REASONS: Final = ("forecast", "measured", "stabilised", "step", "bound", "no forecast")
FORECAST, MEASURED, STABILISED, STEP, BOUND, NO_FORECAST = range(len(REASONS))


@dataclass(frozen=True)
class Look:
    """What is known at ``now``: of apps quantiles (A, T, Q) of demand, places in use (A,), instances that serve (A,).

    Of pools the measured p95 (P,) of an activation and of warming, seconds; ``every`` is that of the time between two
    decisions, which may be longer than was meant. NaN in ``quantiles`` is an app that cannot
    be forecast (yet): only what is measured counts. NaN in ``load`` is not known.
    """

    now: float
    levels: tuple[float, ...]
    step: float
    quantiles: F64
    load: F64
    serving: I64
    activation: F64
    warming: F64
    every: float = 0.0


@dataclass(frozen=True)
class Decision:
    """Of apps (A,) what is to serve and why; of pools (P,) what is to stand ready, and the cost of ±1 (or NaN)."""

    active: I64
    #: what the forecast alone asked for, and what was added by measurement
    forecast: I64
    added: I64
    reason: I64
    ready: I64
    fewer: F64
    more: F64


class Decider:
    """Decides for a fixed set of pools every ``every`` seconds; it remembers what it asked for before."""

    def __init__(self, terms: Terms, every: float) -> None:
        self.terms, self.every = terms, every
        rows = terms.pool
        self._apps = np.bincount(rows, minlength=len(terms.most))
        self._z = deviates(level_of(terms.ratio))
        self._steady = Stabiliser(terms.stabilise[rows], every)
        self._surprise = Surprise(len(terms.most))
        self._reactive = Reactive(
            terms.react_high[rows], terms.react_low[rows], terms.react_most[rows], terms.shrink[rows] == ALSO_BELOW
        )
        self._active = np.zeros(len(rows), dtype=np.int64)

    def decide(self, look: Look, guessed: I64) -> Decision:
        """What is to be; ``guessed`` (P,) further instances stand ready for functions that are expected."""
        terms, rows, most = self.terms, self.terms.pool, look.quantiles.shape[1]
        places = terms.places[rows]
        every = max(self.every, look.every)
        soon = steps_within(reach(look.activation, terms.margin, every), look.step, most)
        later = steps_within(reach(look.activation + look.warming, terms.margin, every), look.step, most)
        blind = np.asarray(~np.isfinite(look.quantiles).all(axis=(1, 2)), dtype=np.bool_)
        quantiles = np.where(blind[:, None, None], 0.0, look.quantiles)
        near = highest_within(quantiles, soon[rows])
        far = highest_within(quantiles, np.maximum(soon, later)[rows])
        needed = instances(look.load, places)
        forecast = instances(value_at(look.levels, near, terms.activate[rows][:, None])[:, 0], places)
        # with no forecast there is only what is in use, and what served before goes on until that is known
        forecast = np.where(blind, np.where(np.isfinite(look.load), needed, look.serving), forecast)
        added = self._reactive.correct(look.load, look.serving, places, forecast)
        asked = np.maximum(forecast + added, 0)
        held = self._steady.hold(look.now, asked)
        # what is in use now needs its places, whatever is forecast; a load that is not known lets nothing go
        in_use = np.minimum(self._reactive.needed(look.load, places), look.serving)
        held = np.where(terms.shrink[rows] == AGREED, np.maximum(held, in_use), held)
        stepped = step(look.serving, held, terms.step_up[rows], terms.step_down[rows])
        active = within(bound(stepped, terms.least[rows], terms.most[rows]), terms.least[rows], rows, terms.most)
        reason = np.where(blind, NO_FORECAST, np.where(added != 0, MEASURED, FORECAST))
        for changed, code in ((held != asked, STABILISED), (stepped != held, STEP), (active != stepped, BOUND)):
            reason = np.where(changed, code, reason)
        ready, mean, sd = self._ready(look, far, active, needed, blind)
        free = np.maximum(terms.most - np.bincount(rows, active, len(terms.most)).astype(np.int64), 0)
        ready = np.minimum(np.maximum(ready, terms.ready_least) + guessed, free)
        self._active = active
        fewer, more = around(mean, sd, ready, terms.ratio)
        unknown = np.bincount(rows, blind, len(terms.most)) > 0
        return Decision(
            active, forecast, added, reason, ready, np.where(unknown, np.nan, fewer), np.where(unknown, np.nan, more)
        )

    def _ready(
        self, look: Look, far: F64, active: I64, needed: I64, blind: NDArray[np.bool_]
    ) -> tuple[I64, F64, F64]:  # fmt: skip
        """(P,) what is worth holding beyond ``active``, and mean and deviation of what may be needed of it."""
        terms, rows, pools = self.terms, self.terms.pool, len(self.terms.most)
        places = terms.places[rows]
        mean, variance = excess(look.levels, far, active, places)
        mean, variance = np.where(blind, 0.0, mean), np.where(blind, 0.0, variance)
        total = np.bincount(rows, mean, pools).astype(np.float64)
        beyond = np.maximum(needed - self._active, 0)
        self._surprise.learn(np.bincount(rows, beyond, pools).astype(np.float64))
        said = np.sqrt(np.bincount(rows, variance, pools).astype(np.float64))
        sd = said * self._surprise.factor
        self._surprise.expect(total, said)
        shared = np.ceil(total + self._z * sd - 1e-9)
        # of one app alone the whole distribution is known, not only two moments of it
        vendor = np.where(blind, 0, newsvendor(look.levels, far, terms.ratio[rows], places) - active)
        alone = np.bincount(rows, vendor, pools)
        return np.maximum(np.where(self._apps == 1, alone, shared), 0).astype(np.int64), total, sd
