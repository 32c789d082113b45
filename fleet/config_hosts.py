"""Hosts of the fleet file: ranges expanded, groups applied, later tables over earlier ones.

Order of precedence, weakest first: ``[defaults.host]``, the groups that a host is in (in
the order of the files), the host itself. Labels are merged key by key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_ranges import MAX_NAMES, expand, is_range
from sidestep.fleet.config_read import NAME, NAME_HINT, Percent
from sidestep.fleet.config_tables import Declared, closest, nothing_to_override, twice
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.toml_lines import Path

#: hosts of one fleet, whatever its ranges multiply to
MAX_HOSTS: Final = 50_000
_RANGE_HINT: Final = 'write a range such as "web[01-40]" or "db[a,b]"'
_SHOWN: Final = 3


@dataclass
class Group:
    """One group: its settings, and the names of its hosts and of its groups."""

    name: Label
    place: Path
    settings: dict[str, Any]
    hosts: dict[str, None] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    faultless: bool = True


@dataclass
class _Row:
    """One host while its tables are put together."""

    values: dict[str, Any]
    keys: set[str]
    first: Declared
    faultless: bool


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` over ``base``; labels are merged key by key."""
    merged = {**base, **over}
    if "labels" in base and "labels" in over:
        merged["labels"] = tuple(sorted((dict(base["labels"]) | dict(over["labels"])).items()))
    return merged


def host_rows(declared: Iterable[Declared], problems: Problems) -> dict[str, _Row]:
    """One row for every host that is declared, readable or not."""
    rows: dict[str, _Row] = {}
    for table in declared:
        names = _expanded(table, problems)
        addresses = _addresses(table, names, problems) if names else ()
        if len(rows) + len(names) > MAX_HOSTS:
            problems.add(table.path, None, f"makes more than {MAX_HOSTS} hosts", "split the fleet", table.document)
            break
        _note_twice([name for name in names if name in rows and not table.override], rows, table, problems)
        if table.override and not any(name in rows for name in names):
            nothing_to_override(table.path, problems, table.document)
        for number, name in enumerate(names):
            own = dict(table.values)
            if addresses:
                own["address"] = addresses[number]
            row = rows.get(name)
            faultless = table.faultless and (bool(addresses) or "address" not in table.keys)
            if row is None:
                rows[name] = _Row(own, set(table.keys), table, faultless)
            elif table.override:
                row.values, row.faultless = merge(row.values, own), row.faultless and faultless
                row.keys |= table.keys
            else:
                continue
            problems.declare(("hosts", name), table.document, table.path)
    return rows


def _expanded(table: Declared, problems: Problems) -> tuple[str, ...]:
    try:
        names = expand(table.name)
    except ValueError as error:
        problems.add(table.path, None, str(error), _RANGE_HINT, table.document)
        return ()
    wrong = [name for name in names if not NAME.fullmatch(name)]
    if wrong:
        said = f"{scrub(wrong[0], 80)} is not a usable name" if is_range(table.name) else "is not a usable name"
        problems.add(table.path, None, said, NAME_HINT, table.document)
        return ()
    if len(set(names)) < len(names):
        problems.add(table.path, None, "names a host twice", "let its ranges not overlap", table.document)
        return ()
    return names


def _addresses(table: Declared, names: Sequence[str], problems: Problems) -> tuple[str, ...]:
    """The address of every host of a range; nothing if there is none, or if it cannot be used."""
    pattern = table.values.get("address")
    if pattern is None:
        return ()
    path, document = (*table.path, "address"), table.document
    try:
        found = expand(pattern)
    except ValueError as error:
        hint = 'write a range such as "10.0.0.[1-40]"; an IPv6 address stands without brackets'
        problems.add(path, pattern, str(error), hint, document)
        return ()
    if len(found) != len(names):
        said = f"{len(names)} hosts but {len(found)} address{'' if len(found) == 1 else 'es'}"
        problems.add(path, pattern, said, "let name and address have ranges of the same length", document)
        return ()
    return found


def _note_twice(names: list[str], rows: Mapping[str, _Row], table: Declared, problems: Problems) -> None:
    """Note hosts that an earlier table declares; one problem for each of these tables."""
    by_first: dict[Declared, list[str]] = {}
    for name in names:
        by_first.setdefault(rows[name].first, []).append(name)
    for first, hosts in by_first.items():
        more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
        shown = "" if hosts == [table.name] else ", ".join(hosts[:_SHOWN]) + more
        twice(table.path, problems, table.document, problems.place(first.path, first.document), shown)


def read_groups(declared: Iterable[Declared], hosts: Mapping[str, _Row], problems: Problems) -> list[Group]:
    """The groups in the order of the files; their hosts include those of their groups."""
    groups: dict[str, Group] = {}
    firsts: dict[str, Declared] = {}
    for table in declared:
        if not NAME.fullmatch(table.name):
            problems.add(table.path, None, "is not a usable name", NAME_HINT, table.document)
            continue
        settings = dict(table.values)
        members, nested = settings.pop("hosts", ()), settings.pop("groups", ())
        group = groups.get(table.name)
        if group is None:
            if table.override:
                nothing_to_override(table.path, problems, table.document)
            group = groups[table.name] = Group(scrub(table.name), table.path, {})
            firsts[table.name] = table
        elif not table.override:
            first = firsts[table.name]
            twice(table.path, problems, table.document, problems.place(first.path, first.document))
            continue
        problems.declare(("groups", table.name), table.document, table.path)
        group.settings = merge(group.settings, settings)
        if "hosts" in table.values:
            group.hosts = dict.fromkeys(_members(table, members, hosts, problems))
        if "groups" in table.values:
            group.groups = list(nested)
    for group in groups.values():
        for name in group.groups:
            if name not in groups:
                problems.add((*group.place, "groups"), name, "is no group of this fleet", closest(name, groups))
    _nest(groups, problems)
    return list(groups.values())


def _members(table: Declared, patterns: Iterable[str], hosts: Mapping[str, _Row], problems: Problems) -> Iterable[str]:
    path = (*table.path, "hosts")
    for pattern in patterns:
        try:
            names = expand(pattern, MAX_NAMES)
        except ValueError as error:
            problems.add(path, pattern, str(error), _RANGE_HINT, table.document)
            continue
        lacking = [name for name in names if name not in hosts]
        if lacking:
            said = (
                "" if lacking == [pattern] else f"{', '.join(lacking[:_SHOWN])}{' …' if len(lacking) > _SHOWN else ''} "
            )
            near = closest(lacking[0], hosts) if len(hosts) <= MAX_NAMES // 10 else ""
            hint = near if near.startswith("did") else f"declare [hosts.{lacking[0]}] or correct the name"
            problems.add(path, pattern, f"{said}is no host of this fleet", hint, table.document)
        yield from (name for name in names if name in hosts)


def _nest(groups: Mapping[str, Group], problems: Problems) -> None:
    """Give every group the hosts of its groups; a cycle is noted once."""
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            cycle = " → ".join((*above[above.index(name) :], name))
            problems.add(
                (*groups[name].place, "groups"), None, f"goes round in a circle: {cycle}", "remove one of them"
            )
            done.update(above)
        if name in done or name not in groups or name in above:
            return
        group = groups[name]
        for child in group.groups:
            visit(child, (*above, name))
            if child in groups:
                group.hosts |= groups[child].hosts
        done.add(name)

    for name in groups:
        visit(name, ())


def read_hosts(
    rows: Mapping[str, _Row],
    groups: Sequence[Group],
    defaults: tuple[Mapping[str, Any], frozenset[str]],
    user: str,
    problems: Problems,
) -> tuple[HostSpec, ...]:
    """The hosts without fault, everything merged; what they lack is noted."""
    base, base_keys = defaults
    within: dict[str, list[Group]] = {}
    for group in groups:
        for name in group.hosts:
            within.setdefault(name, []).append(group)
    found = []
    blamed: set[Path] = set()
    for name, row in rows.items():
        readable = row.faultless or row.keys
        lacking = [k for k, f in FIELDS["host"].items() if f.required and k not in {*row.keys, *base_keys}]
        for key in lacking:
            if readable and row.first.path not in blamed:
                hint = f"write {key} = ... under [{'.'.join(row.first.path)}]"
                problems.add((*row.first.path, key), None, "is missing", hint, row.first.document)
        if lacking:
            blamed.add(row.first.path)
        mine = within.get(name, ())
        values: dict[str, Any] = dict(base)
        for group in mine:
            values = merge(values, group.settings)
        values = merge(values, row.values)
        if row.faultless and not lacking and "address" in values:
            named = {"user": user, **values, "name": scrub(name)}
            found.append(HostSpec(**_reserved(named), groups=tuple(sorted(group.name for group in mine))))
    return tuple(found)


def _reserved(values: dict[str, Any]) -> dict[str, Any]:
    """A reserve in percent as an amount where the capacity is declared, else as a share of what turns up."""
    for kind in ("cpu", "memory"):
        reserve, capacity = values.get(f"reserve_{kind}"), values.get(kind)
        if not isinstance(reserve, Percent):
            continue
        del values[f"reserve_{kind}"]
        if capacity:
            amount = capacity * float(reserve) / 100
            values[f"reserve_{kind}"] = amount if kind == "cpu" else int(amount)
        else:
            values[f"reserve_{kind}_percent"] = float(reserve)
    return values
