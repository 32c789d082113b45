"""Hosts of an Ansible inventory: its INI form, and the JSON that ``ansible-inventory --list`` prints.

The INI form is read here, so that Ansible need not be installed. YAML is Ansible's to read:
its inventories may be plugins, templates and vaults, and a parser of our own would read some
of them wrongly.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct, field

from sidestep.autopilot.init.draft import Draft, Found
from sidestep.fleet.config_ranges import MAX_NAMES
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub

_SECTION: Final = re.compile(r"\[([^\]:]+)(?::(children|vars|hosts))?\]\s*(?:[#;].*)?")
_RANGE: Final = re.compile(r"\[(?:(\d+):(\d+)|([A-Za-z]):([A-Za-z]))(?::(\d+))?\]")
_JUMP: Final = re.compile(r"(?:^|\s)(?:-J\s*|-o\s*['\"]?ProxyJump[= ]\s*)([^\s'\"]+)")
_EVERYBODY: Final = ("all", "ungrouped")
_OVER_SSH: Final = {"", "ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.netcommon.libssh"}
_SECRET: Final = re.compile(r"pass|vault|secret|token")
#: variables that are taken over or change nothing for us
_TAKEN: Final = re.compile(
    r"ansible_(ssh_)?(host|port|user|private_key_file|common_args|extra_args|connection|executable)"
    r"|ansible_(python_interpreter|ssh_pipelining|ssh_retries|shell_type|group_priority)"
)


class Inventory(Struct):
    """Hosts with their own variables, and groups with theirs."""

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: dict[str, dict[str, None]] = field(default_factory=dict)
    children: dict[str, dict[str, None]] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_ini(text: str, source: str) -> Inventory:
    """An inventory in its INI form. Raises UsageError naming the line that is none."""
    found = Inventory()
    group, kind = "ungrouped", "hosts"
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("[") and (section := _SECTION.fullmatch(line)):
            group, kind = section[1].strip(), section[2] or "hosts"
            found.members.setdefault(group, {})
            continue
        try:
            if kind == "vars":
                _variable_line(found, group, line)
            elif kind == "children":
                child = line.split("#", 1)[0].strip()
                found.children.setdefault(group, {})[child] = None
                found.members.setdefault(child, {})
            else:
                _host_line(found, group, line)
        except ValueError as error:
            raise UsageError(
                f"{source}:{number}: {error}: {line[:80]}",
                hint="is it an INI inventory? For any other: ansible-inventory -i FILE --list > inventory.json",
            ) from None
    return found


def _variable_line(found: Inventory, group: str, line: str) -> None:
    key, equals, value = line.partition("=")
    if not equals:
        raise ValueError("is no variable: NAME = VALUE")
    found.variables.setdefault(group, {})[key.strip()] = _plain(value.strip())


def _host_line(found: Inventory, group: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    own: dict[str, str] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"has {word!r} after the host, which is no NAME=VALUE")
        own[key] = value
    pattern = words[0]
    place = re.fullmatch(r"([^:\[\]]+(?:\[[^\]]*\][^:\[\]]*)*|\[[0-9A-Fa-f:]+\]):(\d+)", pattern)
    if place and not re.fullmatch(r"[0-9A-Fa-f:]+", pattern):
        pattern = place[1]
        own.setdefault("ansible_port", place[2])
    for name in hosts_of(pattern):
        found.hosts.setdefault(name, {}).update(own)
        found.members.setdefault(group, {})[name] = None


def hosts_of(pattern: str) -> Iterator[str]:
    """The names of ``web[01:50].example``: ranges of numbers or letters, with an optional step. Raises ValueError."""
    pieces = _RANGE.split(pattern)
    fixed = pieces[::6]
    if any("[" in piece or "]" in piece for piece in fixed):
        raise ValueError("has a bracket that is no range such as [01:50]")
    choices, count = [], 1
    for at in range(1, len(pieces), 6):
        low, high, first, last, step = pieces[at : at + 5]
        choice = _numbers(low, high, int(step or 1)) if low else _letters(first, last, int(step or 1))
        count *= len(choice)
        if not choice or count > MAX_NAMES:
            raise ValueError(f"is a range of {'nothing' if not choice else f'more than {MAX_NAMES}'}")
        choices.append(choice)
    for row in itertools.product(*choices):
        yield "".join(itertools.chain(*itertools.zip_longest(fixed, row, fillvalue="")))


def _numbers(low: str, high: str, step: int) -> list[str]:
    if len(high) > 9 or int(high) - int(low) > MAX_NAMES * max(step, 1):
        raise ValueError(f"is a range of more than {MAX_NAMES}")
    width = len(low) if low.startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(int(low), int(high) + 1, max(step, 1))]


def _letters(first: str, last: str, step: int) -> list[str]:
    return [chr(code) for code in range(ord(first), ord(last) + 1, max(step, 1))]


def read_list(tree: Any, source: str) -> Inventory:
    """An inventory as ``ansible-inventory --list`` prints it. Raises UsageError for another shape."""
    found = Inventory()
    if not isinstance(tree, dict) or not isinstance(tree.get("_meta", {}), dict):
        raise UsageError(f"{source} is no inventory", hint="make it with: ansible-inventory -i FILE --list")
    variables = tree.get("_meta", {}).get("hostvars", {})
    for group, said in tree.items():
        if group == "_meta" or not isinstance(said, dict):
            continue
        for host in _texts(said.get("hosts")):
            found.hosts.setdefault(host, {})
            found.members.setdefault(group, {})[host] = None
        found.children[group] = dict.fromkeys(_texts(said.get("children")))
        found.members.setdefault(group, {})
        if isinstance(said.get("vars"), dict):
            found.variables[group] = dict(said["vars"])
    for host, own in variables.items() if isinstance(variables, dict) else ():
        if isinstance(own, dict):
            found.hosts.setdefault(host, {}).update(own)
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))


def draft_of(inventory: Inventory) -> Draft:
    """The hosts with what Ansible would connect with: variables of groups, outer before inner, then their own."""
    draft = Draft()
    depths = _depths(inventory)
    within = _within(inventory)
    for name, own in inventory.hosts.items():
        variables: dict[str, Any] = dict(inventory.variables.get("all", {}))
        for group in sorted(within.get(name, ()), key=lambda g: (depths.get(g, 1), g)):
            variables |= inventory.variables.get(group, {}) if group != "all" else {}
        _add(draft, name, variables | own, inventory)
    draft.groups = {
        group: tuple(child for child in inventory.children.get(group, ()) if child not in _EVERYBODY)
        for group in inventory.members
        if group not in _EVERYBODY
    }
    return draft


def _add(draft: Draft, name: str, variables: Mapping[str, Any], inventory: Inventory) -> None:
    connection = _said(variables, "connection")
    if connection not in _OVER_SSH:
        draft.leave(name, f"is not reached over SSH (ansible_connection = {scrub(connection, 40)})")
        return
    port = _said(variables, "port")
    values = {key: _said(variables, key) for key in ("host", "user", "private_key_file")}
    if any("{{" in value for value in (*values.values(), port)):
        draft.leave(name, "is told by a template; use ansible-inventory --list, or write it down")
        return
    arguments = f"{_said(variables, 'common_args')} {_said(variables, 'extra_args')}"
    jump = found[1] if (found := _JUMP.search(arguments)) else ""
    if _JUMP.sub("", arguments).strip():
        draft.leave(name, "taken without its further ssh arguments; write them into ssh_config")
    for key in variables:
        if key.startswith("ansible_") and _SECRET.search(key):
            draft.leave(name, "taken without its password; sidestep logs in with keys only")
        elif key.startswith("ansible_become") and str(variables[key]).lower() in {"true", "yes", "1"}:
            draft.leave(name, "taken without become; sidestep stays the user that logs in")
        elif key.startswith("ansible_") and not _TAKEN.fullmatch(key) and not key.startswith("ansible_become"):
            draft.leave(key, "variables without a meaning here")
    groups = tuple(group for group, members in inventory.members.items() if name in members and group not in _EVERYBODY)
    draft.add(
        Found(
            name=name,
            address=values["host"] or name,
            port=int(port) if port.isdigit() and len(port) < 7 else 0,
            user=values["user"],
            identity=values["private_key_file"],
            jump=jump,
            groups=groups,
        )
    )


def _said(variables: Mapping[str, Any], what: str) -> str:
    """A connection variable, by its name or its older one."""
    for key in (f"ansible_{what}", f"ansible_ssh_{what}"):
        if variables.get(key) is not None:
            return str(variables[key])
    return ""


def _within(inventory: Inventory) -> dict[str, set[str]]:
    """host -> the groups it is in, directly or through others. Raises UsageError for a circle."""
    parents: dict[str, set[str]] = {}
    for group, children in inventory.children.items():
        for child in children:
            parents.setdefault(child, set()).add(group)
    above: dict[str, set[str]] = {}

    def climb(group: str, path: tuple[str, ...]) -> set[str]:
        if group in path:
            raise UsageError(
                f"the groups go round in a circle: {' → '.join((*path, group))}", hint="remove one of them"
            )
        if group not in above:
            above[group] = {group}.union(*(climb(parent, (*path, group)) for parent in parents.get(group, ())))
        return above[group]

    found: dict[str, set[str]] = {}
    for group, members in inventory.members.items():
        for host in members:
            found.setdefault(host, set()).update(climb(group, ()))
    for group in parents:
        climb(group, ())
    return found


def _depths(inventory: Inventory) -> dict[str, int]:
    """How far a group is below the outermost one, by the longest way."""
    depths: dict[str, int] = {}

    def sink(groups: Iterable[str], depth: int) -> None:
        for group in groups:
            if depth <= len(inventory.members) + 1 and depths.get(group, 0) < depth:
                depths[group] = depth
                sink(inventory.children.get(group, ()), depth + 1)

    sink(inventory.members, 1)
    return depths


def _plain(value: str) -> str:
    """A value without the quotes around it."""
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value
