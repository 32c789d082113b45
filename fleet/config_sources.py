"""The tables ``[source.NAME]``: several files made one, and what is missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_tables import Declared, by_name, closest, merged, named
from sidestep.fleet.extensions import SOURCES, Plugged
from sidestep.fleet.labels import scrub
from sidestep.fleet.sources import SourceSpec


def read_sources(declared: Sequence[Declared], plugged: Plugged | None, problems: Problems) -> tuple[SourceSpec, ...]:
    """The sources without fault, in the order of the files; ``plugged`` None takes any name for a plugin's."""
    parts = by_name(declared, problems)
    known = plugged(SOURCES) if plugged is not None and parts else None
    found = (_source(name, tables, known, problems) for name, tables in parts.items())
    return tuple(source for source in found if source is not None)


def _source(
    name: str, tables: Sequence[Declared], known: Collection[str] | None, problems: Problems
) -> SourceSpec | None:
    path = ("source", name)
    if not named(path, tables, problems):
        return None
    values, written, faultless = merged(tables)
    plugin = values.get("plugin")
    if "plugin" not in written:
        problems.add((*path, "plugin"), None, "is missing", FIELDS["source"]["plugin"].hint)
        return None
    if plugin is not None and known is not None and plugin not in known:
        hint = f"{closest(plugin, sorted(known))}; a plugin's source needs its package installed here"
        problems.add((*path, "plugin"), plugin, "is no source", hint)
        return None
    return SourceSpec(**values, name=scrub(name)) if faultless else None
