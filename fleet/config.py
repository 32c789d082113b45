"""The fleet file: TOML in, checked values out; every problem named at once with its line.

Pure: the caller reads the file. Tables are ``[fleet] [ssh] [policy] [oracle]``,
``[hosts.NAME]``, ``[shards.NAME]`` and ``[defaults.host] [defaults.shard]``, which are
merged under each host and shard. Times may be written ``"15m"``, sizes ``"512M"``.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import tomli

from sidestep.fleet.config_checks import check_fleet
from sidestep.fleet.config_fields import FIELDS, Field
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import scrub
from sidestep.fleet.toml_lines import Path, key_lines, line_of

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SECTIONS: Final = ("fleet", "ssh", "policy", "oracle", "defaults", "hosts", "shards")


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
    for name, value in tree.items():
        if name not in _SECTIONS:
            problems.add((name,), None, "unknown section", _closest(name, _SECTIONS))
        elif not isinstance(value, dict):
            problems.add((name,), value, "is a table, not a value", f"write [{name}] and put the keys under it")
    tables = {name: value for name, value in tree.items() if isinstance(value, dict)}
    defaults = tables.get("defaults", {})
    for name in defaults:
        if name not in ("host", "shard"):
            problems.add(("defaults", name), None, "unknown defaults", "use [defaults.host] or [defaults.shard]")
    fleet = {**_fields("fleet", ("fleet",), tables.get("fleet", {}), problems),
             **_fields("ssh", ("ssh",), tables.get("ssh", {}), problems)}  # fmt: skip
    user = fleet.pop("user", "")
    hosts = _named("host", "hosts", tables.get("hosts", {}), defaults.get("host", {}), problems)
    shards = _named("shard", "shards", tables.get("shards", {}), defaults.get("shard", {}), problems)
    policy = _fields("policy", ("policy",), tables.get("policy", {}), problems)
    oracle = _fields("oracle", ("oracle",), tables.get("oracle", {}), problems)
    for required, where in (("name", ("fleet",)),):
        if required not in fleet:
            problems.add((*where, required), None, "is missing", 'write name = "..." under [fleet]')
    if not hosts and not any(p.key.startswith("hosts") for p in problems.found):
        problems.add(("hosts",), None, "no host is declared", "add at least one [hosts.NAME] with address, cpu, memory")
    problems.finish()
    spec = FleetSpec(
        **fleet,
        source=source,
        hosts=tuple(HostSpec(**{"user": user, **h}) for h in hosts),
        shards=tuple(ShardSpec(**s) for s in shards),
        policy=Policy(**policy),
        oracle=OracleSpec(**oracle),
    )
    check_fleet(spec, problems.add)
    problems.finish()
    return spec


def _syntax(error: tomli.TOMLDecodeError, text: str, source: str) -> ConfigError:
    line = int(getattr(error, "lineno", 0) or 0)
    message = str(getattr(error, "msg", "") or error)
    shown = text.splitlines()[line - 1].strip() if 0 < line <= text.count("\n") + 1 and text.splitlines() else None
    if "twice" in message or "overwrite" in message.lower() or "duplicate" in message.lower():
        return ConfigError(
            source, line, "", shown, f"is declared twice ({message})", hint="keep one and delete the other"
        )
    return ConfigError(source, line, "", shown, f"not TOML: {message}", hint="see https://toml.io for the syntax")


def _closest(name: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}"


def _fields(kind: str, path: Path, table: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The checked values of one table; what is wrong is noted and left out."""
    fields, values = FIELDS[kind], dict[str, Any]()
    for name, value in table.items():
        field = fields.get(name)
        if field is None:
            problems.add((*path, name), value, "unknown key", _closest(name, list(fields)))
            continue
        try:
            values[name] = field.read(value)
        except (ValueError, TypeError, OverflowError) as error:
            problems.add((*path, name), value, str(error), field.hint)
    return values


def _named(
    kind: str, section: str, tables: Mapping[str, Any], defaults: Mapping[str, Any], problems: Problems
) -> list[dict[str, Any]]:
    """The checked tables ``[section.NAME]``, each over the defaults, with required keys present."""
    base = _fields(kind, ("defaults", kind), defaults, problems) if isinstance(defaults, dict) else {}
    rows = []
    for name, table in tables.items():
        path: Path = (section, name)
        if not NAME.fullmatch(name):
            problems.add(path, None, "is not a usable name", "1 to 63 of letters, digits, '.', '_', '-'; no '.' first")
            continue
        if not isinstance(table, dict):
            problems.add(path, table, "is a table, not a value", f"write [{section}.{name}]")
            continue
        row = {**base, **_fields(kind, path, table, problems), "name": scrub(name)}
        missing = [f for f, field in FIELDS[kind].items() if field.required and f not in row and f not in table]
        for lack in missing:
            problems.add((*path, lack), None, "is missing", f"write {lack} = ... under [{section}.{name}]")
        if all(f in row for f, field in FIELDS[kind].items() if field.required):
            rows.append(row)
    return rows


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
    writers: dict[type, Callable[[Any], str]] = {
        bool: lambda v: "true" if v else "false",
        int: str,
        float: lambda v: repr(v) if math.isfinite(v) else str(v),
        str: _text,
        tuple: lambda v: "[" + ", ".join(_toml(item) for item in v) + "]",
    }
    return writers[type(value)](value)


def _text(value: str) -> str:
    escaped = "".join(f"\\{c}" if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in value)
    return f'"{escaped}"'


__all__ = ["ConfigErrors", "Field", "dump_fleet", "parse_fleet"]
