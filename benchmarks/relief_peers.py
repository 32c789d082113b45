"""What relief is compared with: two greedy planners, and ReBalancer where its Python is there.

Both greedy ones are written after what their originals do, on the same instances and with the
same rules: Cruise Control goes goal by goal and moves a hot host's biggest shards to the host that is
least loaded after; Watcher offloads the least loaded first, to the fullest host that still has room.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from sidestep.planning.model import Move, Problem, State
from sidestep.planning.model.state import TOLERANCE

#: wall seconds after which ReBalancer's own search ends
SEARCH: Final = 60
_PROGRAM: Final = Path(__file__).with_name("relief_rebalancer.py")


class Result(NamedTuple):
    """Moves made, hosts left hot, CPU seconds, bytes carried."""

    moves: int
    hot: int
    seconds: float
    bytes: float


def result(problem: Problem, state: State, seconds: float) -> Result:
    """What a trial came to."""
    rows = [move.shard for move in state.moves]
    return Result(len(rows), int(state.hot().sum()), seconds, float(problem.bytes[rows].sum()))


def greedy(problem: Problem, style: Literal["cruise", "watcher"]) -> Result:
    """One of the greedy planners."""
    began = time.process_time()
    state = State(problem)
    dimensions = range(problem.dimensions) if style == "cruise" else [None]
    for dimension in dimensions:
        share = _share(problem, state, dimension)
        hot = np.flatnonzero(share > 1 + 1e-9)
        for host in hot[np.argsort(-share[hot], kind="stable")].tolist():
            _offload(problem, state, host, style, dimension)
    return result(problem, state, time.process_time() - began)


def _columns(problem: Problem, dimension: int | None) -> slice:
    if dimension is None:
        return slice(None)
    return slice(dimension * problem.steps, (dimension + 1) * problem.steps)


def _share(problem: Problem, state: State, dimension: int | None) -> np.ndarray:
    part = _columns(problem, dimension)
    return np.asarray((state.upper()[:, part] / problem.limit[:, part]).max(axis=1))


def _offload(problem: Problem, state: State, host: int, style: str, dimension: int | None) -> None:
    part = _columns(problem, dimension)
    load = (state.upper()[host] / problem.limit[host])[part]
    column = int(load.argmax()) + (part.start or 0)
    rows = problem.on(host)
    rows = rows[state.at[rows] == host]
    order = np.argsort(problem.mean[rows, column], kind="stable")
    here = np.array([host])
    for shard in rows[order[::-1] if style == "cruise" else order].tolist():
        if (state.upper(here)[0][part] <= problem.limit[host][part] * (1 + 1e-9)).all():
            return
        hosts = np.flatnonzero(state.open(shard))
        hosts = hosts[state.spare(shard, hosts, during=False) >= -TOLERANCE]
        if len(hosts):
            use = (state.arrivals(shard, hosts, during=False) / problem.limit[hosts]).max(axis=1)
            best = use.argmin() if style == "cruise" else use.argmax()
            state.push(Move(shard, host, int(hosts[best]), host))


def rebalancer(problem: Problem, python: str, seconds: int = SEARCH) -> Result | str:
    """ReBalancer on the same instance, in its own Python; or why it did not run."""
    if not python or not Path(python).exists():
        return f"{python or 'no --rebalancer-python'}: skipped"
    with tempfile.TemporaryDirectory(prefix="sidestep-bench-") as folder:
        path = Path(folder) / "fleet.npz"
        ptr, idx = problem.constraints.members
        zone = problem.constraints.mask
        np.savez(path, mean=problem.mean, limit=problem.limit, host=problem.host, zone=zone, ptr=ptr, idx=idx,
                 masks=problem.constraints.masks)  # fmt: skip
        done = subprocess.run(
            [python, str(_PROGRAM), str(path), str(seconds)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            return f"ReBalancer ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
        said = json.loads(lines[-1])
        at = np.array(said["at"], dtype=np.int32)
    use = np.zeros_like(problem.median)
    np.add.at(use, at, problem.mean.astype(np.float64))
    moved = np.flatnonzero(at != problem.host)
    hot = int(problem.held(use, problem.limit).sum())
    return Result(len(moved), hot, float(said["cpu"]), float(problem.bytes[moved].sum()))
