"""The policy of a backtest: defaults, then files, then single values, all read as the fleet file's are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import tomli

from sidestep.autopilot.config_file import read_files
from sidestep.fleet.config_document import Document, read_document
from sidestep.fleet.config_fields import FIELDS
from sidestep.fleet.config_oracle import MODELS
from sidestep.fleet.config_problems import Problems
from sidestep.fleet.config_tables import closest, fields
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.fleet.policies import composed
from sidestep.fleet.resources import show_seconds

#: what takes no part in a replay
_IGNORED: Final = frozenset({"candidates", "trainer"})
#: steps of a horizon and of the shortest contention, where nobody says and the data are coarse
HORIZON: Final = 12
DURATION: Final = 2


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A policy and the oracle for it; ``notes`` say what nobody named and had to be chosen."""

    policy: Policy
    oracle: OracleSpec
    notes: tuple[str, ...]


def setting(given: Sequence[str], step: float, *, model: str = "", season: float | None = None) -> Setting:
    """What ``--policy`` options mean for data of ``step`` seconds.

    Each is a file with [policy] and [oracle] tables, such as a fleet file, or name=value; later
    ones win. Raises ConfigError with file, line and remedy, UsageError for what is neither.
    """
    policy: dict[str, Any] = {}
    oracle: dict[str, Any] = {}
    for text in given:
        for document in _documents(text):
            problems = Problems([document])
            for kind, target in (("policy", policy), ("oracle", oracle)):
                table = document.tree.get(kind, {})
                known = (
                    {name: value for name, value in table.items() if name in FIELDS[kind]}
                    if kind == "oracle"
                    else table
                )
                values = fields(kind, (kind,), known, problems, document)
                target.update(composed(values, problems) if kind == "policy" else values)
            problems.finish()
    oracle = {name: value for name, value in oracle.items() if name not in _IGNORED}
    if model:
        oracle["model"] = _model(model)
    if season is not None:
        oracle["season"] = season
    notes = []
    chosen = Policy(**policy)
    for name, least in (("horizon", HORIZON * step), ("min_duration", DURATION * step)):
        if name not in policy and getattr(chosen, name) < least:
            chosen = msgspec.structs.replace(chosen, **{name: least})
            notes.append(f"{name} {show_seconds(least)}: the default is shorter than the data allow")
    if chosen.horizon < step:
        raise UsageError(
            f"a horizon of {show_seconds(chosen.horizon)} is shorter than one step of the data, {show_seconds(step)}",
            hint="name a longer one, such as --policy horizon=1h",
        )
    if math.ceil(chosen.horizon / step) > 600:
        raise UsageError(
            f"a horizon of {math.ceil(chosen.horizon / step)} steps; 600 at most",
            hint="name a coarser --step, or a shorter horizon",
        )
    return Setting(policy=chosen, oracle=OracleSpec(**{**oracle, "step": step, "deadline": 600.0}), notes=tuple(notes))


def _model(name: str) -> str:
    """The name of a model that can serve. Raises UsageError: a worker that cannot start would be waited for."""
    if name not in MODELS:
        raise UsageError(f"--model {name}: no such model", hint=f"--model is one of {', '.join(MODELS)}")
    return name


def _documents(text: str) -> tuple[Document, ...]:
    """The tables in a file, or of one name=value."""
    name, equals, value = text.partition("=")
    if not equals or Path(text).exists():
        path = Path(text)
        if not path.is_file():
            raise UsageError(f"--policy {text}: neither a file nor name=value", hint="such as --policy horizon=30m")
        return read_files(path).documents
    if name not in FIELDS["policy"]:
        raise UsageError(f"--policy {text}: no key {name}", hint=closest(name, FIELDS["policy"]))
    try:
        tomli.loads(f"{name} = {value}")
        written = value
    except tomli.TOMLDecodeError:
        written = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return (read_document(f"[policy]\n{name} = {written}\n", f"--policy {name}"),)
