"""Generated hosts with nightly jobs, and a real model beside the calendar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.labels import Label
from sidestep.fleet.occasions import Occasion
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES
from sidestep.forecasting.calendar import Calendar, Uplift
from sidestep.forecasting.registry import make

F64 = NDArray[np.float64]
DAY = 86400.0
#: midnight UTC
MIDNIGHT = 1_760_000_000 // DAY * DAY
NIGHT = 2.5 * 3600
CPU = HOST_SERIES.index("cpu")


def timer(
    host: str, begins: float, *, name: str = "backup", period: float | None = DAY, lasts: float = 0.0
) -> Occasion:
    return Occasion(
        name=Label(name), kind="timer", hosts=(Label(host),), begins=begins, period=period, lasts=lasts
    )  # fmt: skip


def share(ends: F64, step: float, begin: float, end: float) -> F64:
    """How much of each step that ends at ``ends`` lies between two times."""
    return np.clip(np.minimum(ends, end) - np.maximum(ends - step, begin), 0, None) / step


class Smoothed:
    """Exponential smoothing: a model that costs the tests little. The real ones are used where it matters."""

    def begin(self, rows: int) -> None:
        self.level = np.full(rows, np.nan)

    def observe(self, values: F64) -> None:
        self.level = np.where(np.isnan(self.level), values, self.level + 0.4 * (values - self.level))

    def forecast_array(self, steps: NDArray[np.int64], levels: tuple[float, ...]) -> F64:
        return np.repeat(self.level[:, None], len(steps), 1)[:, :, None]


@dataclass
class Fleet:
    """Hosts h0, h1, ... with a wave of the day, noise, and jobs as ``jobs[host] = [(begin, end, cores), ...]``."""

    step: float
    hosts: int = 2
    shards: int = 0
    wave: float = 0.3
    noise: float = 0.08
    seed: int = 7
    season: float = 0.0
    model: str = ""
    horizon: int = 60
    jobs: dict[int, list[tuple[float, float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = tuple(f"h{i}" for i in range(self.hosts))
        self.shard_names = tuple(f"s{i}" for i in range(self.shards))
        self.apps = tuple("shop" if i % 2 == 0 else "blog" for i in range(self.shards))
        self.homes = np.arange(self.shards) % self.hosts
        self.rows = self.hosts * len(HOST_SERIES) + self.shards * len(SHARD_SERIES)
        self.random = np.random.default_rng(self.seed)
        season = self.season / self.step if self.season else 0.0
        self.forecaster: Any = make(self.model, season, self.horizon) if self.model else Smoothed()
        self.forecaster.begin(self.rows)
        self.calendar = Calendar(self.step)
        self.calendar.align(self.names, self.shard_names, self.apps, self.homes if self.shards else None)
        self.time = MIDNIGHT
        self.said = np.full(self.rows, np.nan)

    def row(self, host: int, metric: int = CPU) -> int:
        return host * len(HOST_SERIES) + metric

    def shard_row(self, shard: int, metric: int = 0) -> int:
        return self.hosts * len(HOST_SERIES) + shard * len(SHARD_SERIES) + metric

    def job(self, ends: F64, host: int) -> F64:
        """(T,) what the jobs of a host take."""
        return np.sum(
            [cores * share(ends, self.step, a, b) for a, b, cores in self.jobs.get(host, [])] or [0 * ends], 0
        )

    def run(self, until: float) -> Iterator[float]:
        """Let steps pass; yields the time after each."""
        while self.time < until - 1e-6:
            self.time += self.step
            at = np.array([self.time])
            truth = 2.0 + self.wave * np.sin(2 * np.pi * self.time / DAY + np.arange(self.rows))
            truth = truth + self.random.normal(0, self.noise, self.rows)
            for host in self.jobs:
                extra = self.job(at, host)[0]
                truth[self.row(host)] += extra
                for shard in range(self.shards):
                    if self.homes[shard] == host and self.apps[shard] == "shop":
                        truth[self.shard_row(shard)] += extra
            self.calendar.observe(self.time, truth, self.said)
            self.forecaster.observe(truth)
            self.said = self.forecaster.forecast_array(np.array([1]), (0.5,))[:, 0, 0]
            yield self.time

    def go(self, until: float) -> None:
        for _ in self.run(until):
            pass

    def uplift(self, row: int, steps: Sequence[int] | NDArray[np.int64]) -> F64:
        return of(self.calendar.uplift(self.time, np.asarray(steps), self.said), row, len(steps))

    def median(self, row: int, steps: NDArray[np.int64]) -> F64:
        """What the model alone says."""
        return self.forecaster.forecast_array(steps, (0.5,))[row, :, 0]


def of(found: Uplift | None, row: int, steps: int) -> F64:
    if found is None or row not in found.rows:
        return np.zeros(steps)
    return found.mean[list(found.rows).index(row)]


def nightly(
    nights: int, minutes: float, cores: float, jitter: F64, at: float = NIGHT
) -> list[tuple[float, float, float]]:
    begins = [MIDNIGHT + night * DAY + at + float(jitter[night]) for night in range(nights)]
    return [(begin, begin + minutes * 60, cores) for begin in begins]
