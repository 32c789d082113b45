"""A sketch of a distribution that can be added to others: counts of logarithmic bins.

Bin ``k`` holds values in ``low * GAMMA**(k-1) < value <= low * GAMMA**k``, so that every
quantile is right to within 5 %, whatever the values are, and the sketch of a day is the sum
of the sketches of its hours. Bin 0 holds what is smaller, the last one what is larger.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Counts = NDArray[np.int64]

GAMMA: Final = 1.1
BINS: Final = 320
#: upper end of bin 0 for seconds and for bytes: 320 bins reach 13 decimal places up from there
SECONDS: Final = 1e-7
BYTES: Final = 1.0
#: the scale of each of ``invocations.MEASURES``
LOWS: Final = (SECONDS, SECONDS, BYTES, BYTES)
_STEP: Final = float(np.log(GAMMA))


def bins(values: NDArray[np.floating], low: float) -> Counts:
    """The bin of every value; NaN counts as the smallest, so leave unknown ones out before."""
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.ceil(np.log(np.maximum(np.asarray(values, dtype=np.float64), low) / low) / _STEP - 1e-9)
    return np.asarray(np.clip(np.nan_to_num(place, nan=0.0), 0, BINS - 1), dtype=np.int64)


def sketch(values: NDArray[np.floating], low: float, weights: NDArray[np.integer] | None = None) -> Counts:
    """(BINS,) how many values are in each bin; unknown (NaN) values are left out."""
    known = ~np.isnan(values)
    weight = None if weights is None else np.asarray(weights)[known]
    counted = np.bincount(bins(np.asarray(values)[known], low), weights=weight, minlength=BINS)
    return np.asarray(np.rint(counted), dtype=np.int64)


def quantiles(counts: Counts, levels: tuple[float, ...], low: float) -> F64:
    """(..., Q) of sketches (..., BINS); NaN for an empty one."""
    counts = np.asarray(counts, dtype=np.int64)
    total = counts.sum(axis=-1, keepdims=True)
    rank = np.maximum(np.ceil(np.asarray(levels) * total), 1.0)
    # the first bin at which so many are reached
    place = (np.cumsum(counts, axis=-1)[..., None, :] < rank[..., :, None]).sum(axis=-1)
    middle = low * GAMMA ** (place - 0.5)
    return np.where(total > 0, np.where(place == 0, low, middle), np.nan)


def pack(counts: Counts) -> bytes:
    """A few dozen bytes for what is usual: only the bins that hold something, compressed."""
    used = np.flatnonzero(counts)
    held = np.asarray(counts)[used]
    return zlib.compress(used.astype("<u2").tobytes() + held.astype("<u8").tobytes(), 1)


def unpack(data: bytes) -> Counts:
    """The sketch again. Raises ValueError for bytes that are none."""
    try:
        opener = zlib.decompressobj()
        plain = opener.decompress(data, BINS * 10 + 1)
    except zlib.error as error:
        raise ValueError(f"not a sketch: {error}") from error
    number, rest = divmod(len(plain), 10)
    if rest or number > BINS:
        raise ValueError("not a sketch: its length is wrong")
    used = np.frombuffer(plain[: 2 * number], "<u2").astype(np.int64)
    if number and (used.max() >= BINS or (np.diff(used) <= 0).any()):
        raise ValueError("not a sketch: its bins are not in order")
    counts = np.zeros(BINS, dtype=np.int64)
    counts[used] = np.frombuffer(plain[2 * number :], "<u8").astype(np.int64)
    return counts
