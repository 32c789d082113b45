"""The tables ``[pool.NAME]``: several files made one, what is missing, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_tables import Declared, by_name, merged, named
from sidestep.fleet.labels import scrub
from sidestep.fleet.pools import PoolSpec


def read_pools(declared: Sequence[Declared], hosts: Collection[str], problems: Problems) -> tuple[PoolSpec, ...]:
    """The pools without fault, in the order of the files; ``hosts`` are the names of all hosts."""
    made = [_pool(name, tables, problems) for name, tables in by_name(declared, problems).items()]
    pools = tuple(pool for pool in made if pool is not None)
    for pool in pools:
        _check(pool, hosts, problems)
    _check_together(pools, problems)
    return pools


def _pool(name: str, tables: Sequence[Declared], problems: Problems) -> PoolSpec | None:
    path = ("pool", name)
    if not named(path, tables, problems):
        return None
    values, written, faultless = merged(tables)
    lacking = [key for key, field in FIELDS["pool"].items() if field.required and key not in written]
    for key in lacking:
        problems.add((*path, key), None, "is missing", FIELDS["pool"][key].hint)
    if lacking or not faultless:
        return None
    return PoolSpec(**{"apps": (scrub(name),), **values}, name=scrub(name))


def _check(pool: PoolSpec, hosts: Collection[str], problems: Problems) -> None:
    path = ("pool", pool.name)
    for host in pool.hosts:
        if host not in hosts:
            problems.add((*path, "hosts"), host, "is no host of this fleet", f"declare [hosts.{host}] or name another")
    needed, other = ("service", "start") if pool.kind == "python" else ("start", "service")
    if not getattr(pool, needed):
        problems.add((*path, needed), None, "is missing", f'kind "{pool.kind}" needs it')
    if getattr(pool, other):
        hint = f'write kind = "{"command" if pool.kind == "python" else "python"}", or leave it out'
        problems.add((*path, other), getattr(pool, other), f'says nothing to kind "{pool.kind}"', hint)
    for key in ("min", "guarantee"):
        if getattr(pool, key) > pool.max:
            problems.add((*path, key), getattr(pool, key), f"is above max = {pool.max}", "lower it, or raise max")
    if pool.min * len(pool.apps) + pool.ready_min > pool.max:
        said = f"together with min = {pool.min} of {len(pool.apps)} apps is above max = {pool.max}"
        problems.add((*path, "ready_min"), pool.ready_min, said, "lower one of them, or raise max")
    if pool.react_low >= pool.react_high:
        problems.add((*path, "react_low"), pool.react_low, f"is not below react_high = {pool.react_high:g}", "lower it")
    if pool.ports[1] - pool.ports[0] + 1 < pool.max + pool.cold:
        said = f"are fewer than max = {pool.max} and cold = {pool.cold} together"
        problems.add((*path, "ports"), list(pool.ports), said, "write a wider range")


def _check_together(pools: Sequence[PoolSpec], problems: Problems) -> None:
    """No app has two pools, and no two pools may ask one host for the same port."""
    for at, pool in enumerate(pools):
        for other in pools[:at]:
            if both := set(pool.apps) & set(other.apps):
                said = f"has {min(both)}, which pool {other.name} has as well"
                problems.add(("pool", pool.name, "apps"), list(pool.apps), said, "let one pool serve an app")
            apart = pool.ports[0] > other.ports[1] or pool.ports[1] < other.ports[0]
            if not apart and set(pool.hosts) & set(other.hosts):
                said = f"overlap those of pool {other.name} on {min(set(pool.hosts) & set(other.hosts))}"
                problems.add(("pool", pool.name, "ports"), list(pool.ports), said, "choose another range")
