"""What a fleet file says of planning, held against itself: nearness, failure domains, labels, guarantees.

Only what no plan could ever fulfil is a fault. That there are fewer racks than shards of an
app is not: hosts come and go, and a broken rule is repaired as far as it can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from sidestep.fleet import extensions
from sidestep.fleet.config_tables import closest
from sidestep.fleet.extensions import Plugged
from sidestep.fleet.inventory import Domain, HostSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.policies import GOALS

Add = Callable[[tuple[str, ...], object, str, str], None]
Labels = tuple[tuple[Label, Label], ...]


def check_domains(hosts: Sequence[HostSpec], add: Add) -> None:
    """Note racks that are in two zones."""
    first: dict[str, HostSpec] = {}
    for host in hosts:
        if not host.rack or not host.zone:
            continue
        other = first.setdefault(host.rack, host)
        if other.zone != host.zone:
            add(
                ("hosts", host.name, "rack"), host.rack, f"is in zone {host.zone} here and in zone {other.zone} with "
                f"host {other.name}", "a rack is in one zone; give one of the two another name",
            )  # fmt: skip


def check_tolerate(domain: Domain, hosts: Sequence[HostSpec], add: Add) -> None:
    """Note a domain whose loss cannot be survived because no host says in which one it is."""
    if domain in {"rack", "zone"} and not any(getattr(host, domain) for host in hosts):
        add(("policy", "tolerate"), domain, f"no host is in a {domain}", f"write {domain} = ... under [hosts.NAME]")


def check_goals(goals: Iterable[str], plugged: Plugged | None, add: Add) -> None:
    """Note goals that neither we nor plugins have; None takes any name for one of a plugin."""
    strange = [name for name in goals if name not in GOALS]
    if not strange or plugged is None:
        return
    known = sorted({*GOALS, *plugged(extensions.GOALS)})
    for name in strange:
        if name not in known:
            hint = f"{closest(name, known)}; a plugin's goal needs its package installed here"
            add(("policy", "goals"), name, "is no goal", hint)


def check_constraints(names: Iterable[str], plugged: Plugged | None, add: Add) -> None:
    """Note constraints that no plugin has, likewise; with one of them nothing would be planned."""
    known = sorted(plugged(extensions.CONSTRAINTS)) if plugged is not None and names else []
    for name in names if plugged is not None else ():
        if name not in known:
            hint = f"{closest(name, known)}; its package must be installed here"
            add(("policy", "constraints"), name, "is no constraint of a plugin", hint)


def check_needs(shards: Iterable[ShardSpec], hosts: Sequence[HostSpec], add: Add) -> None:
    """Note shards that no host could ever hold; ``hosts`` are all of the fleet's."""
    by_name = {host.name: host for host in hosts}
    labels = {host.name: frozenset(host.labels) for host in hosts}
    fulfilled: dict[Labels, bool] = {}
    domains = {kind: any(getattr(host, kind) for host in hosts) for kind in ("rack", "zone")}
    most = {kind: _most(kind, hosts) for kind in ("cpu", "memory", "disk")}
    for shard in shards:
        path, home, wanted = ("shards", shard.name), by_name.get(shard.host), shard.requires
        if wanted not in fulfilled:
            fulfilled[wanted] = any(had.issuperset(wanted) for had in labels.values())
        if not fulfilled[wanted]:
            said = "no host of this fleet has all of these labels"
            add((*path, "requires"), _shown(wanted), said, "write them under labels of a host")
        elif shard.pinned and home is not None and not labels[home.name].issuperset(wanted):
            said = f"the shard is pinned to {home.name}, which has not all of these labels"
            add((*path, "requires"), _shown(wanted), said, "remove pinned, or label the host")
        if home is not None and home.standby:
            said = "is a standby host, which holds nothing until a plan activates it"
            add((*path, "host"), shard.host, said, f"name another, or remove standby from [hosts.{home.name}]")
        if not domains.get(shard.spread, True):
            said = f"no host is in a {shard.spread}"
            add((*path, "spread"), shard.spread, said, f"write {shard.spread} = ... under [hosts.NAME]")
        for key, kind in (("guarantee_cpu", "cpu"), ("guarantee_memory", "memory"), ("disk", "disk")):
            amount = getattr(shard, key)
            if amount > most[kind]:
                said = f"no host may hand out so much; the most is {most[kind]:.15g}"
                add((*path, key), amount, said, "write less, or declare a larger host")


def _most(kind: str, hosts: Sequence[HostSpec]) -> float:
    """What the largest host may hand out; infinity as long as one of them may turn out to have more."""
    if not all(getattr(host, kind) for host in hosts):
        return math.inf
    if kind == "disk":
        return max((host.disk for host in hosts), default=math.inf)
    return max((host.allocatable()[kind == "memory"] for host in hosts), default=math.inf)


def _shown(labels: Labels) -> str:
    return ", ".join(f"{key} = {value}" for key, value in labels)


def check_limits(shards: Iterable[ShardSpec], add: Add) -> None:
    """Note guarantees above limits."""
    for shard in shards:
        for kind in ("cpu", "memory"):
            least, limit = getattr(shard, f"guarantee_{kind}"), getattr(shard, f"limit_{kind}")
            if 0 < limit < least:
                said = f"is more than limit_{kind}, {limit:.15g}"
                add(("shards", shard.name, f"guarantee_{kind}"), least, said, "raise the limit, or guarantee less")


def check_names(shards: Iterable[ShardSpec], known: frozenset[str | None], add: Add) -> None:
    """Note what shards keep near or far and nobody is called; ``known`` has None if some app is not known."""
    for shard in shards:
        for key in ("avoid", "near", "prefer_near"):
            for name in getattr(shard, key):
                path = ("shards", shard.name, key)
                if key != "avoid" and name == shard.name != shard.app:
                    add(path, name, "is the shard itself", "remove it")
                elif name not in known and None not in known:
                    add(path, name, "is neither a shard nor an app of this fleet", "correct the name")


def check_bundles(shards: Sequence[ShardSpec], add: Add) -> None:
    """Note shards that must be together and must not."""
    for rows in bundles(shards):
        together = [shards[row] for row in rows]
        called: dict[str, list[ShardSpec]] = {}
        for shard in together:
            for label in {shard.app, shard.name}:
                called.setdefault(label, []).append(shard)
        _check_apart(together, called, add)
        _check_places(together, add)


def _check_apart(together: Iterable[ShardSpec], called: Mapping[str, list[ShardSpec]], add: Add) -> None:
    for shard in together:
        path = ("shards", shard.name)
        for name in shard.avoid:
            other = next((each for each in called.get(name, ()) if each is not shard), None)
            if other is not None:
                add((*path, "avoid"), name, f"{other.name} must be near it as well", "remove avoid, or near")
        other = next((each for each in called[shard.app] if each is not shard and each.app == shard.app), None)
        if shard.spread and other is not None:
            said = f"{other.name} of the same app must be near it as well"
            add((*path, "spread"), shard.spread, said, "remove spread, or near")


def _check_places(together: Iterable[ShardSpec], add: Add) -> None:
    pinned: ShardSpec | None = None
    wanted: dict[str, tuple[str, ShardSpec]] = {}
    for shard in together:
        path = ("shards", shard.name)
        if shard.pinned:
            pinned = pinned or shard
            if pinned.host != shard.host:
                said = f"it must be near {pinned.name}, which is pinned to {pinned.host}"
                add((*path, "pinned"), True, said, "remove one of the pins, or near")
        for key, value in shard.requires:
            before, other = wanted.setdefault(key, (value, shard))
            if before != value:
                said = f"it must be near {other.name}, which requires {key} = {before}"
                add((*path, "requires"), f"{key} = {value}", said, "require the same, or remove near")


def bundles(shards: Sequence[ShardSpec]) -> tuple[tuple[int, ...], ...]:
    """Rows of shards that must share one host, two or more each; by their first row, rows ascending.

    ``near`` holds both ways and for everything that is near something near.
    """
    rows: dict[str, list[int]] = {}
    for row, shard in enumerate(shards):
        for label in {shard.app, shard.name}:
            rows.setdefault(label, []).append(row)
    above = list(range(len(shards)))

    def top(row: int) -> int:
        while above[row] != row:
            above[row] = above[above[row]]
            row = above[row]
        return row

    for row, shard in enumerate(shards):
        for label in shard.near:
            for other in rows.get(label, ()):
                low, high = sorted((top(row), top(other)))
                above[high] = low
    found: dict[int, list[int]] = {}
    for row in range(len(shards)):
        found.setdefault(top(row), []).append(row)
    return tuple(tuple(rows) for _, rows in sorted(found.items()) if len(rows) > 1)
