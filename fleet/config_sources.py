"""The tables ``[source.NAME]``: several files made one, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_read import NAME, NAME_HINT
from sidestep.fleet.config_tables import Declared, closest, nothing_to_override, twice
from sidestep.fleet.extensions import SOURCES, Plugged
from sidestep.fleet.labels import scrub
from sidestep.fleet.sources import SourceSpec


def read_sources(declared: Sequence[Declared], plugged: Plugged | None, problems: Problems) -> tuple[SourceSpec, ...]:
    """The sources without fault, in the order of the files; ``plugged`` None takes any name for a plugin's."""
    parts: dict[str, list[Declared]] = {}
    for table in declared:
        before = parts.setdefault(table.name, [])
        if before and not table.override:
            twice(table.path, problems, table.document, problems.place(before[0].path, before[0].document))
            continue
        if table.override and not before:
            nothing_to_override(table.path, problems, table.document)
        problems.declare(("source", table.name), table.document, table.path)
        before.append(table)
    made = []
    known = plugged(SOURCES) if plugged is not None and parts else None
    for name, tables in parts.items():
        path = ("source", name)
        if not NAME.fullmatch(name):
            problems.add(path, None, "is not a usable name", NAME_HINT, tables[0].document)
            continue
        values = {key: value for table in tables for key, value in table.values.items()}
        faultless = all(table.faultless for table in tables)
        if not any("plugin" in table.keys for table in tables):
            problems.add((*path, "plugin"), None, "is missing", FIELDS["source"]["plugin"].hint)
        elif known is not None and values.get("plugin", "") not in known and "plugin" in values:
            hint = f"{closest(values['plugin'], sorted(known))}; a plugin's source needs its package installed here"
            problems.add((*path, "plugin"), values["plugin"], "is no source", hint)
        elif faultless:
            made.append(SourceSpec(**values, name=scrub(name)))
    return tuple(made)
