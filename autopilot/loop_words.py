"""What the loop says of the oracle in one line. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from sidestep.fleet.contention import actionable
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.plans import Plan
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import Snapshot

#: series that are named; of more there is a number
NAMED: Final = 3
#: codes of what a plan with failovers does for them
_FOR_THE_LOST: Final = frozenset({"FAILS_OVER", "MAKES_ROOM", "PARKS"})


def says_of(snapshot: Snapshot, forecast: Forecast) -> str:
    """ "" or what of this forecast is not as it should be: a fallback, its age, series that cannot be forecast."""
    said = []
    if forecast.fallback:
        said.append(f"fallback: {forecast.model}: {forecast.fallback}")
    if forecast.snapshot != snapshot.number:
        said.append(f"late: the forecast is {max(0.0, snapshot.time - forecast.time):.1f} s old")
    rows = np.argwhere(forecast.reactive)
    if len(rows):
        names = [f"{snapshot.hosts.names[host]} {DIMENSIONS[column]}" for host, column in rows[:NAMED]]
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        said.append(f"reactive: {', '.join(names)}{more} cannot be forecast, only what is measured counts")
    return "; ".join(said)


def unproven(plan: Plan, contention: tuple[Contention, ...]) -> tuple[str, ...]:
    """Hosts and dimensions for whose sake the plan acts though their chances have not proved right."""
    proven = {(str(item.host), item.dimension) for item in actionable(contention)}
    wanted = {(str(a.evidence.host), a.evidence.dimension) for a in plan.actions if a.evidence is not None}
    missing = {f"{host} {dimension}" for host, dimension in wanted - proven}
    # an action without evidence is for the sake of nothing that was proven; that a host is lost is no forecast
    lost = any(a.kind == "failover" for a in plan.actions)
    spared = {"DRAINS"} | (_FOR_THE_LOST if lost else frozenset())  # nor is what a person ordered
    # nor is it one that a shard waits, that it has no other host than where somebody gives way, or that nothing is hot
    chances = [a for a in plan.actions if a.evidence is None and a.kind not in ("place", "preempt", "lift")]
    unfounded = {f"{a.shard}" for a in chances if a.reason.code not in spared}
    return tuple(sorted(missing | unfounded))
