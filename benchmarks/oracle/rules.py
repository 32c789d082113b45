"""The three simple rules that the product must never be worse than, in plain numpy, strong on purpose.

Each takes history (t, S), horizons (B,), levels (Q,) and the steps in a day, and says (S, B, Q).
Quantiles are empirical ones of the last day; with few samples they lean on what those
samples suggest instead (errors that grow with the root of the horizon, Student's t), so that
three samples already make a decent forecast. Nothing of the product is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Rule = Callable[[F64, I64, F64, int], F64]

#: so many independent samples weigh as much as what is assumed
DOUBT: Final = 8.0
#: spread of a series of which a single value is known, as a share of it
GUESS: Final = 0.1


def empirical(values: F64, levels: F64) -> tuple[F64, I64]:
    """(S, Q) quantiles of the known ones of (n, S), and how many (S,) are known; NaN where none is."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(values).sum(axis=0)
    place = np.clip(levels * (count[:, None] + 1) - 1, 0, np.maximum(count - 1, 0)[:, None])
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None])
    if not len(values):
        return np.full((values.shape[1], len(levels)), np.nan), count
    series = np.arange(values.shape[1])[:, None]
    at_low, at_high = ordered[low, series], ordered[high, series]
    return at_low + (at_high - at_low) * (place - low), count


def filled(history: F64) -> F64:
    """The last known value at every step; NaN before the first."""
    steps = np.where(np.isfinite(history), np.arange(len(history))[:, None], 0)
    found: F64 = np.take_along_axis(history, np.maximum.accumulate(steps, axis=0), axis=0)
    return found


def _moments(values: F64) -> tuple[F64, F64, I64]:
    """Mean, standard deviation (n - 1) and count of what is known on the first axis; 0 where it is not."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    square = np.where(known, values - mean, 0.0) ** 2
    return mean, np.sqrt(square.sum(axis=0) / np.maximum(count - 1, 1)), count


def _lean(found: F64, count: F64, assumed: F64) -> F64:
    """``found`` where many samples are behind it, ``assumed`` where none is."""
    weight = (count / (count + DOUBT))[:, None]
    return np.where(np.isfinite(found), weight * np.nan_to_num(found) + (1 - weight) * assumed, assumed)


def _finish(found: F64, history: F64) -> F64:
    """Quantiles in order, and not below 0 where nothing ever was."""
    found = np.sort(found, axis=-1)
    low = np.where(np.isfinite(history), history, np.inf).min(axis=0, initial=np.inf)
    positive = (low >= 0)[:, None, None]
    return np.where(positive, np.maximum(found, 0.0), found)


def _steps_spread(history: F64, filled_: F64, day: int) -> tuple[F64, F64]:
    """(S,) root mean square of one-step errors, and the most that errors can grow to, from the last day."""
    recent, before = history[-day:], filled_[-day - 1 : -1]
    recent = recent[len(recent) - len(before) :]
    errors = recent - before
    known = np.isfinite(errors)
    count = known.sum(axis=0)
    square = np.where(known, errors, 0.0) ** 2
    one = np.sqrt(square.sum(axis=0) / np.maximum(count, 1))
    _, deviation, _ = _moments(history[-day:])
    guess = GUESS * np.abs(np.nan_to_num(filled_[-1]))
    one = np.where(count > 0, one, guess)
    return one, np.maximum(one, np.sqrt(2.0) * deviation)


def persistence(history: F64, horizons: I64, levels: F64, day: int) -> F64:
    """The last value, and quantiles of how wrong that was at each horizon over the last day."""
    last = filled(history)
    one, most = _steps_spread(history, last, day)
    normal = special.ndtri(levels)
    found = np.empty((history.shape[1], len(horizons), len(levels)))
    for at, ahead in enumerate(horizons.tolist()):
        errors = (history[ahead:] - last[: len(history) - ahead])[-day:] if ahead < len(history) else history[:0]
        seen, count = empirical(errors, levels)
        spread = np.minimum(one * np.sqrt(ahead), most)
        # errors of long horizons overlap, so each says less
        found[:, at] = _lean(seen, count / np.sqrt(ahead), spread[:, None] * normal)
    return _finish(last[-1][:, None, None] + found, history)


def seasonal(history: F64, horizons: I64, levels: F64, day: int) -> F64:
    """The value one day before, and quantiles of how wrong that was over the last day; persistence before a day."""
    plain = persistence(history, horizons, levels, day)
    count = len(history)
    last = filled(history)
    places = count - 1 + horizons
    places = places - day * np.maximum(1, -(-(places - count + 1) // day))
    if count < day + 1:
        return plain
    centre = last[np.maximum(places, 0)].T
    errors = (history[day:] - last[:-day])[-day:]
    seen, known = empirical(errors, levels)
    _, deviation, _ = _moments(history[-day:])
    said = _lean(seen, known.astype(np.float64), np.sqrt(2.0) * deviation[:, None] * special.ndtri(levels))
    found = _finish(centre[:, :, None] + said[:, None, :], history)
    usable = np.isfinite(centre) & (places >= 0)
    return np.where(usable[:, :, None], found, plain)


def window(history: F64, horizons: I64, levels: F64, day: int) -> F64:
    """Quantiles of the last day's values (of all of them when it is younger), the same at every horizon."""
    recent = history[-day:]
    seen, count = empirical(recent, levels)
    mean, deviation, _ = _moments(recent)
    guess = np.where(count > 1, deviation, GUESS * np.abs(mean))
    freedom = np.maximum(count - 1, 1).astype(np.float64)
    width = special.stdtrit(np.minimum(freedom, 1e6)[:, None], levels)
    # one difference has no variance to speak of: its t would reach for the sky
    width = np.where(freedom[:, None] < 2, special.ndtri(levels) * 2.0, width)
    assumed = mean[:, None] + guess[:, None] * np.sqrt(1 + 1 / np.maximum(count, 1))[:, None] * width
    assumed = np.where((count > 0)[:, None], assumed, filled(history)[-1][:, None])
    found = np.repeat(_lean(seen, count.astype(np.float64), assumed)[:, None, :], len(horizons), axis=1)
    return _finish(found, history)


RULES: Final[Mapping[str, Rule]] = {"persistence": persistence, "seasonal": seasonal, "window": window}
