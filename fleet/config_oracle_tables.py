"""``[oracle]``, ``[oracle.trainer]`` and ``[oracle.candidates.NAME]`` of a fleet's files, as one specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidestep.fleet.config_document import Document
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_oracle import MOST_CANDIDATES
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_read import NAME, NAME_HINT
from sidestep.fleet.config_tables import by_name, declarations, merged, section, tables
from sidestep.fleet.inventory import CandidateSpec, OracleSpec, TrainerSpec
from sidestep.fleet.labels import scrub

_INNER: Final = ("trainer", "candidates")
_Found = list[tuple[Document, Mapping[str, Any]]]


def read_oracle(found: Iterable[tuple[Document, Mapping[str, Any]]], problems: Problems) -> OracleSpec:
    """The oracle that the tables declare; what is wrong is noted and left out."""
    own: _Found = []
    inner: dict[str, _Found] = {name: [] for name in _INNER}
    for document, table in found:
        known = FIELDS["oracle"]
        # a table within that nobody knows is more likely a word misspelt than a key
        within = {k: v for k, v in table.items() if k in _INNER or (k not in known and isinstance(v, dict))}
        own.append((document, {key: value for key, value in table.items() if key not in within}))
        for name, each in tables(("oracle",), within, _INNER, problems, document).items():
            inner[name].append((document, each))
    values, _ = section("oracle", ("oracle",), own, problems)
    trainer, _ = section("trainer", ("oracle", "trainer"), inner["trainer"], problems)
    return OracleSpec(**values, trainer=TrainerSpec(**trainer), candidates=_candidates(inner["candidates"], problems))


def _candidates(found: _Found, problems: Problems) -> tuple[CandidateSpec, ...]:
    """The candidates without fault, in the order of the files."""
    made = []
    declared = declarations("candidate", ("oracle", "candidates"), found, problems)
    for name, parts in by_name(declared, problems).items():
        first = parts[0]
        if not NAME.fullmatch(name):
            problems.add(first.path, None, "is not a usable name", NAME_HINT, first.document)
            continue
        values, written, faultless = merged(parts)
        for key, field in FIELDS["candidate"].items():
            if field.required and key not in written and (first.faultless or first.keys):
                hint = f"write {key} = ... under [{'.'.join(first.path)}]"
                problems.add((*first.path, key), None, "is missing", hint, first.document)
        if faultless and "model" in values:
            made.append(CandidateSpec(**values, name=scrub(name)))
    if len(made) > MOST_CANDIDATES:
        over = ("oracle", "candidates", str(made[MOST_CANDIDATES].name))
        problems.add(over, None, f"is one candidate more than the {MOST_CANDIDATES} that may compete", "remove some")
    return tuple(made)
