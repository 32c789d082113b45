"""What a monitoring system may know of pools; like all metrics they name no host, no app and no instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sidestep.autopilot.pool.manager import PoolManager
from sidestep.fleet.instances import InstanceState


def of_pools(manager: PoolManager) -> Iterator[Metric]:
    """Nothing where no pool is declared. Pools are few, and named by the fleet file."""
    if not manager.pools:
        return
    sizes = GaugeMetricFamily("sidestep_pool_instances", "Instances of a pool in that state.", labels=["pool", "state"])
    counts = Counter((str(one.pool), str(one.state)) for one in manager.journal.pool_instances())
    times = GaugeMetricFamily(
        "sidestep_pool_p95_seconds", "p95 of what was measured, or is assumed at first.", labels=["pool", "what"]
    )
    unmet = GaugeMetricFamily("sidestep_pool_unmet", "Instances that are missing and cannot be had.", labels=["pool"])
    served = CounterMetricFamily("sidestep_pool_requests", "Requests that instances have answered.", labels=["pool"])
    guesses = CounterMetricFamily(
        "sidestep_pool_guesses", "Expected functions by what came of them.", labels=["pool", "result"]
    )
    tallies = manager.journal.tallies()
    activation, warming = manager.activation.p95(), manager.warming.p95()
    for row, pool in enumerate(manager.pools):
        for state in InstanceState:
            sizes.add_metric([pool.name, state], counts[str(pool.name), str(state)])
        times.add_metric([pool.name, "activation"], float(activation[row]))
        times.add_metric([pool.name, "warming"], float(warming[row]))
        short = manager.shown.unmet if manager.shown is not None else ()
        unmet.add_metric(
            [pool.name], sum(n for (owner, _), n in zip(manager.apps, short, strict=False) if owner == row)
        )
        served.add_metric([pool.name], manager.served[row])
        if pool.name in tallies:
            guesses.add_metric([pool.name, "hit"], tallies[pool.name].hits)
            guesses.add_metric([pool.name, "miss"], tallies[pool.name].misses)
    yield from (sizes, times, unmet, served, guesses)
    said = "Rounds of the pool manager left out since an earlier one took too long."
    yield CounterMetricFamily("sidestep_pool_ticks_missed", said, value=manager.missed)
