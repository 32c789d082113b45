"""What ``sidestep hosts`` and ``sidestep oracle`` print as JSON, as types, and the JSON Schema of them.

The schemas are published beside those of forecasts and demand, in ``fleet/*.schema.json``, and so
are those of the planner's answers (``fleet.questions``). They are made from the types:
``python -m sidestep.console.headless.published`` writes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from sidestep import fleet
from sidestep.autopilot.protocol_oracle import OracleView, RoundTrip
from sidestep.fleet import questions
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.labels import Label
from sidestep.fleet.questions import nullable

HOSTS: Final = "sidestep.hosts/1"
ORACLE: Final = "sidestep.oracle/1"


class Samples(Struct, frozen=True, kw_only=True):
    """How well a host's samples come: seconds since the newest one, what went wrong, and its clock's skew."""

    age: float
    gaps: float
    restarts: float
    resets: float
    skew: float


class Part(Struct, frozen=True, kw_only=True):
    """A fraction of what may be handed out: at present, and the highest of the forecast's 80 % quantile."""

    now: float
    peak: float


class RoundTrips(Struct, frozen=True, kw_only=True):
    """Seconds from the controller, and to other hosts as far as it was measured, the fastest first."""

    here: float
    between: tuple[RoundTrip, ...]


class HostReport(Struct, frozen=True, kw_only=True):
    """One host. ``use`` is in cores, bytes, bytes/s and operations/s; a number that is not known is null."""

    name: Label
    state: str
    reason: Label
    zone: Label
    samples: Samples
    condition: str
    risk: float
    contention: Contention | None
    cpu: Part
    memory: Part
    use: dict[str, float]
    shards: tuple[Label, ...]
    round_trip: RoundTrips


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each, by name."""
    asked = {name: questions.schema(name) for name in questions.PUBLISHED}
    return {"hosts": _schema(HOSTS, tuple[HostReport, ...]), "oracle": _schema(ORACLE, OracleView), **asked}


def _schema(name: str, kind: Any) -> dict[str, Any]:
    found = nullable(msgspec.json.schema(kind))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, **found}


def page(name: str) -> str:
    """A schema as it is published."""
    return json.dumps(schemas()[name], indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for each in schemas():
        Path(fleet.__file__).with_name(f"{each}.schema.json").write_text(page(each), encoding="utf-8")
