"""One logistic regression for the whole fleet, learned online from what came.

A Gaussian belief about the weights (the Laplace approximation, one Newton step per batch), which
fades back to the coefficients it began with: a fleet that has seen little is judged by these, one
that has seen much by its own past. Each series has an offset beside, shrunken towards none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

#: so many independent windows the coefficients are worth that it begins with
TRUST: Final = 400.0
#: what is left of a batch after so many steps' worth of windows: a fleet changes
MEMORY: Final = 5000.0
#: the variance of a series' own offset, before anything was seen
OWN: Final = 0.15
#: an offset forgets after so many windows
OWN_MEMORY: Final = 300.0
_STEEPEST: Final = 12.0


def logistic(values: F64) -> F64:
    """1 / (1 + exp(-values)), never 0 or 1."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -_STEEPEST, _STEEPEST))), dtype=np.float64)


def log_odds(chance: F64, least: float = 1e-4) -> F64:
    """The inverse of ``logistic``, bounded."""
    held = np.clip(chance, least, 1 - least)
    return np.asarray(np.log(held / (1 - held)), dtype=np.float64)


class Pool:
    """Chances of ``rows`` series from columns of signs; ``start`` (F + 1,) are weights, the last one constant.

    ``share`` is the part of an independent window that one row of a batch stands for, since
    windows overlap. ``scale`` (F,) says how the signs vary, so that doubt is alike in all.
    """

    def __init__(self, rows: int, start: F64, scale: F64, share: float) -> None:
        self._start, self._share = start, share
        self._doubt = np.diag(np.append(np.square(scale), 1.0)) * TRUST * 0.05
        self._precision = self._doubt.copy()
        self.weights = start.copy()
        self.own = np.zeros(rows)
        self._certain = np.zeros(rows)

    def chance(self, signs: NDArray[np.floating]) -> F64:
        """(n,) of every series, by its row of ``signs`` (n, F)."""
        return logistic(signs @ self.weights[:-1] + self.weights[-1] + self.own)

    def learn(self, signs: NDArray[np.floating], came: NDArray[np.bool_], where: NDArray[np.bool_]) -> None:
        """What was said from ``signs`` (n, F) has come or not (n,), for the series ``where``."""
        rows = np.flatnonzero(where)
        if not rows.size:
            return
        x = np.concatenate([signs[rows].astype(np.float64), np.ones((len(rows), 1))], axis=1)
        p = logistic(x @ self.weights + self.own[rows])
        error, weight = came[rows] - p, p * (1 - p)
        keep = 1 - min(0.05, self._share * len(rows) / (MEMORY * max(1.0, len(self.own) / 50.0)))
        pull = (1 - keep) * self._doubt @ (self._start - self.weights)
        self._precision = keep * self._precision + (1 - keep) * self._doubt
        self._precision += self._share * (x * weight[:, None]).T @ x
        gradient = self._share * (error @ x) + pull
        self.weights = self.weights + np.linalg.solve(self._precision, gradient)
        self._certain[rows] = self._certain[rows] * (1 - self._share / OWN_MEMORY) + self._share * weight
        gain = self._share / (self._certain[rows] + 1 / OWN)
        self.own[rows] += gain * (error - self.own[rows] / OWN / OWN_MEMORY)

    def select(self, rows: NDArray[np.int64]) -> None:
        """Keep and reorder series; -1 is one without an offset."""
        kept = np.maximum(rows, 0)
        if len(self.own):
            self.own = np.where(rows >= 0, self.own[kept], 0.0)
            self._certain = np.where(rows >= 0, self._certain[kept], 0.0)
        else:
            self.own, self._certain = np.zeros(len(rows)), np.zeros(len(rows))
