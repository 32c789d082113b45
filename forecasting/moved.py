"""Hosts after moves: what they were is not what they will be, but their shards are what they were.

A host's own past tells of shards that have left, and nothing of those that came: the model would foresee contention
for a day on a host that a move has relieved, and none where the demand went. So until a season has passed since a
shard came or left, a host's demand is that of its shards, whose series go with them, and what it uses besides.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot

F64 = NDArray[np.float64]

#: how many standard deviations above the mean each quantile of a sum of shards lies
NORMAL: Final[F64] = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
#: horizons after which a host is taken at its word again where there is no season
FADED: Final = 10


class Moved:
    """Remembers when the shards of each host were last others; ``seconds`` later that is forgotten."""

    def __init__(self, season: float, horizon: float) -> None:
        self.seconds = season or FADED * horizon
        self._hosts: tuple[Label, ...] = ()
        self._shards: tuple[Label, ...] = ()
        self._at: NDArray[np.integer] = np.zeros(0, dtype=np.int64)
        self._when: F64 = np.zeros(0)

    def see(self, snapshot: Snapshot) -> None:
        """Take where shards are now; one that was nowhere, as all are when a daemon begins, has not moved."""
        at = np.asarray(snapshot.shards.host)
        if self._hosts != snapshot.hosts.names or self._shards != snapshot.shards.names:
            self._realign(snapshot)
        moved = (at != self._at) & (self._at >= 0)
        for rows in (at[moved], self._at[moved]):
            self._when[rows[rows >= 0]] = snapshot.time
        self._at = at.copy()

    def _realign(self, snapshot: Snapshot) -> None:
        hosts, shards = snapshot.hosts.names, snapshot.shards.names
        row = {name: number for number, name in enumerate(hosts)}
        when = dict(zip(self._hosts, self._when.tolist(), strict=True))
        lived = {name: row.get(self._hosts[at], -1) if at >= 0 else -1
                 for name, at in zip(self._shards, self._at.tolist(), strict=True)}  # fmt: skip
        now = np.asarray(snapshot.shards.host)
        self._at = np.array(
            [lived.get(name, at) for name, at in zip(shards, now.tolist(), strict=True)], dtype=np.int64
        )
        self._when = np.array([when.get(name, -math.inf) for name in hosts], dtype=np.float64)
        self._hosts, self._shards = hosts, shards

    def restated(self, snapshot: Snapshot, forecast: Forecast, common: float) -> Forecast:
        """The forecast, with hosts that shards have come to or left made of the shards that they have.

        ``common`` is the correlation of shards' errors where none was measured. A host of which a shard is not known
        keeps what the model says. Chances that were calibrated on a host's past are not said of it then.
        """
        fresh = np.flatnonzero(snapshot.time - self._when < self.seconds)
        if not len(fresh) or len(forecast.hosts) != len(self._hosts) or len(forecast.shard_mean) != len(self._shards):
            return forecast
        number = np.full(len(self._hosts) + 1, -1)
        number[fresh] = np.arange(len(fresh))
        mine = number[self._at]
        rows = np.flatnonzero(mine >= 0)
        mine, shape = mine[rows], (len(fresh), *forecast.shard_mean.shape[1:])
        mean, variance, deviation = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        sd = forecast.shard_sd[rows].astype(np.float64)
        np.add.at(mean, mine, forecast.shard_mean[rows])
        np.add.at(variance, mine, sd**2)
        np.add.at(deviation, mine, sd)
        used = np.zeros((len(fresh), PLANNED))
        np.add.at(used, mine, snapshot.shards.use[rows, :PLANNED])
        besides = np.maximum(snapshot.hosts.use[fresh, :PLANNED] - used, 0.0)
        rho = common if math.isnan(forecast.rho) else forecast.rho
        spread = np.sqrt((1.0 - rho) * variance + rho * deviation**2)
        said = (mean + besides[:, :, None])[..., None] + spread[..., None] * NORMAL
        known = np.asarray(np.isfinite(said).all(axis=(2, 3)))
        hosts = forecast.hosts.copy()
        hosts[fresh] = np.where(known[:, :, None, None], np.maximum(said, 0.0), hosts[fresh])
        chance = forecast.chance
        if chance.shape == (len(self._hosts), PLANNED):
            chance = chance.copy()
            chance[fresh] = np.where(known, np.nan, chance[fresh])
        return replace(forecast, hosts=hosts, chance=chance)
