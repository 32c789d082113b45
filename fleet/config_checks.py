"""What a fleet file must fulfil beyond single values: names that exist, ranges that fit."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from sidestep.fleet.config_planning import (
    check_bundles,
    check_domains,
    check_limits,
    check_names,
    check_needs,
    check_tolerate,
)
from sidestep.fleet.inventory import Domain, HostSpec, ShardSpec
from sidestep.fleet.placement import KEYS

Add = Callable[[tuple[str, ...], object, str, str], None]


class Readable(Struct, frozen=True, kw_only=True):
    """What of a fleet file could be read, and the names of the rest.

    Whatever is broken has been noted once; it is not judged again, and nobody is blamed
    for pointing at it.
    """

    hosts: tuple[HostSpec, ...]
    shards: tuple[ShardSpec, ...]
    #: whether requests go through a router, which needs to know the shards' ports
    routed: bool
    #: every declared name, readable or not
    host_names: frozenset[str]
    shard_names: frozenset[str]
    #: apps with a shard that could not be read; None if even the app is not known
    unsure_apps: frozenset[str | None]
    #: of the policy
    tolerate: Domain = ""


def check_fleet(fleet: Readable, add: Add) -> None:
    """Note every contradiction between the values of a fleet through ``add``."""
    _check_hosts(fleet, add)
    _check_shards(fleet, add)
    _check_keys(fleet, add)
    _check_planning(fleet, add)


def _check_hosts(fleet: Readable, add: Add) -> None:
    seen: dict[tuple[str, int, str], str] = {}
    for host in fleet.hosts:
        path = ("hosts", host.name)
        # Behind different jump hosts the same private address is another machine.
        first = seen.setdefault((host.address, host.port, host.jump), host.name)
        if first != host.name:
            add((*path, "address"), host.address, f"port {host.port} is already host {first}", "keep one of the two")
        if 0 < host.cpu <= host.reserve_cpu:
            add((*path, "reserve_cpu"), host.reserve_cpu, f"leaves nothing of {host.cpu:g} cores", "keep it below cpu")
        if 0 < host.memory <= host.reserve_memory:
            add(
                (*path, "reserve_memory"), host.reserve_memory, f"leaves nothing of {host.memory} bytes",
                "keep it below memory",
            )  # fmt: skip


def _check_shards(fleet: Readable, add: Add) -> None:
    ports: dict[tuple[str, int], str] = {}
    for shard in fleet.shards:
        path = ("shards", shard.name)
        if shard.host not in fleet.host_names:
            add(
                (*path, "host"), shard.host, "is no host of this fleet", f"declare [hosts.{shard.host}] or name another"
            )
        if shard.driver == "hook":
            for hook in ("save", "load"):
                if not getattr(shard, hook):
                    add((*path, hook), None, "is missing", 'driver "hook" needs save and load commands')
        if shard.driver == "criu":
            _check_memory(shard, path, add)
        if shard.port:
            first = ports.setdefault((shard.host, shard.port), shard.name)
            if first != shard.name:
                add((*path, "port"), shard.port, f"is already taken on {shard.host} by {first}", "choose another port")
        if fleet.routed and shard.keys is not None and not shard.port:
            add((*path, "port"), None, "is missing", "a shard that the router sends requests to needs a port")


def _check_memory(shard: ShardSpec, path: tuple[str, ...], add: Add) -> None:
    """Driver ``criu`` moves a process as it is: nothing of it is kept elsewhere, and it lives where everybody does."""
    if shard.replicas or shard.failover == "capsule":
        key, value = ("replicas", shard.replicas) if shard.replicas else ("failover", shard.failover)
        add((*path, key), value, 'is not for driver "criu", which keeps no capsules', 'write driver = "hook"')
    if shard.state_path:
        why = 'is not for driver "criu", whose processes see the same files as everybody'
        add((*path, "state_path"), shard.state_path, why, "remove it, and let the app use STATE")


def _check_keys(fleet: Readable, add: Add) -> None:
    if None in fleet.unsure_apps:
        return
    for app in sorted({shard.app for shard in fleet.shards if shard.keys is not None} - fleet.unsure_apps):
        ranges = sorted((s.keys, s.name) for s in fleet.shards if s.app == app and s.keys is not None)
        end = 0
        for (low, high), name in ranges:
            if low != end:
                kind = "overlaps the range before it" if low < end else f"leaves keys {end}..{low - 1} to nobody"
                add(("shards", name, "keys"), [low, high], f"{kind} (app {app})", f"begin at {end}")
            end = max(end, high)
        if end != KEYS:
            add(("shards", ranges[-1][1], "keys"), None, f"keys {end}..{KEYS - 1} of app {app} belong to nobody",
                f"end the last range at {KEYS}")  # fmt: skip


def _check_planning(fleet: Readable, add: Add) -> None:
    check_domains(fleet.hosts, add)
    check_names(fleet.shards, fleet.shard_names | {shard.app for shard in fleet.shards} | fleet.unsure_apps, add)
    check_limits(fleet.shards, add)
    check_bundles(fleet.shards, add)
    if len(fleet.hosts) == len(fleet.host_names):
        check_needs(fleet.shards, fleet.hosts, add)
        check_tolerate(fleet.tolerate, fleet.hosts, add)
