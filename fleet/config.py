"""The fleet file: TOML in, checked values out; every problem named at once with its file and line.

Pure: the caller reads the files; only named policies are looked up (``fleet.policies``) where
``[policy]`` uses some. Tables are ``[fleet] [ssh] [policy] [oracle] [history] [metrics] [alerts]``,
``[oracle.trainer]``, ``[oracle.candidates.NAME]``, ``[hosts.NAME]``, ``[groups.NAME]``,
``[shards.NAME]`` and ``[defaults.host] [defaults.shard]``, which are merged under each host and
shard. Times may be written ``"15m"``, sizes ``"512M"``. docs/fleet-file.md is the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sidestep.fleet.config_actions import read_actions
from sidestep.fleet.config_checks import Readable, check_fleet
from sidestep.fleet.config_document import Document, read_document
from sidestep.fleet.config_dump import dump_fleet
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_hosts import host_rows, read_groups, read_hosts
from sidestep.fleet.config_oracle import Groups, check_candidates
from sidestep.fleet.config_oracle_tables import read_oracle
from sidestep.fleet.config_planning import check_constraints, check_goals
from sidestep.fleet.config_pools import read_pools
from sidestep.fleet.config_problems import ConfigErrors, Problems
from sidestep.fleet.config_read import NAME, NAME_HINT
from sidestep.fleet.config_routing import check_router, check_spares
from sidestep.fleet.config_sources import read_sources
from sidestep.fleet.config_tables import Declared, by_name, declarations, merged, section, tables
from sidestep.fleet.extensions import Plugged
from sidestep.fleet.inventory import AlertsSpec, FailoverSpec, FleetSpec, HistorySpec, MetricsSpec, Policy, ShardSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.policies import Load, composed, load
from sidestep.fleet.routing import RouterSpec

__all__ = ["ConfigErrors", "dump_fleet", "parse_documents", "parse_fleet"]

_SECTIONS: Final = (
    "fleet", "ssh", "policy", "oracle", "history", "metrics", "alerts", "failover", "router", "defaults",
    "hosts", "groups", "shards", "pool", "source", "action",
)  # fmt: skip
_DEFAULTS: Final = ("host", "shard")
_Found = list[tuple[Document, Mapping[str, Any]]]


def parse_fleet(text: str, source: str) -> FleetSpec:
    """The fleet that one TOML text declares. Raises ConfigError, or ConfigErrors for several problems."""
    document = read_document(text, source)
    if document.includes:
        problems = Problems([document])
        problems.add(("include",), list(document.includes), "cannot be followed from here", "name the file itself")
        problems.finish()
    return parse_documents([document])


def parse_documents(documents: Sequence[Document], find: Load = load, plugged: Plugged | None = None) -> FleetSpec:
    """The fleet that a file and all that it includes declare, in that order. Raises as ``parse_fleet``.

    ``find`` looks up named policies. ``plugged`` says which names the plugins of a group
    have; None takes any name for one.
    """
    problems = Problems(documents)
    found: dict[str, _Found] = {name: [] for name in (*_SECTIONS, *(f"defaults.{kind}" for kind in _DEFAULTS))}
    for document in documents:
        for name, table in tables((), document.tree, _SECTIONS, problems, document).items():
            found[name].append((document, table))
    for document, table in found["defaults"]:
        for name, inner in tables(("defaults",), table, _DEFAULTS, problems, document).items():
            found[f"defaults.{name}"].append((document, inner))
    fleet, fleet_keys = section("fleet", ("fleet",), found["fleet"], problems)
    ssh, policy, history, metrics, alerts, failover = (
        section(kind, (kind,), found[kind], problems)[0]
        for kind in ("ssh", "policy", "history", "metrics", "alerts", "failover")
    )
    policy = composed(policy, problems, find)
    check_goals(policy.get("goals", ()), plugged, problems.add)
    check_constraints(policy.get("constraints", ()), plugged, problems.add)
    oracle = read_oracle(found["oracle"], problems)
    router, router_keys = section("router", ("router",), found["router"], problems)
    routing = RouterSpec(**router) if router_keys else None
    defaults = {kind: section(kind, ("defaults", kind), found[f"defaults.{kind}"], problems) for kind in _DEFAULTS}
    if "name" not in fleet_keys:
        problems.add(("fleet", "name"), None, "is missing", 'write name = "..." under [fleet]')
    if not any(document.tree.get("hosts") for document in documents):
        problems.add(("hosts",), None, "no host is declared", "add at least one [hosts.NAME] with an address")
    rows = host_rows(declarations("host", ("hosts",), found["hosts"], problems), problems)
    groups = read_groups(declarations("group", ("groups",), found["groups"], problems), rows, problems)
    hosts = read_hosts(rows, groups, defaults["host"], ssh.pop("user", ""), problems)
    shards, shard_names, unsure = _shards(found["shards"], defaults["shard"], problems)
    readable = Readable(
        hosts=hosts,
        shards=shards,
        routed=bool(fleet.get("router") or routing),
        tolerate=policy.get("tolerate", ""),
        host_names=frozenset(rows),
        shard_names=shard_names,
        unsure_apps=unsure,
    )
    check_fleet(readable, problems.add)
    check_router(routing, fleet.get("router", ""), frozenset(rows), problems.add)
    pools = read_pools(declarations("pool", ("pool",), found["pool"], problems), frozenset(rows), problems)
    sources = read_sources(declarations("source", ("source",), found["source"], problems), plugged, problems)
    actions = read_actions(
        declarations("action", ("action",), found["action"], problems), shards, shard_names, unsure, plugged, problems
    )
    check_spares(shards, problems.add)
    known = Groups(
        hosts=frozenset(group.name for group in groups),
        apps=frozenset(shard.app for shard in shards) | {app for app in unsure if app is not None},
        unsure=None in unsure,
    )
    check_candidates(oracle.candidates, oracle.model, known, plugged, problems.add)
    problems.finish()
    if "config" in ssh:
        ssh["ssh_config"] = ssh.pop("config")
    return FleetSpec(
        **fleet,
        **ssh,
        source=documents[0].source,
        hosts=hosts,
        shards=shards,
        policy=Policy(**policy),
        oracle=oracle,
        history=HistorySpec(**history),
        metrics=MetricsSpec(**metrics),
        alerts=AlertsSpec(**alerts),
        failover=FailoverSpec(**failover),
        routing=routing,
        pools=pools,
        sources=sources,
        actions=actions,
    )


def _shards(
    found: _Found, defaults: tuple[Mapping[str, Any], frozenset[str]], problems: Problems
) -> tuple[tuple[ShardSpec, ...], frozenset[str], frozenset[str | None]]:
    """The shards without fault, the names of all, and the apps of the others (None for one that is not known)."""
    base, base_keys = defaults
    named = by_name(declarations("shard", ("shards",), found, problems), problems)
    shards, unsure = [], set[str | None]()
    for name, parts in named.items():
        own, written, faultless = merged(parts)
        values = {**base, **own}
        for part in parts:
            problems.declare(("shards", name), part.document, part.path)
        faultless &= _nameable(parts[0], problems)
        faultless &= not _lacking("shard", parts[0], written | base_keys, problems)
        if faultless and all(key in values for key, field in FIELDS["shard"].items() if field.required):
            shards.append(ShardSpec(**values, name=scrub(name)))
        else:
            app = values.get("app")
            unsure.add(app if isinstance(app, str) else None)
    return tuple(shards), frozenset(named), frozenset(unsure)


def _nameable(table: Declared, problems: Problems) -> bool:
    if NAME.fullmatch(table.name):
        return True
    problems.add(table.path, None, "is not a usable name", NAME_HINT, table.document)
    return False


def _lacking(kind: str, table: Declared, keys: Iterable[str], problems: Problems) -> list[str]:
    """The required keys that nobody wrote, each noted; none for a table that is no table."""
    if not NAME.fullmatch(table.name) or not (table.faultless or table.keys):
        return []
    lacking = [key for key, field in FIELDS[kind].items() if field.required and key not in keys]
    for key in lacking:
        hint = f"write {key} = ... under [{'.'.join(table.path)}]"
        problems.add((*table.path, key), None, "is missing", hint, table.document)
    return lacking
