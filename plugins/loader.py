"""Finds plugins by entry point: names are cheap, importing happens one at a time on demand.

``available`` reads only metadata. ``load`` imports exactly one plugin and raises, because a
caller that named it has nothing to fall back to; whoever loads several catches
``PluginError`` per plugin and goes on with the rest.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from msgspec import Struct

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label, scrub

BACKENDS: Final = "sidestep.backends"


class PluginError(SidestepError):
    """A plugin cannot be used; names the plugin, its distribution and what it raised."""


class Loaded(Struct, frozen=True):
    """One entry point: its name, the distribution it comes from, and where it points."""

    name: Label
    distribution: Label
    target: Label


def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def available(group: str) -> tuple[Loaded, ...]:
    """Every plugin of a group, by name, without importing any."""
    return tuple(
        Loaded(scrub(name), scrub(entry.dist.name if entry.dist else "?"), scrub(entry.value))
        for name, entry in sorted(_entries(group).items())
    )


def load(group: str, name: str) -> Any:
    """The object behind one entry point. Raises PluginError if there is none or it fails to import."""
    entries = _entries(group)
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise PluginError(f"no plugin {name!r} in {group}; installed: {known}", hint="is its package installed here?")
    try:
        return entries[name].load()
    except Exception as error:  # a plugin may raise anything; the caller isolates it
        source = entries[name].dist
        origin = source.name if source else "?"
        raise PluginError(
            f"plugin {name} ({origin}) cannot be loaded: {type(error).__name__}: {error}",
            hint=f"update or remove {origin}",
        ) from error
