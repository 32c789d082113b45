"""Keep-alive policies on the same slots as ours: a fixed time, the hybrid histogram, and perfect knowledge.

Requests go to the instance that was used last, so instance i is busy while more than i are needed. What comes
when every warm instance is full starts a new one, and each such request meets a cold start. Instance-hours are
those of warm instances, busy or not.

The hybrid histogram is the policy of "Serverless in the Wild" (Shahrad et al., USENIX ATC 2020, section 4):
idle times in bins of a minute up to four hours; the head is the 5th percentile, rounded down and less 10 %,
the tail the 99th, rounded up and 10 % more; an image is unloaded after its execution, loaded again at the head
and kept until the tail; with a head of 0 it is kept from the end of its execution on. Where the counts of the bins
have a coefficient of variation below 2, the image is kept for the range of the histogram; where more than half of the
idle times are beyond the range, the next idle time is forecast from those before, and the image is kept
15 % around it. The paper fits ARIMA by pmdarima there; here it is an AR(1) with a mean, by least squares.
The paper has one image an application. Of several at once two readings are replayed: every place in the stack of
instances has a histogram of its own ("by place"), or all share that of their application ("by app").
"""

from __future__ import annotations

from typing import Any, Final

import numba  # type: ignore[import-untyped,unused-ignore]
import numpy as np
from numpy.typing import NDArray

from benchmarks.pools.demand import SLOT, SLOTS

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

_njit: Any = numba.njit(cache=True)
_MINUTE: Final = 60 // SLOT
_BINS: Final = 240
_HEAD, _TAIL, _MARGIN, _CV = 0.05, 0.99, 0.1, 2.0
_ARIMA_MARGIN: Final = 0.15
#: idle times beyond the range that are remembered for the forecast
_KEPT: Final = 32


@_njit
def fixed(requests: I32, places: int, minutes: float, begin: int) -> tuple[F64, F64]:
    """(S,) requests that met a cold start, and slots of warm instances, with a fixed keep-alive."""
    slots, count = requests.shape
    cold, warm_slots = np.zeros(count), np.zeros(count)
    keep = int(minutes * _MINUTE)
    for s in range(count):
        most = 0
        for t in range(slots):
            most = max(most, requests[t, s])
        last = np.full(most // places + 2, -1_000_000_000)
        for t in range(slots):
            need = (requests[t, s] + places - 1) // places
            warm = 0
            for level in range(len(last)):
                if t - last[level] <= keep:
                    warm += 1
            for level in range(need):
                last[level] = t
            if t >= begin:
                cold[s] += max(0, requests[t, s] - places * warm)
                warm_slots[s] += max(warm, need)
    return cold, warm_slots


@_njit
def _windows(bins: I64, beyond: int, known: F64, number: int) -> tuple[float, float]:
    """Slots after an execution until the image is loaded (0: it stays), and until it is unloaded again."""
    total = 0
    for each in bins:
        total += each
    range_ = float(_BINS * _MINUTE)
    if beyond > total and number >= 2:
        guess = _next_idle(known, number)
        return guess * (1 - _ARIMA_MARGIN), guess * (1 + _ARIMA_MARGIN)
    if total == 0:
        return 0.0, range_
    mean = total / len(bins)
    squares = 0.0
    for each in bins:
        squares += (each - mean) ** 2
    if np.sqrt(squares / len(bins)) / mean < _CV:
        return 0.0, range_
    head, tail, seen = -1, -1, 0
    for at in range(len(bins)):
        seen += bins[at]
        if head < 0 and seen >= _HEAD * total:
            head = at
        if seen >= _TAIL * total:
            tail = at + 1
            break
    return float(int(head * _MINUTE * (1 - _MARGIN))), tail * _MINUTE * (1 + _MARGIN)


@_njit
def _next_idle(known: F64, number: int) -> float:
    """The next idle time by an AR(1) with a mean over the newest ones."""
    size = min(number, len(known))
    mean = 0.0
    for at in range(size):
        mean += known[(number - size + at) % len(known)] / size
    up, down = 0.0, 0.0
    for at in range(1, size):
        before = known[(number - size + at - 1) % len(known)] - mean
        up += before * (known[(number - size + at) % len(known)] - mean)
        down += before * before
    phi = min(max(up / down, -0.99), 0.99) if down > 0 else 0.0
    return max(mean + phi * (known[(number - 1) % len(known)] - mean), 1.0)


@_njit
def hybrid(requests: I32, places: int, by_app: bool, begin: int) -> tuple[F64, F64]:
    """The same with the hybrid histogram policy; ``by_app``: one histogram for all instances of a pool."""
    slots, count = requests.shape
    cold, warm_slots = np.zeros(count), np.zeros(count)
    for s in range(count):
        most = 0
        for t in range(slots):
            most = max(most, requests[t, s])
        levels = most // places + 2
        owners = 1 if by_app else levels
        bins = np.zeros((owners, _BINS), dtype=np.int64)
        beyond = np.zeros(owners, dtype=np.int64)
        known, number = np.zeros((owners, _KEPT)), np.zeros(owners, dtype=np.int64)
        ended = np.full(levels, -1)
        load, unload = np.full(levels, 1e18), np.full(levels, -1.0)
        before = 0
        for t in range(slots):
            need = (requests[t, s] + places - 1) // places
            # those that stop now decide when to be unloaded and loaded again
            for level in range(need, before):
                owner = 0 if by_app else level
                ended[level] = t
                head, tail = _windows(bins[owner], beyond[owner], known[owner], number[owner])
                load[level], unload[level] = t + head, t + tail
            warm = min(before, need)
            for level in range(warm, levels):
                if ended[level] >= 0 and load[level] <= t <= unload[level]:
                    warm += 1
            for level in range(before, need):
                owner = 0 if by_app else level
                if ended[level] >= 0:
                    idle = t - ended[level]
                    at = idle // _MINUTE
                    known[owner, number[owner] % _KEPT] = idle
                    number[owner] += 1
                    if at < _BINS:
                        bins[owner, at] += 1
                    else:
                        beyond[owner] += 1
                ended[level] = -1
            if t >= begin:
                cold[s] += max(0, requests[t, s] - places * warm)
                warm_slots[s] += max(warm, need)
            before = need
    return cold, warm_slots


def oracle(requests: I32, places: int, begin: int) -> tuple[F64, F64]:
    """Perfect knowledge, deciding when ours decides: in each tick exactly what it needs at most; no cold start."""
    need = -(-requests[begin:] // places)
    held = need.reshape(-1, SLOTS, need.shape[1]).max(axis=1).sum(axis=0) * SLOTS
    return np.zeros(requests.shape[1]), held.astype(np.float64)


@_njit
def held(requests: I32, places: int, active: I64, ready: I64, pool: I64, begin: int) -> tuple[F64, F64, F64]:
    """Ours: (S,) requests met cold and by an activation, (1,) slots of instances that are warm.

    ``active`` (T / SLOTS, S) serve, ``ready`` (T / SLOTS, P) stand ready for all series of a ``pool`` (S,). What is
    activated, or started cold, beyond that stays until the tick's end. Who comes when not all can be
    activated that are needed is treated alike: the same share of each is cold.
    """
    slots, count = requests.shape
    cold, activated, warm_slots = np.zeros(count), np.zeros(count), np.zeros(1)
    serving, wanting = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    left, asked = np.zeros(ready.shape[1]), np.zeros(ready.shape[1])
    for t in range(slots):
        tick = t // SLOTS
        if t % SLOTS == 0:
            for s in range(count):
                serving[s] = active[tick, s]
            for p in range(len(left)):
                left[p] = ready[tick, p]
        asked[:] = 0
        for s in range(count):
            wanting[s] = max(0, (requests[t, s] + places - 1) // places - serving[s])
            asked[pool[s]] += wanting[s]
        for s in range(count):
            if wanting[s] > 0:
                share = min(1.0, left[pool[s]] / asked[pool[s]])
                if t >= begin:
                    waiting = requests[t, s] - places * serving[s]
                    cold[s] += waiting * (1 - share)
                    activated[s] += waiting * share
                serving[s] += wanting[s]
            if t >= begin:
                warm_slots[0] += serving[s]
        for p in range(len(left)):
            left[p] = max(0.0, left[p] - asked[p])
            if t >= begin:
                warm_slots[0] += left[p]
    return cold, activated, warm_slots
