"""What goals and constraints may know of a fleet beyond its numbers: names, apps, labels, who prefers whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import FleetSpec, HostSpec, ShardSpec
from sidestep.planning.model.problem import F64, I64

I32 = NDArray[np.int32]
Texts = NDArray[np.str_]


def domains_of(names: Sequence[str], racks: Sequence[str], zones: Sequence[str]) -> I32:
    """(3, H) the host itself, its rack and its zone, numbered; a host that names none is its own."""
    found = [np.arange(len(names))]
    for kind in (racks, zones):
        known: dict[str, int] = {}
        keys = (name or f"\0{at}" for at, name in enumerate(kind))
        found.append(np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64))
    return np.stack(found).astype(np.int32) if len(names) else np.zeros((3, 0), dtype=np.int32)


@dataclass(frozen=True, eq=False, kw_only=True)
class About:
    """One problem's fleet by rows. ``shards[row]`` are the shards of a row: one, or those of a bundle.

    ``names`` and ``apps`` are those of the snapshot's shards, ``domains[k, h]`` numbers the
    failure domain of kind k (host, rack, zone) that host h is in.
    """

    fleet: FleetSpec
    hosts: Sequence[str]
    names: Sequence[str]
    apps: Sequence[str]
    shards: Sequence[Sequence[int]]
    #: (3, H); as those of the problem's constraints
    domains: I32

    @classmethod
    def declared(cls, fleet: FleetSpec) -> About:
        """A fleet as its file declares it, every shard a row of its own."""
        hosts = fleet.hosts
        return cls(
            fleet=fleet,
            hosts=tuple(host.name for host in hosts),
            names=tuple(shard.name for shard in fleet.shards),
            apps=tuple(shard.app for shard in fleet.shards),
            shards=tuple((row,) for row in range(len(fleet.shards))),
            domains=domains_of(
                *zip(*((h.name, h.rack, h.zone) for h in hosts), strict=True) if hosts else ((), (), ())
            ),
        )

    @cached_property
    def host_names(self) -> Texts:
        """(H,) the names of the hosts."""
        return _texts(self.hosts)

    @cached_property
    def shard_names(self) -> Texts:
        """(N,) the names of the shards."""
        return _texts(self.names)

    @cached_property
    def shard_apps(self) -> Texts:
        """(N,) the apps of the shards."""
        return _texts(self.apps)

    @cached_property
    def zones(self) -> Texts:
        """(H,) the zones of the hosts as declared; "" where nobody says."""
        return _texts([spec.zone if (spec := self._hosts.get(name)) else "" for name in self.hosts])

    @cached_property
    def racks(self) -> Texts:
        """(H,) the racks of the hosts, likewise."""
        return _texts([spec.rack if (spec := self._hosts.get(name)) else "" for name in self.hosts])

    def labels(self, key: str) -> Texts:
        """(H,) what the hosts' labels of that key say; "" where there is none."""
        found = []
        for name in self.hosts:
            spec = self._hosts.get(name)
            found.append(next((value for own, value in spec.labels if own == key), "") if spec else "")
        return _texts(found)

    @cached_property
    def _hosts(self) -> Mapping[str, HostSpec]:
        return {spec.name: spec for spec in self.fleet.hosts}

    @cached_property
    def specs(self) -> Mapping[str, ShardSpec]:
        """The declared shards by name."""
        return {spec.name: spec for spec in self.fleet.shards}

    @cached_property
    def row_of(self) -> I64:
        """(N,) the row of every shard; -1 for one that is in none."""
        out = np.full(len(self.names), -1, dtype=np.int64)
        for row, shards in enumerate(self.shards):
            out[list(shards)] = row
        return out

    @cached_property
    def _of_apps(self) -> tuple[Mapping[str, int], I64, I64]:
        """The number of every app; the shards in rows, ordered by app, and where each app's begin."""
        codes: dict[str, int] = {}
        code = np.fromiter((codes.setdefault(app, len(codes)) for app in self.apps), np.int64, len(self.apps))
        code[self.row_of < 0] = -1
        order = np.argsort(code, kind="stable")
        return codes, order, np.searchsorted(code[order], np.arange(len(codes) + 1))

    @cached_property
    def _named(self) -> Mapping[str, int]:
        return {name: shard for shard, name in enumerate(self.names)}

    @cached_property
    def _preferring(self) -> Mapping[str, list[int]]:
        """The rows that prefer to be near what is called so, once for each shard."""
        found: dict[str, list[int]] = {}
        for spec in self.fleet.shards:
            if spec.prefer_near:
                shard = self._named.get(spec.name)
                for label in spec.prefer_near if shard is not None and self.row_of[shard] >= 0 else ():
                    found.setdefault(label, []).append(int(self.row_of[shard]))
        return found

    def _app(self, app: str) -> I64:
        codes, order, starts = self._of_apps
        code = codes.get(app)
        if code is None:
            return np.zeros(0, dtype=np.int64)
        return self.row_of[order[starts[code] : starts[code + 1]]]

    def called(self, label: str) -> I64:
        """The rows of an app, or of the shard of that name, once for each shard; both if both are called so."""
        rows, shard = self._app(label), self._named.get(label)
        if shard is None or self.apps[shard] == label or self.row_of[shard] < 0:
            return rows
        return np.append(rows, self.row_of[shard])

    def kin(self, row: int) -> I64:
        """The rows of other shards of the same apps, once for each shard."""
        apps = dict.fromkeys(self.apps[shard] for shard in self.shards[row])
        found = [self._app(app) for app in apps]
        rows = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        return np.asarray(rows[rows != row], dtype=np.int64)

    def partners(self, row: int) -> I64:
        """The rows of shards that these prefer to be near, or that prefer it of them, once for each shard."""
        if not self._preferring:
            return np.zeros(0, dtype=np.int64)
        found = []
        for shard in self.shards[row]:
            spec = self.specs.get(self.names[shard])
            wanted = spec.prefer_near if spec is not None else ()
            found += [self.called(label) for label in wanted]
            own = dict.fromkeys((self.names[shard], self.apps[shard]))
            found += [np.array(self._preferring.get(label, ()), dtype=np.int64) for label in own]
        rows = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
        return np.asarray(rows[rows != row], dtype=np.int64)

    def nearness(self, others: I64, at: I32, rows: I64) -> F64:
        """(k,) how near hosts ``rows`` are to other rows, given where all are (``at``): 1 on the same host, 0 for none.

        A third each for what shares the host, its rack and its zone; 0 without others that are anywhere.
        """
        where = at[others]
        where = where[where >= 0]
        near = np.zeros(len(rows))
        if not len(where):
            return near
        for domain in self.domains:
            held = np.bincount(domain[where], minlength=int(domain.max()) + 1)
            near += held[domain[rows]] / len(where)
        return near / len(self.domains)


def _texts(values: Sequence[str]) -> Texts:
    out = np.array([str(value) for value in values], dtype=np.str_)
    out.flags.writeable = False
    return out
