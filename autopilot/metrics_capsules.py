"""What a monitoring system may know of capsules; like all metrics they name no shard and no host."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sidestep.autopilot.capsules.keeper import CapsuleKeeper


def of_capsules(keeper: CapsuleKeeper) -> Iterator[Metric]:
    """Nothing where no shard is replicated."""
    ages, figures = keeper.ages(), keeper.figures
    if not ages:
        return
    yield GaugeMetricFamily("sidestep_replicated_shards", "Shards of which capsules are kept.", value=len(ages))
    said = "Age of the oldest of the newest capsules: what the loss of any one host costs at most."
    yield GaugeMetricFamily("sidestep_capsule_age_max_seconds", said, value=max(ages.values()))
    said = "Shards whose newest capsule is older than three times their replicate_every."
    yield GaugeMetricFamily("sidestep_capsules_stale", said, value=len(keeper.stale()))
    rounds = CounterMetricFamily(
        "sidestep_capsule_rounds", "Rounds of capsules by what came of them.", labels=["result"]
    )
    for result, count in (("taken", figures.taken), ("unchanged", figures.unchanged), ("failed", figures.failed)):
        rounds.add_metric([result], count)
    yield rounds
    said = "Seconds that shards stood still for their capsules."
    yield CounterMetricFamily("sidestep_capsule_pause_seconds", said, value=figures.paused)
    said = "Bytes of capsules that were carried between hosts."
    yield CounterMetricFamily("sidestep_capsule_bytes", said, value=keeper.around.carried)
    said = "Copies that were made anew since they were damaged or lost."
    yield CounterMetricFamily("sidestep_capsule_copies_repaired", said, value=keeper.around.repaired)
