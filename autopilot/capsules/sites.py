"""Which hosts keep the copies of a shard's capsules: apart from each other, always the same ones, evenly. Pure.

Rendezvous hashing: every shard ranks all hosts by a hash of both names, and takes the first ones. A host that
comes or goes changes nothing for shards that do not, or did not, have it among their first. Domains come
before ranks: the next copy goes where the fewest copies share its zone, then its rack; the owner counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

_ODD: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)


class Sites:
    """The hosts of a fleet, ready to be chosen from. Hosts without a zone (or a rack) share one without a name."""

    def __init__(self, hosts: Sequence[HostSpec]) -> None:
        self.names = tuple(host.name for host in hosts)
        self._rows = {str(name): row for row, name in enumerate(self.names)}
        self._zone, self._zones = _numbered(host.zone for host in hosts)
        self._rack, self._racks = _numbered((host.zone, host.rack) for host in hosts)
        self._hash = np.array([_hash(name) for name in self.names], np.uint64)

    def mask(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """(H,) true for these hosts; names that are none are left out."""
        found = np.zeros(len(self.names), bool)
        found[[self._rows[name] for name in names if name in self._rows]] = True
        return found

    def choose(
        self, shard: str, count: int, *, may: NDArray[np.bool_], owner: str = "", have: Collection[str] = ()
    ) -> tuple[Label, ...]:
        """Up to ``count`` hosts for copies beside those that are on ``have``, best first.

        ``may`` is (H,), true for hosts that can take one; the owner and those of ``have`` are left out by themselves.
        """
        taken = self.mask((owner, *have))
        in_zone = np.bincount(self._zone[taken], minlength=self._zones)
        in_rack = np.bincount(self._rack[taken], minlength=self._racks)
        rank = _mixed(self._hash ^ np.uint64(_hash(shard)))
        free, chosen = np.flatnonzero(may & ~taken), list[Label]()
        while len(chosen) < count and len(free):
            shared = in_zone[self._zone[free]]
            best = free[shared == shared.min()]
            shared = in_rack[self._rack[best]]
            best = best[shared == shared.min()]
            row = int(best[rank[best].argmax()])
            chosen.append(self.names[row])
            in_zone[self._zone[row]] += 1
            in_rack[self._rack[row]] += 1
            free = free[free != row]
        return tuple(chosen)


def quorum(replicas: int) -> int:
    """Copies with which a capsule counts: more than half of those that are wanted."""
    return replicas // 2 + 1


def _numbered(keys: Iterable[object]) -> tuple[NDArray[np.intp], int]:
    numbers: dict[object, int] = {}
    found = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp)
    return found, len(numbers)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every bit of the sum of both hashes reaches every bit of the rank."""
    values = values + _STEP
    values = (values ^ (values >> np.uint64(30))) * _ODD[0]
    values = (values ^ (values >> np.uint64(27))) * _ODD[1]
    return values ^ (values >> np.uint64(31))
