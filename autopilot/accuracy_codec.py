"""Accuracy boards as small blobs: chunks of names, every number in as many bytes as it is worth.

A blob is the planes of a chunk of ``CHUNK`` names one after the other (all high bytes of n,
all low bytes, ...), deflated: 11 bytes a series and horizon before, about half after.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.accuracy import COLUMNS

Array = NDArray[Any]

#: names in a chunk: what is read to know one of them
CHUNK: Final = 128
#: bytes a series and horizon, and a series
_EACH: Final = 11
_ONCE: Final = 3
#: fast: the daemon packs while it works
_LEVEL: Final = 1


def pack(values: Array, chance: Array, reactive: Array, served: Array) -> list[bytes]:
    """One blob a chunk of (K * CHUNK, M, B, 7) values and (K * CHUNK, M) of the others."""
    chunks = len(values) // CHUNK
    n, skill, in80, in95, loss, error, bias = (values[..., at] for at in range(len(COLUMNS)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lean = np.where(error > 0, bias / np.where(error > 0, error, 1), 0 * bias)
        planes = [
            *_halves(np.round(np.clip(np.nan_to_num(n), 0, 65535)).astype(np.uint16)),
            *_halves(_whole(skill, 1000, 32767, np.int16).view(np.uint16)),
            _whole(in80, 250, 250, np.int16).astype(np.uint8),
            _whole(in95, 250, 250, np.int16).astype(np.uint8),
            *_halves(_short(loss)),
            *_halves(_short(error)),
            _whole(lean, 125, 125, np.int16).astype(np.uint8),
        ]
    once = [_whole(chance, 250, 250, np.int16).astype(np.uint8), reactive.astype(np.uint8), served.astype(np.uint8)]
    body = np.stack([plane.reshape(chunks, -1) for plane in planes], axis=1).reshape(chunks, -1)
    tail = np.stack([plane.reshape(chunks, -1) for plane in once], axis=1).reshape(chunks, -1)
    whole = np.concatenate([body, tail], axis=1)
    return [zlib.compress(row.tobytes(), _LEVEL) for row in whole]


def unpack(blob: bytes, metrics: int, horizons: int) -> tuple[Array, Array, Array, Array]:
    """(CHUNK, M, B, 7) values and (CHUNK, M) of the others. Raises ValueError for what is not such a blob."""
    each, once = CHUNK * metrics * horizons, CHUNK * metrics
    size = each * _EACH + once * _ONCE
    unzip = zlib.decompressobj()
    try:
        data = unzip.decompress(blob, size + 1)
    except zlib.error as broken:
        raise ValueError(f"a damaged blob: {broken}") from broken
    if len(data) != size:
        raise ValueError(f"a blob of {len(data)} bytes, not {size}")
    flat = np.frombuffer(data, np.uint8)
    p = flat[: each * _EACH].reshape(_EACH, CHUNK, metrics, horizons)
    q = flat[each * _EACH :].reshape(_ONCE, CHUNK, metrics)
    error = _long(_join(p[8], p[9]))
    columns = (
        _join(p[0], p[1]).astype(np.float32),
        _known(_join(p[2], p[3]).view(np.int16), 1000),
        _known(p[4].view(np.int8), 250, unsigned=True),
        _known(p[5].view(np.int8), 250, unsigned=True),
        _long(_join(p[6], p[7])),
        error,
        _known(p[10].view(np.int8), 125) * error,
    )
    chance = _known(q[0].view(np.int8), 250, unsigned=True)
    return np.stack(columns, axis=-1), chance, q[1].astype(bool), q[2]


def _halves(values: NDArray[np.uint16]) -> tuple[Array, Array]:
    return (values >> 8).astype(np.uint8), (values & 255).astype(np.uint8)


def _join(high: Array, low: Array) -> NDArray[np.uint16]:
    return (high.astype(np.uint16) << np.uint16(8)) | low


#: what says "not known": the lowest of each width, or the highest of an unsigned byte
def _whole(values: Array, steps: int, most: int, kind: type[np.signedinteger[Any]]) -> Array:
    known = np.isfinite(values)
    found = np.clip(np.round(np.where(known, values, 0) * steps), -most, most)
    unknown = {250: 255, 125: -128}.get(steps, -32768)
    return np.where(known, found, unknown).astype(kind)


def _known(values: Array, steps: int, *, unsigned: bool = False) -> NDArray[np.float32]:
    if unsigned:
        values = values.view(np.uint8)
        unknown = values == 255
    else:
        unknown = values == np.iinfo(values.dtype).min
    found = values.astype(np.float32) / np.float32(steps)
    return np.where(unknown, np.float32(np.nan), found)


def _short(values: Array) -> NDArray[np.uint16]:
    """The upper half of a float32, NaN as NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isfinite(values), rounded, np.uint16(0x7FC0))


def _long(short: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (short.astype(np.uint32) << np.uint32(16)).view(np.float32)
