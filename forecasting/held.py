"""Contention that is there: demand that has been above its limit for as long as the policy wants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.contention import limits
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot


class Held:
    """Remembers since when every host has been above its limits; a sample is of the ``interval`` seconds before it."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._hosts: tuple[Label, ...] = ()
        self._since = np.zeros((0, PLANNED))

    def see(self, snapshot: Snapshot, policy: Policy) -> NDArray[np.bool_]:
        """(H, PLANNED) where demand has stayed above its limit for the policy's minimum duration by now.

        What is older than that is no measurement: such a host begins again.
        """
        hosts = snapshot.hosts
        if hosts.names != self._hosts:
            known = dict(zip(self._hosts, self._since, strict=True))
            new = np.full(PLANNED, np.nan)
            self._since = np.array([known.get(name, new) for name in hosts.names]).reshape(-1, PLANNED)
            self._hosts = hosts.names
        with np.errstate(invalid="ignore"):
            over = hosts.use[:, :PLANNED] > limits(snapshot, policy)
            over &= ~(hosts.age > max(self._interval, policy.min_duration))[:, None]
            began = np.where(np.isnan(self._since), snapshot.time, self._since)
            self._since = np.where(over, began, np.nan)
            return np.asarray(over & (snapshot.time - began + self._interval >= policy.min_duration * (1 - 1e-9)))
