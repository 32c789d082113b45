"""The fleet file: TOML in, checked values out; every problem named at once with its line.

Pure: the caller reads the file. Tables are ``[fleet] [ssh] [policy] [oracle]``,
``[hosts.NAME]``, ``[shards.NAME]`` and ``[defaults.host] [defaults.shard]``, which are
merged under each host and shard. Times may be written ``"15m"``, sizes ``"512M"``.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import tomli

from sidestep.fleet.config_checks import Readable, check_fleet
from sidestep.fleet.config_fields import FIELDS, NAME, NAME_HINT
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.toml_lines import Path, key_lines, line_of, places

__all__ = ["ConfigErrors", "dump_fleet", "parse_fleet"]

_SECTIONS: Final = ("fleet", "ssh", "policy", "oracle", "defaults", "hosts", "shards")
_DEFAULTS: Final = ("host", "shard")


class ConfigErrors(ConfigError):
    """All problems of one file; ``problems`` lists them, the first one gives file and line."""

    def __init__(self, problems: tuple[ConfigError, ...]) -> None:
        first = problems[0]
        super().__init__(first.file, first.line, first.key, first.value, "")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Problems:
    """Collects what is wrong, so that a person is told all of it in one go."""

    def __init__(self, source: str, lines: dict[Path, int]) -> None:
        self.source, self.lines = source, lines
        self.found: list[ConfigError] = []

    def add(self, path: Path, value: object, message: str, hint: str = "") -> None:
        """Note one problem at a key path; its line is looked up."""
        line = line_of(self.lines, path)
        self.found.append(ConfigError(self.source, line, ".".join(path), value, message, hint=hint))

    def finish(self) -> None:
        """Raise what was found, in the order of the file: one ConfigError, or ConfigErrors."""
        if self.found:
            ordered = tuple(sorted(self.found, key=lambda p: p.line))
            raise ordered[0] if len(ordered) == 1 else ConfigErrors(ordered)


def parse_fleet(text: str, source: str) -> FleetSpec:
    """The fleet that a TOML text declares. Raises ConfigError, or ConfigErrors for several problems."""
    try:
        tree = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise _syntax(error, text, source) from None
    problems = Problems(source, key_lines(text))
    tables = _tables((), tree, _SECTIONS, problems)
    defaults = _tables(("defaults",), tables.get("defaults", {}), _DEFAULTS, problems)
    fleet, ssh, policy, oracle = (
        _fields(kind, (kind,), tables.get(kind, {}), problems) for kind in ("fleet", "ssh", "policy", "oracle")
    )
    if "name" not in tables.get("fleet", {}):
        problems.add(("fleet", "name"), None, "is missing", 'write name = "..." under [fleet]')
    if not tree.get("hosts"):
        problems.add(("hosts",), None, "no host is declared", "add at least one [hosts.NAME] with address, cpu, memory")
    user = ssh.pop("user", "")
    declared_hosts, declared_shards = tables.get("hosts", {}), tables.get("shards", {})
    hosts = _named("host", "hosts", declared_hosts, defaults.get("host", {}), problems)
    shards = _named("shard", "shards", declared_shards, defaults.get("shard", {}), problems)
    readable = Readable(
        hosts=tuple(HostSpec(**{"user": user, **host}) for host in hosts),
        shards=tuple(ShardSpec(**shard) for shard in shards),
        routed=bool(fleet.get("router")),
        host_names=frozenset(declared_hosts),
        shard_names=frozenset(declared_shards),
        unsure_apps=_unsure(declared_shards, {shard["name"] for shard in shards}, defaults.get("shard", {})),
    )
    check_fleet(readable, problems.add)
    problems.finish()
    return FleetSpec(
        **fleet,
        **ssh,
        source=source,
        hosts=readable.hosts,
        shards=readable.shards,
        policy=Policy(**policy),
        oracle=OracleSpec(**oracle),
    )


def _syntax(error: tomli.TOMLDecodeError, text: str, source: str) -> ConfigError:
    line = error.lineno
    path = max(((number, path) for number, path in places(text) if number <= line), default=(0, ()))[1]
    first = key_lines(text).get(path, line)
    if first < line and ("twice" in error.msg or "overwrite" in error.msg):
        return ConfigError(
            source, line, ".".join(path), None, f"is declared twice; the first is on line {first}",
            hint="delete one of the two, or give it another name",
        )  # fmt: skip
    lines = text.split("\n")
    shown = lines[line - 1].strip() if line <= len(lines) else ""
    return ConfigError(
        source, line, "", None, f"not TOML: {error.msg}: {shown!r}", hint="see https://toml.io for the syntax"
    )


def _closest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}"


def _tables(
    path: Path, table: Mapping[str, Any], known: tuple[str, ...], problems: Problems
) -> dict[str, Mapping[str, Any]]:
    """The known tables of a table; what is unknown or no table is noted and left out."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in table.items():
        here = (*path, name)
        if name not in known:
            problems.add(here, None, "unknown section", _closest(name, known))
        elif not isinstance(value, dict):
            problems.add(here, value, "is a table, not a value", f"write [{'.'.join(here)}] and put the keys under it")
        else:
            found[name] = value
    return found


def _fields(kind: str, path: Path, table: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The checked values of one table; what is wrong is noted and left out."""
    fields, values = FIELDS[kind], dict[str, Any]()
    for name, value in table.items():
        field = fields.get(name)
        if field is None:
            problems.add((*path, name), value, "unknown key", _closest(name, fields))
            continue
        try:
            values[name] = field.read(value)
        except (ValueError, TypeError) as error:
            problems.add((*path, name), value, str(error), field.hint)
        except OverflowError:
            problems.add((*path, name), None, "is far too large", field.hint)
    return values


def _named(
    kind: str, section: str, tables: Mapping[str, Any], defaults: Mapping[str, Any], problems: Problems
) -> list[dict[str, Any]]:
    """The tables ``[section.NAME]`` without fault, each over the defaults; the others are noted and left out."""
    base = _fields(kind, ("defaults", kind), defaults, problems)
    required = [name for name, field in FIELDS[kind].items() if field.required]
    rows = []
    for name, table in tables.items():
        path: Path = (section, name)
        if not NAME.fullmatch(name):
            problems.add(path, None, "is not a usable name", NAME_HINT)
            continue
        if not isinstance(table, dict):
            problems.add(path, table, "is a table, not a value", f"write [{section}.{name}]")
            continue
        before = len(problems.found)
        row = {**base, **_fields(kind, path, table, problems), "name": scrub(name)}
        for lack in required:
            if lack not in table and lack not in defaults:
                problems.add((*path, lack), None, "is missing", f"write {lack} = ... under [{section}.{name}]")
        if len(problems.found) == before and all(key in row for key in required):
            rows.append(row)
    return rows


def _unsure(declared: Mapping[str, Any], read: set[str], defaults: Mapping[str, Any]) -> frozenset[str | None]:
    """The apps of the shards that could not be read; None stands for an app that is not known either."""
    broken = (table for name, table in declared.items() if name not in read)
    apps = (table.get("app", defaults.get("app")) if isinstance(table, dict) else None for table in broken)
    return frozenset(app if isinstance(app, str) else None for app in apps)


def dump_fleet(spec: FleetSpec) -> str:
    """TOML that parses back to an equal fleet (``source`` apart); used for fleets we make ourselves."""
    fleet = {name: getattr(spec, name) for name in FIELDS["fleet"]}
    parts = [_table("fleet", fleet), _table("ssh", {n: getattr(spec, n) for n in FIELDS["ssh"] if n != "user"})]
    parts += [_table("policy", _values(spec.policy, "policy")), _table("oracle", _values(spec.oracle, "oracle"))]
    parts += [_table(f"hosts.{_key(h.name)}", _values(h, "host")) for h in spec.hosts]
    parts += [_table(f"shards.{_key(s.name)}", _values(s, "shard")) for s in spec.shards]
    return "\n".join(parts)


def _values(struct: object, kind: str) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in FIELDS[kind]}


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _table(name: str, values: Mapping[str, Any]) -> str:
    rows = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{name}]", *rows, ""])


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return repr(float(value)) if math.isfinite(value) else str(float(value))
        case str():
            return _text(value)
        case tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no place in a fleet file")


def _text(value: str) -> str:
    escaped = "".join(f"\\{c}" if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in value)
    return f'"{escaped}"'
