"""Which rows of the panel an occasion is about: hosts first, then shards, each with its metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.occasions import Occasion
from sidestep.fleet.resources import HOST_SERIES, SHARD_SERIES

Ints = NDArray[np.int64]

_H: Final = len(HOST_SERIES)
_N: Final = len(SHARD_SERIES)
#: metrics that an operator's factor on demand multiplies: work done, not memory held or pressure felt
HOST_FLOWS: Final = tuple(HOST_SERIES.index(name) for name in ("cpu", "net"))
SHARD_FLOWS: Final = tuple(SHARD_SERIES.index(name) for name in ("cpu", "read_ops", "write_ops"))
_CPU: Final = 0


class Layout:
    """Names of hosts and shards, whose rows begin where, and who is on whom.

    ``homes`` is the row of each shard's host, -1 for nowhere, or None where it is not known:
    then nothing is said about shards because of their host.
    """

    def __init__(
        self,
        hosts: Sequence[str] = (),
        shards: Sequence[str] = (),
        apps: Sequence[str] = (),
        homes: Ints | None = None,
    ) -> None:
        """Raises ValueError unless there is one app, and one home if any, a shard."""
        if len(apps) != len(shards) or (homes is not None and len(homes) != len(shards)):
            raise ValueError(f"{len(shards)} shards but {len(apps)} apps")
        self.hosts, self.shards, self.homes = tuple(hosts), tuple(shards), homes
        self._host = {name: at for at, name in enumerate(self.hosts)}
        self._apps: dict[str, list[int]] = {}
        for at, app in enumerate(apps):
            self._apps.setdefault(app, []).append(at)
        self._start = {f"host {name}": at * _H for name, at in self._host.items()}
        first = len(self.hosts) * _H
        self._start |= {f"shard {name}": first + at * _N for at, name in enumerate(self.shards)}
        self.rows = first + len(self.shards) * _N

    def start(self, owner: str) -> int:
        """The first row of ``host NAME`` or ``shard NAME``, -1 if there is none."""
        return self._start.get(owner, -1)

    def hosts_of(self, occasion: Occasion) -> Ints:
        """Rows of the hosts that it touches: those it names, or those that the shards of its apps are on."""
        if occasion.hosts:
            return _chosen(occasion.hosts, self._host, self.hosts)
        if not occasion.apps or self.homes is None:
            return np.arange(len(self.hosts))
        homes = np.unique(self.homes[self._of_apps(occasion)])
        return np.asarray(homes[homes >= 0], dtype=np.int64)

    def shards_of(self, occasion: Occasion, hosts: Ints) -> Ints:
        """The shards that it touches: those of its apps, and those on ``hosts`` when it names hosts."""
        shards = self._of_apps(occasion) if occasion.apps else np.arange(len(self.shards))
        if not occasion.hosts:
            return shards
        if self.homes is None:
            return shards if occasion.apps else np.zeros(0, dtype=np.int64)
        return shards[np.isin(self.homes[shards], hosts)]

    def _of_apps(self, occasion: Occasion) -> Ints:
        known = {app: at for at, app in enumerate(self._apps)}
        chosen = _chosen(occasion.apps, known, tuple(known)).tolist()
        members = list(self._apps.values())
        return np.array(sorted(row for at in chosen for row in members[at]), dtype=np.int64)

    def flows(self, occasion: Occasion, level: NDArray[np.float64]) -> tuple[Ints, NDArray[np.float64]]:
        """Rows that its factor on demand is about, and the demand that it multiplies, from the level of all rows.

        An event of some apps raises their hosts by what it raises the shards on them.
        """
        hosts = self.hosts_of(occasion)
        shards = self.shards_of(occasion, hosts)
        first = len(self.hosts) * _H
        of_shards = (first + shards[:, None] * _N + np.array(SHARD_FLOWS)).reshape(-1)
        if not occasion.apps:
            of_hosts = (hosts[:, None] * _H + np.array(HOST_FLOWS)).reshape(-1)
            rows = np.concatenate([of_hosts, of_shards])
            return rows, np.nan_to_num(level[rows])
        base = np.nan_to_num(level[of_shards])
        if self.homes is None or not len(shards):
            return of_shards, base
        homes = self.homes[shards]
        cpu = np.bincount(
            homes[homes >= 0], np.nan_to_num(level[first + shards * _N + _CPU])[homes >= 0], len(self.hosts)
        )
        touched = np.flatnonzero(cpu > 0)
        return np.concatenate([of_shards, touched * _H + _CPU]), np.concatenate([base, cpu[touched]])


def _chosen(patterns: Sequence[str], known: dict[str, int], names: tuple[str, ...]) -> Ints:
    """Places of the names that one of the patterns fits; a plain name is looked up."""
    rows: set[int] = set()
    for pattern in patterns:
        if pattern in known:
            rows.add(known[pattern])
        elif any(c in pattern for c in "*?["):
            fits = re.compile(translate(pattern)).match
            rows.update(at for at, name in enumerate(names) if fits(name))
    return np.array(sorted(rows), dtype=np.int64)
