"""How long an invocation will take, and what it will use, from the features of its input (S1.5, S1.7).

Online: every call that ends is learned in constant time, all functions of a batch together.
A function that was never called is predicted from all others, with their spread. Numbers and
the shape of this model are in ``durations_core``. No sktime, no I/O.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.invocations import Invocation
from sidestep.forecasting.durations_core import F64, KINDS, NUMBERS, SLOPE, TARGETS, WIDTH, Commons, Functions

__all__ = ["Durations", "Expected"]

#: most functions that are known at a time; the one that was not called for longest goes first
MOST: Final = 4096
#: log of what a call takes and uses before anything was seen: 0.1 s, 0.05 s, 32 MiB
GUESS: Final = np.log(np.array([0.1, 0.05, 32 << 20]))
#: logs of the least that is told apart: a microsecond, and a byte
LEAST: Final = np.array([1e-6, 1e-6, 1.0])
#: functions and calls of each from which all functions are judged, and calls between two judgements
FUNCTIONS: Final = 3
CALLS: Final = 3
EVERY: Final = 50
#: errors of all functions together that are remembered, and weight of the normal ones before
_COMMON: Final = 2048
_FIRST: Final = 200
#: slopes of one name in so many functions count as much as the assumption that there is none
_NAMESAKES: Final = 2.0


class Expected(Struct, frozen=True):
    """Quantiles of one call at ``levels``: seconds, processor seconds, bytes; NaN where it was never known.

    ``calls`` is how many calls of this function it rests on; 0 is a guess from all others.
    """

    levels: tuple[float, ...]
    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    max_rss: tuple[float, ...]
    calls: int


class Durations:
    """Learns calls with ``observe``, predicts them with ``predict``. Not thread-safe."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._rows: dict[str, int] = {}
        self._state = Functions(16)
        self._used = np.zeros(16, dtype=np.int64)
        self._clock = 0
        #: slots of numeric features by function and name, the value that each is measured from, and its moments
        self._slots: dict[int, dict[str, int]] = {}
        self._kinds: dict[int, dict[str, int]] = {}
        self._from = np.zeros((16, NUMBERS))
        self._moments = np.zeros((16, NUMBERS, 3))
        self._commons = Commons.fresh(GUESS.copy())
        self._errors = np.full((TARGETS, _COMMON), np.nan)
        self._placed = np.zeros(TARGETS, dtype=np.int64)
        #: slopes by name of feature, (M,) each
        self._namesakes: dict[str, F64] = {}
        self._heard = np.zeros(TARGETS, dtype=np.int64)
        self._judged = 0

    def observe(self, batch: Sequence[Invocation]) -> None:
        """Learn calls, oldest first. What is not known of a call (NaN) is not learned."""
        if not batch:
            return
        turns: dict[int, list[int]] = {}
        rows = np.array([self._row(each.app) for each in batch], dtype=np.int64)
        for place, row in enumerate(rows.tolist()):
            turns.setdefault(row, []).append(place)
        measures = np.array([each.measures[:TARGETS] for each in batch])
        y = np.log(np.maximum(measures, LEAST))
        # one call of every function at a time, until each has had all of its own
        for turn in range(max(map(len, turns.values()))):
            places = [own[turn] for own in turns.values() if len(own) > turn]
            x = np.stack([self._encoded(int(rows[p]), batch[p].x, learn=True)[0] for p in places])
            self._take(self._state.learn(rows[places], x, y[places], self._commons))
            self._heard += np.isfinite(y[places]).sum(axis=0)
            self._clock += len(places)
            self._used[rows[places]] = self._clock
        if self._clock - self._judged >= EVERY:
            self._judged = self._clock
            self._compare()

    def predict(
        self,
        app: str,
        features: Mapping[str, float | str] | None = None,
        levels: tuple[float, ...] = LEVELS,
    ) -> Expected:
        """What the next call of ``app`` with these features will take; levels ascending in (0, 1)."""
        found = self.predict_all([app], [features or {}], levels)[0]
        row = self._rows.get(app)
        calls = 0 if row is None else int(self._state.seen[row, 0])
        wall, cpu, rss = (tuple(values.tolist()) for values in found)
        return Expected(levels, wall, cpu, rss, calls)

    def predict_all(
        self, apps: Sequence[str], features: Sequence[Mapping[str, float | str]], levels: tuple[float, ...] = LEVELS
    ) -> F64:
        """(K, M, Q) quantiles of K calls: wall_s, cpu_s, max_rss. Raises ValueError for levels that do not rise."""
        if not levels or any(not a < b for a, b in zip((0.0, *levels), (*levels, 1.0), strict=True)):
            raise ValueError("levels rise, and lie between 0 and 1")
        if len(apps) != len(features):
            raise ValueError(f"{len(apps)} apps, but features of {len(features)} calls")
        if not apps:
            return np.zeros((0, TARGETS, len(levels)))
        known = [self._rows.get(app, -1) for app in apps]
        state, rows = self._state, np.array(known, dtype=np.int64)
        if -1 in known:
            # a function that was never called is like an empty row
            state = Functions(len(apps))
            mine = np.flatnonzero(rows >= 0)
            for name, value in vars(self._state).items():
                target = getattr(state, name)
                if name in ("squares", "weight", "loss"):
                    target[:, mine] = value[:, rows[mine]]
                else:
                    target[mine] = value[rows[mine]]
        pairs = [
            self._encoded(row, tuple(given.items()), learn=False) for row, given in zip(known, features, strict=True)
        ]
        x, extra = np.stack([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
        where = np.arange(len(apps)) if -1 in known else rows
        found = np.exp(state.say(where, x, extra, self._commons, tuple(levels)))
        found[:, self._heard == 0] = np.nan
        return np.asarray(found)

    @property
    def functions(self) -> tuple[str, ...]:
        """The apps that were seen."""
        return tuple(self._rows)

    def _encoded(self, row: int, features: Sequence[tuple[str, float | str]], *, learn: bool) -> tuple[F64, float]:
        """(D,) the input as the regression takes it, and the variance of what is not known about it."""
        x, extra = np.zeros(WIDTH), 0.0
        x[0] = 1.0
        slots = self._slots.setdefault(row, {}) if learn else self._slots.get(row, {})
        given = set()
        for name, value in features:
            if isinstance(value, str):
                x[1 + NUMBERS + self._kind(row, f"{name}={value}", learn)] = 1.0
                continue
            number = math.copysign(math.log1p(abs(value)), value) if math.isfinite(value) else 0.0
            slot = slots.get(name)
            if slot is None and learn and len(slots) < NUMBERS:
                slot = slots[name] = len(slots)
                self._from[row, slot] = number
                self._state.prior[row, :, 1 + slot] = self._namesakes.get(name, 0.0)
            if slot is None:
                extra += 0.0 if learn else SLOPE**2
                continue
            given.add(slot)
            x[1 + slot] = number - self._from[row, slot]
            if learn:
                self._moments[row, slot] += 1.0, x[1 + slot], x[1 + slot] ** 2
        for slot in set(slots.values()) - given:
            # not told this time: as it usually is, give or take what that usually makes
            count, total, squares = self._moments[row, slot].tolist()
            x[1 + slot] = total / max(count, 1.0)
            spread = max(0.0, squares / max(count, 1.0) - x[1 + slot] ** 2)
            extra += float(np.max(self._state.coefficients[row, :, 1 + slot] ** 2)) * spread
        return x, extra

    def _kind(self, row: int, value: str, learn: bool) -> int:
        """The bucket of a kind: the first ones have one each, further ones share them by hash."""
        kinds = self._kinds.setdefault(row, {}) if learn else self._kinds.get(row, {})
        found = kinds.get(value)
        if found is None and len(kinds) < KINDS:
            found = len(kinds)
            if learn:
                kinds[value] = found
        return zlib.crc32(value.encode()) % KINDS if found is None else found

    def _row(self, app: str) -> int:
        row = self._rows.get(app)
        if row is not None:
            self._used[row] = self._clock
            return row
        if len(self._rows) >= self._most:
            oldest = min(self._rows, key=lambda name: int(self._used[self._rows[name]]))
            row = self._rows.pop(oldest)
            self._state.reset(row)
            self._slots.pop(row, None)
            self._kinds.pop(row, None)
            self._moments[row] = 0.0
        else:
            row = len(self._rows)
            if row >= len(self._used):
                size = min(self._most, 2 * len(self._used))
                more = size - len(self._used)
                self._state = self._state.grown(size)
                self._used = np.concatenate([self._used, np.zeros(more, dtype=np.int64)])
                self._from = np.concatenate([self._from, np.zeros((more, NUMBERS))])
                self._moments = np.concatenate([self._moments, np.zeros((more, NUMBERS, 3))])
        self._rows[app] = row
        self._used[row] = self._clock
        return row

    def _take(self, errors: F64) -> None:
        """Remember the standardised errors (K, M) of all functions."""
        for target in range(TARGETS):
            fresh = errors[np.isfinite(errors[:, target]), target]
            places = (self._placed[target] + np.arange(len(fresh))) % _COMMON
            self._errors[target, places] = fresh
            self._placed[target] += len(fresh)

    def _compare(self) -> None:
        """Learn what all functions have in common: levels, errors, and slopes by name of feature."""
        state, count = self._state, len(self._rows)
        values = state.values[:count].astype(np.float64)
        enough = np.isfinite(values).sum(axis=-1) >= CALLS
        fresh = Commons.fresh(GUESS.copy())
        levels = (np.arange(fresh.errors.shape[1]) + 0.5) / fresh.errors.shape[1]
        for target in range(TARGETS):
            chosen = enough[:, target]
            if chosen.sum() >= FUNCTIONS:
                own = np.nanmean(values[chosen, target], axis=-1)
                number = len(own)
                fresh.level[target] = (own.sum() + GUESS[target]) / (number + 1)
                fresh.spread[target] = max(0.1, (((own - own.mean()) ** 2).sum() + 9.0) / number)
            errors = self._errors[target][np.isfinite(self._errors[target])]
            if len(errors) >= GRID_FROM:
                share = len(errors) / (len(errors) + _FIRST)
                fresh.errors[target] = share * np.quantile(errors, levels) + (1 - share) * fresh.errors[target]
        self._commons = fresh
        self._share_slopes(count)

    def _share_slopes(self, count: int) -> None:
        """By name: the mean of its slopes, by how well each is known, drawn towards none."""
        sums: dict[str, tuple[F64, F64]] = {}
        for row, slots in self._slots.items():
            if row >= count:
                continue
            for name, slot in slots.items():
                weight = 1 / (self._state.variances[row, :, 1 + slot] + 0.1)
                weight[self._state.seen[row] < CALLS] = 0.0
                total, mass = sums.get(name, (np.zeros(TARGETS), np.full(TARGETS, _NAMESAKES)))
                sums[name] = total + weight * self._state.coefficients[row, :, 1 + slot], mass + weight
        self._namesakes = {name: total / mass for name, (total, mass) in sums.items()}


#: errors from which their distribution is taken for that of all functions
GRID_FROM: Final = 50
