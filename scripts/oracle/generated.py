"""Generated demand of many kinds, so that the network has seen what no public trace shows.

Every kind is drawn with its own random size, level, noise and pace; all are at least 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
G = np.random.Generator


def _noise(g: G, steps: int, series: int) -> F64:
    """Short memory, and tails of different weight."""
    memory = g.uniform(0, 0.9, series)
    heavy = g.random(series) < 0.3
    shocks = np.where(heavy, g.standard_t(3, (steps, series)), g.normal(size=(steps, series)))
    out = np.zeros((steps, series))
    for t in range(1, steps):
        out[t] = memory * out[t - 1] + shocks[t]
    return out / np.sqrt(1 / (1 - memory**2))


def _wave(g: G, steps: int, series: int, season: float) -> F64:
    """A few harmonics of the season, or of a random period where there is none."""
    period = np.full(series, season) if season else g.uniform(20, 400, series)
    t = np.arange(steps)[:, None]
    out = np.zeros((steps, series))
    for k in (1, 2, 3):
        out += g.normal(0, 1 / k, series) * np.sin(2 * np.pi * (k * t / period + g.random(series)))
    return out


def level(g: G, steps: int, series: int, season: float) -> F64:
    """Noise about a level."""
    return g.uniform(0.02, 0.5, series) * _noise(g, steps, series)


def wave(g: G, steps: int, series: int, season: float) -> F64:
    """A season with noise."""
    return g.uniform(0.2, 1, series) * _wave(g, steps, series, season) + level(g, steps, series, season) * 0.5


def ramp(g: G, steps: int, series: int, season: float) -> F64:
    """Slopes that begin and end, between flat parts."""
    slope = np.zeros((steps, series))
    for _ in range(max(2, steps // 200)):
        begin, last = g.integers(0, steps, series), g.integers(10, 150, series)
        rise = g.normal(0, 1.5, series) / last
        inside = (np.arange(steps)[:, None] >= begin) & (np.arange(steps)[:, None] < begin + last)
        slope += inside * rise
    return np.cumsum(slope, axis=0) + level(g, steps, series, season) * g.uniform(0.05, 0.5, series)


def walk(g: G, steps: int, series: int, season: float) -> F64:
    """A random walk that is drawn back weakly."""
    pull = g.choice([0, 0.003, 0.03], series)
    out = np.zeros((steps, series))
    shocks = g.normal(0, 0.05, (steps, series))
    for t in range(1, steps):
        out[t] = out[t - 1] * (1 - pull) + shocks[t]
    return out + level(g, steps, series, season) * g.uniform(0, 0.2, series)


def shifts(g: G, steps: int, series: int, season: float) -> F64:
    """Levels that last, then jump."""
    jump = g.random((steps, series)) < g.uniform(0.002, 0.03, series)
    return np.cumsum(jump * g.normal(0, 0.6, (steps, series)), axis=0) * 0.7 + level(g, steps, series, season) * 0.2


def bursts(g: G, steps: int, series: int, season: float) -> F64:
    """Quiet with spikes of random height that fade."""
    hit = (g.random((steps, series)) < g.uniform(0.005, 0.1, series)) * g.exponential(1, (steps, series))
    fade = g.choice([0, 0.3, 0.8, 0.95], series)
    out = np.zeros((steps, series))
    for t in range(1, steps):
        out[t] = fade * out[t - 1] + hit[t]
    return out + np.abs(level(g, steps, series, season)) * g.uniform(0, 0.2, series)


def jobs(g: G, steps: int, series: int, season: float) -> F64:
    """Work that runs for a while every so often, on time or nearly."""
    period = np.full(series, season) if season else g.uniform(15, 200, series)
    length = period * g.uniform(0.03, 0.5, series)
    late = g.normal(0, 0.3, (steps, series)) * g.uniform(0, 3, series)
    phase = (np.arange(steps)[:, None] + late + g.uniform(0, 1, series) * period) % period
    return (phase < length) * g.uniform(0.3, 1.5, series) + level(g, steps, series, season) * 0.2


def saw(g: G, steps: int, series: int, season: float) -> F64:
    """Fills up slowly and is emptied at once, as memory and queues do."""
    period = g.uniform(10, 300, series)
    phase = (np.arange(steps)[:, None] / period + g.random(series)) % 1
    return phase * g.uniform(0.3, 1.5, series) + level(g, steps, series, season) * 0.1


KINDS: Final[tuple[Callable[[G, int, int, float], F64], ...]] = (
    level, wave, ramp, walk, shifts, bursts, jobs, saw,
)  # fmt: skip


def panel(generator: G, steps: int, series: int, season: float) -> F64:
    """(steps, series) of all kinds in equal parts, some of them sums of two."""
    parts = []
    for kind in KINDS:
        count = -(-series // len(KINDS))
        part = kind(generator, steps, count, season)
        mixed = generator.random(count) < 0.3
        other = KINDS[generator.integers(len(KINDS))](generator, steps, count, season)
        part = np.where(mixed, part + other, part)
        part = part - np.minimum(part.min(axis=0), 0) + generator.choice([0, 0.2, 3.0], count)
        parts.append(part * 10 ** generator.uniform(-2, 8, count))
    return np.concatenate(parts, axis=1)[:, :series]
