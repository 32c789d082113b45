"""What shards that do not run will demand: as when they gave way, as declared, or as new work is expected to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Reason
from sidestep.fleet.queue import Waiting
from sidestep.fleet.resources import CPU, MEMORY
from sidestep.fleet.snapshot import Snapshot

#: states of hosts that can give away what they keep
_UP: Final = frozenset({"READY", "CORDONED", "DRAINING", "DRAINED"})
#: cores and bytes
Size = tuple[float, float]


@dataclass(frozen=True)
class Needs:
    """The queue by rows of the snapshot, with what each will demand; ``unknown`` says why one cannot be judged."""

    waiting: Mapping[int, Waiting]
    sizes: Mapping[int, Size]
    unknown: Mapping[int, Reason]


def asking(
    snapshot: Snapshot,
    forecast: Forecast,
    fleet: FleetSpec,
    queue: Sequence[Waiting],
    expected: Mapping[str, Size],
) -> tuple[Forecast, Needs]:
    """The forecast with what waits in it, over the whole horizon, and the queue by rows.

    ``expected`` is what the calendar expects one shard of an app to need. What nobody declares,
    measured or expects is unknown: such a shard waits, with that reason.
    """
    rows = {str(name): row for row, name in enumerate(snapshot.shards.names)}
    specs = {str(spec.name): spec for spec in fleet.shards}
    waiting = {
        rows[one.shard]: one
        for one in queue
        if one.shard in rows and one.shard in specs and snapshot.shards.host[rows[one.shard]] < 0
    }
    sizes: dict[int, Size] = {}
    unknown: dict[int, Reason] = {}
    for row, one in waiting.items():
        spec = specs[one.shard]
        cpu, memory = _size(one, spec, expected.get(str(spec.app), (0.0, 0.0)))
        missing = [name for name, known in (("cpu", cpu), ("memory", memory)) if known <= 0]
        if missing:
            keys = " and ".join(f"guarantee_{name} or limit_{name}" for name in missing)
            said = f"its demand of {' and '.join(missing)} is not known: declare {keys}"
            unknown[row] = Reason("UNKNOWN", scrub(said))
        else:
            sizes[row] = cpu, memory
    if not sizes:
        return forecast, Needs(waiting, sizes, unknown)
    mean, sd = forecast.shard_mean.copy(), forecast.shard_sd.copy()
    at = np.array(list(sizes), dtype=np.int64)
    asked = np.array(list(sizes.values()), dtype=np.float32)
    mean[at], sd[at] = 0.0, 0.0
    mean[at, CPU], mean[at, MEMORY] = asked[:, :1], asked[:, 1:]
    return replace(forecast, shard_mean=mean, shard_sd=sd), Needs(waiting, sizes, unknown)


def _size(one: Waiting, spec: ShardSpec, expected: Size) -> Size:
    """What it took when it gave way, at least its guarantee; else guarantee, limit, what is expected."""
    cpu = max(one.cpu, spec.guarantee_cpu) or spec.limit_cpu or expected[0]
    memory = max(one.memory, spec.guarantee_memory) or spec.limit_memory or expected[1]
    return float(cpu), float(memory)


def away(one: Waiting, snapshot: Snapshot) -> Reason | None:
    """Why its state cannot be had now: no host that has it, or a copy of it, is READY."""
    if not one.host:
        return None
    states = dict(zip(snapshot.hosts.names, snapshot.hosts.states, strict=True))
    state = states.get(one.host)
    if any(states.get(host) in _UP for host in (one.host, *one.copies)):
        return None
    return Reason("CAPSULE_AWAY", scrub(f"its state is on {one.host}, which is {state or 'not in the fleet'}"))


#: nobody waits
NOBODY: Final = Needs({}, {}, {})
NOT_NAMED: Final = Reason("KIND", Label("the policy's kinds name neither place nor preempt"))
