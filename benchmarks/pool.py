"""Pools of pre-initialised instances on replayed load: requests that meet a cold start, and instance-hours.

Ours against a fixed keep-alive of ten minutes, the hybrid histogram policy of "Serverless in the Wild" and
perfect knowledge, on the same requests. The protocol stands in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # CPU is that of one thread

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.harness import Goal, Report, Spread, main_with  # noqa: E402
from benchmarks.oracle import synthetic  # noqa: E402
from benchmarks.oracle.data import PARTS, load_all  # noqa: E402
from benchmarks.pools import ours, peers  # noqa: E402
from benchmarks.pools.demand import SLOT, Pools, pools_of  # noqa: E402
from sidestep.fleet.errors import UsageError  # noqa: E402
from sidestep.fleet.inventory import OracleSpec  # noqa: E402

F64 = NDArray[np.float64]
Figures = dict[str, dict[str, float]]

PLACES = 8
KEEP_ALIVE = 10.0
#: of the oracle's instance-hours
WITHIN = 1.15
FIXED, BY_PLACE, BY_APP, ORACLE, OURS, ALONE = (
    "fixed keep-alive", "hybrid histogram by place", "hybrid histogram by app", "oracle", "product",
    "product, no sharing",
)  # fmt: skip


def replay(pools: Pools, model: str) -> dict[str, tuple[float, float, float]]:
    """By contender: requests met cold, instance-hours, and requests met by an activation."""
    requests, begin, count = pools.requests, pools.begin, pools.requests.shape[1]
    hours = SLOT / 3600

    def summed(found: tuple[F64, F64]) -> tuple[float, float, float]:
        return float(found[0].sum()), float(found[1].sum()) * hours, 0.0

    result = {
        FIXED: summed(peers.fixed(requests, PLACES, KEEP_ALIVE, begin)),
        BY_PLACE: summed(peers.hybrid(requests, PLACES, False, begin)),
        BY_APP: summed(peers.hybrid(requests, PLACES, True, begin)),
        ORACLE: summed(peers.oracle(requests, PLACES, begin)),
    }
    said = ours.foresee(pools, model)
    shared = ours.hold(pools, (ours.spec(PLACES, count),), said)
    one_each = ours.hold(pools, tuple(ours.spec(PLACES, 1, cost_ratio=100.0) for _ in range(count)), said)
    for name, held, pool in ((OURS, shared, np.zeros(count, np.int64)), (ALONE, one_each, np.arange(count))):
        cold, activated, warm = peers.held(requests, PLACES, held.active, held.ready, pool, begin)
        result[name] = float(cold.sum()), float(warm.sum()) * hours, float(activated.sum())
    steps = len(said.quantiles) * count
    result["CPU"] = shared.forecasting / steps * 1e6, shared.deciding / steps * 1e6, 0.0
    return result


def run(arguments: argparse.Namespace) -> Report:
    """Replay every group's part and add up."""
    groups = load_all(arguments.data) if arguments.data else synthetic.groups()
    series, history, days = (8, 1.0, 0.25) if arguments.quick else (arguments.series, 1.0, arguments.days)
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    total: dict[str, float] = {}
    for group in groups:
        pools = pools_of(group, arguments.part, series=series, history=history, days=days)
        if pools is not None:
            found[group.name] = replay(pools, arguments.model)
            total[group.name] = float(pools.requests[pools.begin :].sum())
    if not found:
        raise UsageError("no series of that part moves", hint="name another directory or part")
    names = [name for name in next(iter(found.values())) if name != "CPU"]
    cold = {name: sum(rows[name][0] for rows in found.values()) / sum(total.values()) for name in names}
    hours = {name: sum(rows[name][1] for rows in found.values()) for name in names}
    figures: dict[str, dict[str, Spread]] = {
        f"{where}: {name}": {
            "cold start %": Spread.of([100 * rows[name][0] / total[where]]),
            "instance-hours": Spread.of([rows[name][1]]),
            "of the oracle's": Spread.of([rows[name][1] / rows[ORACLE][1]]),
            **({"activated %": Spread.of([100 * rows[name][2] / total[where]])} if name in (OURS, ALONE) else {}),
        }
        for where, rows in found.items()
        for name in names
    }
    for name in names:
        figures[f"all: {name}"] = {
            "cold start %": Spread.of([100 * cold[name]]),
            "instance-hours": Spread.of([hours[name]]),
            "of the oracle's": Spread.of([hours[name] / hours[ORACLE]]),
        }
    for at, what in enumerate(("forecasting", "deciding")):
        figures[f"CPU of {what}"] = {"us an app and tick": Spread.of([rows["CPU"][at] for rows in found.values()])}
    goals = [
        goal
        for peer in (FIXED, BY_PLACE, BY_APP)
        for goal in (
            Goal(f"fewer cold starts than {peer}", 100 * cold[OURS], "% of requests", 100 * cold[peer], "<"),
            Goal(f"fewer instance-hours than {peer}", hours[OURS], "h", hours[peer], "<"),
        )
    ]
    goals.append(Goal("instance-hours of the oracle's", hours[OURS] / hours[ORACLE], "times", WITHIN, "<="))
    return Report("pool", tuple(goals), figures, 1, arguments.quick, _notes(arguments, found))


def _notes(arguments: argparse.Namespace, found: object) -> tuple[str, ...]:
    data = [] if arguments.data else ["generated series: figures show that the benchmark runs, and nothing else"]
    return (
        *data,
        f"part {arguments.part}; model {arguments.model}; {PLACES} requests at once an instance; seed fixed",
        "the apps of a group share one pool of ready instances; keep-alive policies hold instances of one app",
        "instance-hours of ours count what stands ready in full, as if it were not frozen",
        "activated: met by a ready instance (measured 1 to 14 ms on hosts), which is no cold start (1256 ms)",
        "the hybrid histogram's ARIMA is an AR(1) with a mean here",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="directory of *.npz (benchmarks/README.md)")
    parser.add_argument("--part", choices=PARTS, default="sealed", help="which machines and which time")
    parser.add_argument("--series", type=int, default=40, help="series of each group at most")
    parser.add_argument("--days", type=float, default=1.0, help="days of the scored time, its last ones")
    parser.add_argument("--model", default=OracleSpec().model, help="a model of ours")
    main_with("pool", run, parser)
