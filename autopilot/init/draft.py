"""Hosts from anywhere, as a fleet file: what cannot be taken over is left out, with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from sidestep.fleet.config_dump import table
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_ranges import compress
from sidestep.fleet.config_read import NAME, SecretFound
from sidestep.fleet.labels import scrub

_SHOWN: Final = 8
#: settings that all hosts may share, and where they are written then
_SHARED: Final = ("user", "port", "identity", "jump")


class Found(Struct, frozen=True, kw_only=True):
    """One host as a source names it; empty and 0 are not said."""

    name: str
    address: str
    port: int = 0
    user: str = ""
    identity: str = ""
    jump: str = ""
    groups: tuple[str, ...] = ()
    #: what tells two names of one machine: address, port and way, as they resolve
    machine: tuple[str, ...] = ()


class Draft(Struct):
    """What becomes the file, and what does not."""

    hosts: list[Found] = field(default_factory=list)
    #: group -> its groups; its hosts are said by the hosts
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: further keys of [ssh]
    ssh: dict[str, str] = field(default_factory=dict)
    #: reason -> whom it is about
    left: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, what: str, reason: str) -> None:
        """Note what is left out, and why."""
        self.left.setdefault(reason, []).append(what)

    def add(self, host: Found) -> None:
        """Take a host, unless it cannot stand in a fleet file or is there already."""
        name = usable(host.name)
        if not name:
            self.leave(host.name, "its name cannot be used: 1 to 63 of letters, digits, '.', '_', '-'")
            return
        if name != host.name:
            self.leave(f"{host.name} → {name}", "renamed: the name has characters that a fleet file does not allow")
        values = _values(host)
        for key, value in values.items():
            try:
                FIELDS["host"][key].read(value)
            except SecretFound:
                self.leave(host.name, f"its {key} is a secret, which a fleet file does not hold")
                return
            except (ValueError, TypeError) as error:
                self.leave(host.name, f"its {key} {error}")
                return
        machine = host.machine or (host.address.lower(), str(host.port or 22), host.jump)
        for other in self.hosts:
            if other.name == name:
                self.leave(host.name, "is named a second time")
                return
            if other.machine == machine:
                self.leave(f"{host.name} (is {other.name})", "is another name of a host that is taken")
                return
        self.hosts.append(
            Found(
                name=name, address=host.address, port=host.port, user=host.user, identity=host.identity,
                jump=host.jump, groups=host.groups, machine=machine,
            )
        )  # fmt: skip


def usable(name: str) -> str:
    """The name as a fleet file allows it, empty if there is no such thing."""
    changed = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-")
    return changed if NAME.fullmatch(changed) else ""


def _values(host: Found) -> dict[str, Any]:
    said = {"address": host.address, "port": host.port, "user": host.user, "identity": host.identity, "jump": host.jump}
    return {key: value for key, value in said.items() if value}


def write(draft: Draft, name: str, source: str) -> str:
    """The text of the fleet file; what all hosts share is written once."""
    rows = [_values(host) for host in draft.hosts]
    shared: dict[str, Any] = {}
    for key in _SHARED:
        said = {row.get(key) for row in rows}
        if len(rows) > 1 and len(said) == 1 and None not in said:
            shared[key] = rows[0][key]
    ssh: dict[str, Any] = {**draft.ssh, **{key: shared[key] for key in ("user", "identity") if key in shared}}
    defaults: dict[str, Any] = {key: shared[key] for key in ("port", "jump") if key in shared}
    parts = [f"# Made by sidestep init from {scrub(source)}. docs/fleet-file.md says what else may stand here.\n"]
    parts.append(table("fleet", {"name": name}))
    if ssh:
        parts.append(table("ssh", ssh))
    if defaults:
        parts.append(table("defaults.host", defaults))
    for host, row in zip(draft.hosts, rows, strict=True):
        parts.append(table(f"hosts.{host.name}", {key: value for key, value in row.items() if key not in shared}))
    parts += [table(f"groups.{group}", values) for group, values in _groups(draft).items()]
    return "\n".join(parts)


def _groups(draft: Draft) -> Mapping[str, dict[str, Any]]:
    """Groups with somebody in them; an empty one within another has no use."""
    members: dict[str, list[str]] = {}
    for host in draft.hosts:
        for group in host.groups:
            members.setdefault(group, []).append(host.name)
    names = {group: usable(group) for group in (*draft.groups, *members)}
    kept = {group for group in names if _peopled(group, draft.groups, members, set())}
    found: dict[str, dict[str, Any]] = {}
    for group, name in names.items():
        if group not in kept or not name or name in found:
            continue
        children = tuple(names[child] for child in draft.groups.get(group, ()) if child in kept and names[child])
        hosts = compress(members.get(group, ()))
        found[name] = {**({"hosts": hosts} if hosts else {}), **({"groups": children} if children else {})}
    return found


def _peopled(
    group: str, nested: Mapping[str, tuple[str, ...]], members: Mapping[str, list[str]], seen: set[str]
) -> bool:
    if group in seen:
        return False
    seen.add(group)
    return bool(members.get(group)) or any(_peopled(child, nested, members, seen) for child in nested.get(group, ()))


def told(draft: Draft, where: str) -> list[str]:
    """What people read: how many hosts, and what was left out and why."""
    count = len(draft.hosts)
    rows = [f"{where}: {count} host{'' if count == 1 else 's'}"]
    for reason, what in draft.left.items():
        names = list(Counter(what))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        rows.append(f"  {scrub(reason, 400)}: {scrub(', '.join(names[:_SHOWN]), 800)}{more}")
    return rows
