"""Right sizes: what every shard is predicted to need, against the limits that it is given (S3.12, S3.24)."""

from __future__ import annotations

import numpy as np

from sidestep.fleet.contention import horizon_steps
from sidestep.fleet.labels import scrub
from sidestep.fleet.plans import Reason
from sidestep.fleet.questions import RightSizes, Size
from sidestep.fleet.resources import CPU, MEMORY, show_size
from sidestep.planning import ladder
from sidestep.planning.queries.whatif import World
from sidestep.planning.uncertainty import normal_deviation


def right_sizes(world: World, limit: int) -> RightSizes:
    """Shards whose limits differ by a whole quantum from what they need at the policy's quantile.

    What is needed is the highest within the horizon, in whole quanta, and never below what is
    guaranteed. A shard without limits, or of unknown demand, is left alone.
    """
    policy, forecast, shards = world.policy, world.forecast, world.snapshot.shards
    reach = horizon_steps(policy, forecast)
    z = normal_deviation(policy.quantile)
    need = (forecast.shard_mean[:, :, :reach] + z * forecast.shard_sd[:, :, :reach]).max(axis=2).astype(np.float64)
    specs = {spec.name: spec for spec in world.fleet.shards}
    none = (0.0, 0.0)
    given = np.array(
        [(s.limit_cpu, float(s.limit_memory)) if (s := specs.get(n)) else none for n in shards.names]
    ).reshape(-1, 2)
    least = np.array(
        [(s.guarantee_cpu, float(s.guarantee_memory)) if (s := specs.get(n)) else none for n in shards.names]
    ).reshape(-1, 2)
    quantum = np.array([policy.quantum_cpu, float(policy.quantum_memory)])
    found = ladder.right_sizes(need, np.where(given > 0, given, np.nan), least, quantum)
    right, change = found.target, np.nan_to_num(np.maximum(found.waste, found.short))
    off = (change > 0) & (change >= quantum * (1 - 1e-9))
    share = np.where(off, change / np.maximum(given, 1e-9), 0.0).max(axis=1, initial=0.0)
    order = np.lexsort((np.arange(len(share)), -share))
    return RightSizes(
        quantile=policy.quantile,
        sizes=tuple(_size(world, row, right[row], given[row], off[row]) for row in order.tolist() if off[row].any())[
            :limit
        ],
    )


def _size(world: World, row: int, right: np.ndarray, given: np.ndarray, off: np.ndarray) -> Size:
    shards = world.snapshot.shards
    short = off & (right > given)
    code = "GROW" if short.any() else "SHRINK"
    said = []
    if off[CPU]:
        said.append(f"{right[CPU]:g} cores instead of {given[CPU]:g}")
    if off[MEMORY]:
        said.append(f"{show_size(right[MEMORY])} instead of {show_size(given[MEMORY])}")
    text = f"needs {' and '.join(said)} at the {world.policy.quantile:.0%} quantile"
    return Size(
        shard=shards.names[row],
        app=shards.apps[row],
        cpu=float(right[CPU]) if given[CPU] > 0 else None,
        memory=int(right[MEMORY]) if given[MEMORY] > 0 else None,
        cpu_before=float(given[CPU]) or None,
        memory_before=int(given[MEMORY]) or None,
        reason=Reason(code, scrub(text)),
    )
