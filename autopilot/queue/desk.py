"""What the queue looks like to people, and what the planner is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sidestep.autopilot.protocol_queue import QueueRow, QueueView
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.newwork import WORK_LEVELS, SpeculativeWork
from sidestep.fleet.queue import Waiting, benefit
from sidestep.fleet.resources import CPU, MEMORY

#: the level at which expected work is believed to need room
_LEVEL: Final = WORK_LEVELS.index(0.8)


def view(fleet: FleetSpec, queue: Iterable[Waiting], now: float) -> QueueView:
    """Everybody who waits and is declared, who comes next first; ``now`` is unix time."""
    specs = {str(spec.name): spec for spec in fleet.shards}
    rows = []
    for one in queue:
        spec = specs.get(one.shard)
        if spec is None:
            continue
        waited = max(0.0, now - one.since)
        rows.append(
            QueueRow(
                shard=one.shard,
                app=spec.app,
                priority=spec.priority,
                cause=one.cause,
                deployment=one.deployment,
                since=one.since,
                waited=waited,
                benefit=benefit(spec.priority, waited),
                host=one.host,
                bytes=one.bytes,
                digest=one.digest,
                cpu=one.cpu,
                memory=one.memory,
                reason=one.reason,
                reasons=one.reasons,
                looked=one.looked,
            )
        )
    return QueueView(rows=tuple(sorted(rows, key=lambda row: (-row.benefit, row.since, row.shard))))


def expected(works: Iterable[SpeculativeWork]) -> Mapping[str, tuple[float, float]]:
    """By app the cores and bytes that one more shard of it is expected to need; the most where there are several."""
    found: dict[str, tuple[float, float]] = {}
    for work in works:
        if len(work.demand) <= max(CPU, MEMORY) or any(len(row) <= _LEVEL for row in work.demand):
            continue
        cpu, memory = found.get(str(work.app), (0.0, 0.0))
        found[str(work.app)] = max(cpu, work.demand[CPU][_LEVEL]), max(memory, work.demand[MEMORY][_LEVEL])
    return found
