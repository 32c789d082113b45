"""Rules of the fleet file as arrays: who may be where, beside whom, and what moves together.

Shards that must be near each other and are on one host become one row of the problem, a
bundle, that moves as a whole. Where they are apart already, the rule is broken: each stray
member must come to the host that holds most of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.snapshot import Snapshot
from sidestep.planning.goals.about import domains_of
from sidestep.planning.model import Constraints

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

#: kinds of failure domain, in the order of ``Constraints.domains``
DOMAINS = ("host", "rack", "zone")


@dataclass(frozen=True, eq=False)
class Rows:
    """How shards become rows of a problem.

    ``row_of`` (N,) the row of every shard; ``shards[row]`` the shards of a row, in order.
    ``strays`` are (row, host): the row must come to that host to be near those that it must be near.
    """

    row_of: I64
    shards: tuple[tuple[int, ...], ...]
    strays: tuple[tuple[int, int], ...]

    @property
    def plain(self) -> bool:
        """Whether every row is just one shard, in the same order."""
        return len(self.shards) == len(self.row_of) and bool((self.row_of == np.arange(len(self.row_of))).all())


def bundle(snapshot: Snapshot, fleet: FleetSpec, movable: NDArray[np.bool_]) -> Rows:
    """The rows of a fleet. A bundle of which one shard may not move does not move at all."""
    names, apps, host = snapshot.shards.names, snapshot.shards.apps, snapshot.shards.host
    count = len(names)
    asking = [spec for spec in fleet.shards if spec.near]
    if not asking:
        return Rows(np.arange(count, dtype=np.int64), tuple((row,) for row in range(count)), ())
    by_label = _labels(names, apps)
    row = {name: at for at, name in enumerate(names)}
    parent = list(range(count))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for spec in asking:
        at = row.get(spec.name)
        for other in () if at is None else (o for label in spec.near for o in by_label.get(label, ())):
            first, second = sorted((root(at), root(other)))  # type: ignore[arg-type]
            parent[second] = first
    together: dict[int, list[int]] = {}
    for at in range(count):
        together.setdefault(root(at), []).append(at)
    rows: list[tuple[int, ...]] = []
    strays: list[tuple[int, int]] = []
    for all_ in together.values():
        # what is nowhere comes to those that it must be near by a place of its own
        rows += [(m,) for m in all_ if host[m] < 0]
        members = [m for m in all_ if host[m] >= 0]
        if not members:
            continue
        places = Counter(int(host[m]) for m in members)
        if len(members) == 1 or len(places) <= 1:
            rows.append(tuple(members))
            continue
        fixed = Counter(int(host[m]) for m in members if not movable[m])
        size = Counter[int]()
        for m in members:
            size[int(host[m])] += int(np.nan_to_num(snapshot.shards.state_bytes[m]))
        home = min(places, key=lambda h: (-fixed[h], -places[h], -size[h], h))
        by_host: dict[int, list[int]] = {}
        for m in members:
            by_host.setdefault(int(host[m]), []).append(m)
        for where, part in by_host.items():
            if where != home:
                strays.append((len(rows), home))
            rows.append(tuple(part))
    row_of = np.zeros(count, dtype=np.int64)
    for number, part_of in enumerate(rows):
        row_of[list(part_of)] = number
    return Rows(row_of, tuple(rows), tuple(strays))


def domains(snapshot: Snapshot) -> I32:
    """(3, H) the host itself, its rack and its zone, numbered."""
    hosts = snapshot.hosts
    return domains_of(hosts.names, hosts.racks, hosts.zones)


def constraints(snapshot: Snapshot, fleet: FleetSpec, rows: Rows) -> Constraints:
    """The rules between the rows of a fleet."""
    names, apps = snapshot.shards.names, snapshot.shards.apps
    specs = [spec for spec in fleet.shards if spec.avoid or spec.spread or spec.requires or spec.driver == "criu"]
    row: dict[str, int] = {name: at for at, name in enumerate(names)} if specs else {}
    by_label = _labels(names, apps) if specs else {}
    kinds = domains(snapshot)
    pairs, groups = _apart(specs, row, by_label, rows, kinds)
    masks, mask = _allowed(specs, row, snapshot, fleet, rows)
    return Constraints.make(
        len(snapshot.hosts.names), len(rows.shards), domains=kinds, masks=masks, mask=mask, groups=groups, pairs=pairs
    )


def _labels(names: Sequence[str], apps: Sequence[str]) -> dict[str, list[int]]:
    """Shards of every app, and every shard by its own name."""
    found: dict[str, list[int]] = {}
    for at, (name, app) in enumerate(zip(names, apps, strict=True)):
        for label in {name, app}:
            found.setdefault(label, []).append(at)
    return found


def _apart(
    specs: Iterable[ShardSpec], row: dict[str, int], by_label: dict[str, list[int]], rows: Rows, kinds: I32
) -> tuple[set[tuple[int, int]], list[tuple[int, int, list[int]]]]:
    """Pairs that avoid each other, and groups of which only so many may be in one failure domain."""
    pairs: set[tuple[int, int]] = set()
    own: Counter[str] = Counter()
    spread: dict[tuple[str, str], None] = {}
    selfish = {spec.app: spec for spec in specs if spec.app in spec.avoid}
    own.update(spec.app for spec in specs if spec.app in spec.avoid)
    whole = {app for app in selfish if own[app] == len(by_label.get(app, ()))}
    for spec in specs:
        at = row.get(spec.name)
        if at is None:
            continue
        if spec.spread:
            spread[spec.app, spec.spread] = None
        for label in spec.avoid:
            if label == spec.app and label in whole:
                continue
            for other in by_label.get(label, ()):
                a, b = int(rows.row_of[at]), int(rows.row_of[other])
                if a != b:
                    pairs.add((a, b))
    groups: list[tuple[int, int, list[int]]] = []
    wanted = [(app, "host") for app in sorted(whole)] + [
        key for key in spread if not (key[1] == "host" and key[0] in whole)
    ]
    for app, domain in wanted:
        members = sorted({int(rows.row_of[at]) for at in by_label.get(app, ())})
        kind = DOMAINS.index(domain)
        places = len(np.unique(kinds[kind])) or 1
        if len(members) > 1:
            most = 1 if (app in whole and domain == "host") else -(-len(members) // places)
            groups.append((kind, most, members))
    return pairs, groups


def _allowed(
    specs: Iterable[ShardSpec], row: dict[str, int], snapshot: Snapshot, fleet: FleetSpec, rows: Rows
) -> tuple[NDArray[np.bool_], I32]:
    """(M, H) sets of hosts, and (N,) the one that each row may be on: required labels, drivers, strays' homes."""
    count = len(snapshot.hosts.names)
    masks = [np.ones(count, dtype=np.bool_)]
    mask = np.zeros(len(rows.shards), dtype=np.int32)
    labels = {spec.name: frozenset(spec.labels) for spec in fleet.hosts}
    known: dict[tuple[int, ...], int] = {}

    def narrow(at: int, allowed: NDArray[np.bool_]) -> None:
        both = masks[mask[at]] & allowed
        key = tuple(np.flatnonzero(both).tolist())
        if key not in known:
            known[key] = len(masks)
            masks.append(both)
        mask[at] = known[key]

    for spec in specs:
        at = row.get(spec.name)
        if spec.requires and at is not None:
            needed = frozenset(spec.requires)
            fits = [needed <= labels.get(name, frozenset()) for name in snapshot.hosts.names]
            narrow(int(rows.row_of[at]), np.array(fits, dtype=np.bool_))
        if at is not None and spec.driver == "criu" and snapshot.hosts.unable:
            can = np.array([name not in snapshot.hosts.unable for name in snapshot.hosts.names], dtype=np.bool_)
            narrow(int(rows.row_of[at]), can | (np.arange(count) == snapshot.shards.host[at]))
    for stray, home in rows.strays:
        narrow(stray, np.arange(count) == home)
    return np.array(masks), mask
