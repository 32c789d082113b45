"""Finds plugins by entry point: names are cheap, importing happens one at a time on demand.

Three grains keep start-up fast: ``available`` reads metadata and imports nothing, ``load``
imports exactly one plugin when it is first needed, and what it makes is made later still.
``load`` raises, because a caller that named a plugin has nothing to fall back to; whoever
loads several catches ``PluginError`` per plugin and goes on with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label, scrub

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: the names that the plugins of a group have
Plugged = Callable[[str], Collection[str]]

BACKENDS: Final = "sidestep.backends"
#: each a callable of RouterSpec and a function from the names of hosts to transports; returns a RouterEngine
ROUTERS: Final = "sidestep.routers"
GOALS: Final = "sidestep.goals"
CONSTRAINTS: Final = "sidestep.constraints"
ACTIONS: Final = "sidestep.actions"
TRANSPORTS: Final = "sidestep.transports"
FORECASTERS: Final = "sidestep.forecasters"
SOURCES: Final = "sidestep.sources"
NOTIFIERS: Final = "sidestep.notifiers"
COMMANDS: Final = "sidestep.commands"
PAGES: Final = "sidestep.pages"
THEMES: Final = "sidestep.themes"
SUBJECTS: Final = "sidestep.subjects"

#: groups that a package may have entry points in, and what each is
GROUPS: Final = {
    BACKENDS: "runs shards on hosts",
    TRANSPORTS: "connects to hosts",
    SOURCES: "tells what apps measure of their shards",
    FORECASTERS: "competes with the oracle's own models",
    GOALS: "tells the planner what is better",
    CONSTRAINTS: "tells the planner where shards may not be",
    ACTIONS: "offers what can be done to shards where they are",
    ROUTERS: "sends requests to shards",
    NOTIFIERS: "tells people",
    COMMANDS: "is typed after `sidestep`",
    PAGES: "is shown in the console",
    THEMES: "holds themes as TOML files",
    SUBJECTS: "what `sidestep plugin check` tries a backend with",
}


class PluginError(SidestepError):
    """A plugin cannot be used; names the plugin, its distribution and what it raised."""


class Loaded(NamedTuple):
    """One entry point: its name, the distribution it comes from, and where it points."""

    name: Label
    distribution: Label
    target: Label


def entries(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - a console's first paint does not wait for it

    return {entry.name: entry for entry in entry_points(group=group)}


def available(group: str) -> tuple[Loaded, ...]:
    """Every plugin of a group, by name, without importing any."""
    return tuple(
        Loaded(scrub(name), scrub(entry.dist.name if entry.dist else "?"), scrub(entry.value))
        for name, entry in sorted(entries(group).items())
    )


def names(group: str) -> frozenset[str]:
    """The names of a group's plugins, for checking what a file names; nothing is imported."""
    return frozenset(entries(group))


def installed() -> list[str]:
    """Every plugin of every group as words, sorted; what decides whether a fleet file is read as before."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - likewise

    found = entry_points()
    return sorted(f"{group} {entry.name}" for group in GROUPS for entry in found.select(group=group))


def load(group: str, name: str) -> Any:
    """The object behind one entry point. Raises PluginError if there is none or it fails to import."""
    found = entries(group)
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise PluginError(f"no plugin {name!r} in {group}; installed: {known}", hint="is its package installed here?")
    try:
        return found[name].load()
    except Exception as error:  # a plugin may raise anything; the caller isolates it
        source = found[name].dist
        origin = source.name if source else "?"
        raise PluginError(
            f"plugin {name} ({origin}) cannot be loaded: {type(error).__name__}: {error}",
            hint=f"update or remove {origin}",
        ) from error
