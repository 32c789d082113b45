"""Tables of the fleet's files: their keys checked, and the same table of several files made one.

What stands twice is an error that names both places, unless the later table says
``override = true``: then its keys replace those of the earlier one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidestep.fleet.config_document import Document
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_read import NAME, NAME_HINT, SecretFound, looks_secret, name_of, refuse_secrets
from sidestep.fleet.toml_lines import Path

OVERRIDE: Final = "override"
_NO_SECRETS: Final = (
    "a fleet file holds no secrets: name a key file with identity, and write "
    'passphrase = "file:PATH" or "command:LINE" under [ssh], or load the key into ssh-agent'
)


@dataclass(frozen=True, eq=False)
class Declared:
    """One ``[section.NAME]`` of one file, with the values that could be read."""

    document: Document
    name: str
    path: Path
    override: bool
    values: Mapping[str, Any]
    #: keys as written, readable or not
    keys: frozenset[str]
    faultless: bool


def closest(name: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not known."""
    listed = tuple(known)
    near = difflib.get_close_matches(name, listed, 1)
    return f"did you mean {near[0]}?" if near else f"known are: {', '.join(listed)}"


def tables(
    path: Path, table: Mapping[str, Any], known: tuple[str, ...], problems: Problems, document: Document
) -> dict[str, Mapping[str, Any]]:
    """The known tables of a table; what is unknown or no table is noted and left out."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in table.items():
        here = (*path, name)
        if name not in known:
            secret = looks_secret(name)
            problems.add(here, None, "unknown section", _NO_SECRETS if secret else closest(name, known), document)
        elif not isinstance(value, dict):
            hint = f"write [{'.'.join(here)}] and put the keys under it"
            problems.add(here, value, "is a table, not a value", hint, document)
        else:
            found[name] = value
    return found


def fields(kind: str, path: Path, table: Mapping[str, Any], problems: Problems, document: Document) -> dict[str, Any]:
    """The checked values of one table; what is wrong is noted and left out, and no secret is repeated."""
    known, values = FIELDS[kind], dict[str, Any]()
    for name, value in table.items():
        field, here = known.get(name), (*path, name)
        if name == OVERRIDE:
            continue
        try:
            refuse_secrets(value)
            if field is not None:
                values[name] = field.read(value)
            elif looks_secret(name):
                problems.add(here, None, "is no key of a fleet file, and seems to be a secret", _NO_SECRETS, document)
            else:
                problems.add(here, value, "unknown key", closest(name, known), document)
        except SecretFound as error:
            problems.add(here, None, str(error), _NO_SECRETS, document)
        except (ValueError, TypeError) as error:
            problems.add(here, value, str(error), field.hint if field else "", document)
        except OverflowError:
            problems.add(here, None, "is far too large", field.hint if field else "", document)
    return values


def override_of(path: Path, table: Mapping[str, Any], problems: Problems, document: Document) -> bool:
    """Whether a table says that it replaces keys of an earlier one."""
    value = table.get(OVERRIDE, False)
    if not isinstance(value, bool):
        problems.add((*path, OVERRIDE), value, f"must be true or false, not {name_of(value)}",
                     "write override = true, or leave it out", document)  # fmt: skip
    return value is True


def section(
    kind: str, path: Path, found: Iterable[tuple[Document, Mapping[str, Any]]], problems: Problems
) -> tuple[dict[str, Any], frozenset[str]]:
    """The values of a table that may stand in several files, and the keys that are written, readable or not."""
    values, places = dict[str, Any](), dict[str, Document]()
    for tables_before, (document, table) in enumerate(found):
        override = override_of(path, table, problems, document)
        if override and not tables_before:
            nothing_to_override(path, problems, document)
        fresh = fields(kind, path, table, problems, document)
        for key in table:
            first = places.setdefault(key, document)
            if first is not document and not override and key != OVERRIDE:
                twice((*path, key), problems, document, problems.place((*path, key), first))
                fresh.pop(key, None)
            places[key] = document
        values |= fresh
    return values, frozenset(places) - {OVERRIDE}


def twice(path: Path, problems: Problems, document: Document, first: tuple[str, int], name: str = "") -> None:
    """Note that something stands in two places, and name both."""
    file, line = first
    where = f"line {line}" if file == document.source else f"{file}:{line}"
    problems.add(
        path, None, f"{f'{name} ' if name else ''}is declared twice; the first is on {where}",
        "delete one of the two, or write override = true in the later table", document,
    )  # fmt: skip


def nothing_to_override(path: Path, problems: Problems, document: Document) -> None:
    """Note an override that comes before, or without, what it means."""
    problems.add(
        (*path, OVERRIDE), True, "overrides nothing that stands before it",
        "remove it, correct the name, or include this file after the other", document,
    )  # fmt: skip


def by_name(declared: Iterable[Declared], problems: Problems) -> dict[str, list[Declared]]:
    """The tables of every name: the first of the files, and those that override it; others are noted, and left out."""
    found: dict[str, list[Declared]] = {}
    for table in declared:
        before = found.setdefault(table.name, [])
        if before and not table.override:
            twice(table.path, problems, table.document, problems.place(before[0].path, before[0].document))
            continue
        if table.override and not before:
            nothing_to_override(table.path, problems, table.document)
        before.append(table)
    return found


def merged(parts: Iterable[Declared]) -> tuple[dict[str, Any], frozenset[str], bool]:
    """Tables of one name as one: values, keys that are written (readable or not), and whether all are faultless."""
    values, keys, faultless = dict[str, Any](), set[str](), True
    for part in parts:
        values |= part.values
        keys |= part.keys
        faultless &= part.faultless
    return values, frozenset(keys), faultless


def named(path: Path, tables: Sequence[Declared], problems: Problems) -> bool:
    """Note where the tables of one name stand; whether that name, the last of the path, is one."""
    for table in tables:
        problems.declare(path, table.document, table.path)
    if NAME.fullmatch(str(path[-1])):
        return True
    problems.add(path, None, "is not a usable name", NAME_HINT, tables[0].document)
    return False


def declarations(
    kind: str, section_path: Path, found: Iterable[tuple[Document, Mapping[str, Any]]], problems: Problems
) -> list[Declared]:
    """Every ``[section.NAME]`` in the order of the files; tables that are none are noted and left out."""
    rows = []
    for document, declared in found:
        for name, table in declared.items():
            path: Path = (*section_path, name)
            if not isinstance(table, dict):
                hint = f"write [{'.'.join(path)}]"
                value = None if looks_secret(name) else table
                problems.add(path, value, "is a table, not a value", hint, document)
                rows.append(Declared(document, name, path, False, {}, frozenset(), False))
                continue
            before = len(problems.found)
            override = override_of(path, table, problems, document)
            values = fields(kind, path, table, problems, document)
            faultless = len(problems.found) == before
            rows.append(Declared(document, name, path, override, values, frozenset(table) - {OVERRIDE}, faultless))
    return rows
