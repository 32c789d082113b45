"""The network itself: two hidden layers, a short cut, and quantiles that cannot cross."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import SidestepError
from sidestep.forecasting.network.features import COUNT, KNOTS, WINDOWS
from sidestep.forecasting.network.memory import F32, LEVELS

#: what is said of every knot and window: a quantile a level
SAID: Final = len(KNOTS) + len(WINDOWS)
MEDIAN: Final = LEVELS.index(0.5)
#: how soft the corner of a width is at 0
CORNER: Final = 0.02
FILE: Final = "weights.npz"


class BadWeights(SidestepError):
    """Weights that do not fit this network."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What was learned; ``mean`` and ``unit`` make features of like size. All float32."""

    mean: F32
    unit: F32
    first: F32
    first_bias: F32
    second: F32
    second_bias: F32
    third: F32
    third_bias: F32
    short: F32

    def to_bytes(self) -> bytes:
        """As an npz archive of plain arrays."""
        file = io.BytesIO()
        np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Weights:
        """Raises BadWeights for anything but weights of this network; nothing in the bytes is ever run."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                found = {f.name: np.ascontiguousarray(archive[f.name], dtype=np.float32) for f in fields(cls)}
        except Exception as error:
            raise BadWeights(f"not the weights of a network: {type(error).__name__}: {error}") from error
        weights = cls(**found)
        weights.check()
        return weights

    def check(self) -> None:
        """Raises BadWeights unless all shapes fit each other and the features, and all numbers are finite."""
        hidden, second = self.first.shape[-1], self.second.shape[-1]
        wanted = {
            "mean": (COUNT,), "unit": (COUNT,), "first": (COUNT, hidden), "first_bias": (hidden,),
            "second": (hidden, second), "second_bias": (second,),
            "third": (second, SAID * len(LEVELS)), "third_bias": (SAID * len(LEVELS),),
            "short": (COUNT, SAID * len(LEVELS)),
        }  # fmt: skip
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise BadWeights(f"weights: {name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise BadWeights(f"weights: {name} holds numbers that are not finite")


def shipped() -> Weights:
    """The weights that come with the package; see CARD.md beside them."""
    data = (resources.files("sidestep.forecasting.network") / FILE).read_bytes()
    return Weights.from_bytes(data)


def widths(raw: F32) -> F32:
    """Distances that are above 0, smooth in ``raw``."""
    found = np.square(raw)
    found += np.float32(CORNER)
    np.sqrt(found, out=found)
    found += raw
    found *= np.float32(0.5)
    return found


def ladder(raw: F32) -> F32:
    """(Q, ...) ascending quantiles of (Q, ...): the median, and distances from it to both sides."""
    out = widths(raw)
    out[MEDIAN] = raw[MEDIAN]
    for level in range(MEDIAN + 1, len(LEVELS)):
        out[level] += out[level - 1]
    for level in range(MEDIAN - 1, -1, -1):
        np.subtract(out[level + 1], out[level], out=out[level])
    return out


class Network:
    """Forward passes only; what is learned of one series is never seen by another."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        unit = 1.0 / weights.unit
        shift = weights.mean * unit
        order = np.arange(SAID * len(LEVELS)).reshape(SAID, len(LEVELS)).T.reshape(-1)
        # the scaling of features goes into the layers that read them, and so do biases: a row for every output
        self._hidden = weights.second.shape[1]
        self._first = _with_bias((weights.first * unit[:, None]).T, weights.first_bias - shift @ weights.first)
        self._second = np.ascontiguousarray(weights.second.T)
        self._second_bias = weights.second_bias[:, None].copy()
        short = _with_bias((weights.short * unit[:, None]).T, weights.third_bias - shift @ weights.short)
        self._last = np.ascontiguousarray(np.concatenate([weights.third.T, short], axis=1)[order])

    def quantiles(self, seen: F32) -> F32:
        """(Q, SAID, S) of (COUNT, S) features, in scales from the location: knots first, then windows."""
        # the second layer, a row of ones, and the features: what the last layer reads, and the first one a part of
        read = np.empty((self._hidden + 1 + COUNT, seen.shape[1]), np.float32)
        read[self._hidden] = 1.0
        read[self._hidden + 1 :] = seen
        hidden = self._first @ read[self._hidden :]
        np.maximum(hidden, 0.0, out=hidden)
        second = np.matmul(self._second, hidden, out=read[: self._hidden])
        second += self._second_bias
        np.maximum(second, 0.0, out=second)
        return ladder((self._last @ read).reshape(len(LEVELS), SAID, -1))


def _with_bias(weights: F32, bias: NDArray[np.floating]) -> F32:
    """(outputs, 1 + inputs) weights of a row of ones and of the inputs."""
    return np.ascontiguousarray(np.concatenate([bias[:, None], weights], axis=1), dtype=np.float32)
