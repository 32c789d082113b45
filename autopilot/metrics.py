"""What a monitoring system may know of the daemon, as OpenMetrics; names follow the conventions of Prometheus.

Every label's values are of a fixed, small set: no host, shard, plan or person is named, so that the
number of series never grows with the fleet. Values are read from the parts when they are asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, get_args

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sidestep import __version__
from sidestep.autopilot.frames import Picture
from sidestep.autopilot.loop import ControlLoop, Parts
from sidestep.autopilot.metrics_capsules import of_capsules
from sidestep.autopilot.metrics_pools import of_pools
from sidestep.autopilot.protocol import PlanView
from sidestep.fleet.inventory import Level
from sidestep.fleet.machines import ACTION, ActionState, HostState, PlanState, ShardState, final

#: upper bounds of the freeze of a move, in seconds
FREEZE: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: states of plans about which something is still to come
OPEN: Final = frozenset({
    PlanState.PROPOSED, PlanState.APPROVED, PlanState.SCHEDULED, PlanState.RUNNING, PlanState.PAUSED,
    PlanState.CANCELLING, PlanState.UNDOING,
})  # fmt: skip
#: finished moves that are remembered so that none is counted twice
REMEMBERED: Final = 4096


class Moves:
    """Moves that ended since the daemon began, taken from the pictures; those of before are not counted."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._seen: dict[tuple[str, int], None] = {}
        self.ended: Counter[str] = Counter()
        self.buckets = [0] * (len(FREEZE) + 1)
        self.frozen, self.bytes = 0.0, 0

    def look(self, plans: Iterable[PlanView]) -> None:
        """Take the newest plans of a picture."""
        for view in plans:
            if view.status.updated < self._since:
                continue
            for action in view.status.actions:
                key = (view.digest, action.id)
                if key in self._seen or not final(ACTION, action.state) or action.state is ActionState.CANCELLED:
                    continue
                self._seen[key] = None
                self._count(str(action.state), action.freeze_ms / 1e3, action.bytes)
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def _count(self, state: str, freeze: float, size: int) -> None:
        self.ended[state] += 1
        self.bytes += size
        if freeze > 0:
            self.frozen += freeze
            self.buckets[next((i for i, bound in enumerate(FREEZE) if freeze <= bound), len(FREEZE))] += 1


class Metrics(Collector):
    """All metrics of one daemon; ``look`` after every tick, ``render`` for every scrape."""

    def __init__(self, parts: Parts, loop: ControlLoop) -> None:
        self._parts, self._loop = parts, loop
        self._moves = Moves(parts.clock.wall())
        #: states that plans came into, up to that row of the log
        self._entered, self._counted_to = Counter[str](), 0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def look(self, picture: Picture) -> None:
        """Count what ended."""
        self._moves.look(picture.plans)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type, in the format that the ``Accept`` header asks for."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

    def collect(self) -> Iterator[Metric]:
        """Every family as it is now."""
        yield InfoMetricFamily("sidestep_build", "The version that runs.", value={"version": __version__})
        yield from self._of_loop()
        yield from self._of_plans()
        if self._parts.capsules is not None:
            yield from of_capsules(self._parts.capsules)
        if self._parts.pools is not None:
            yield from of_pools(self._parts.pools)
        if (picture := self._loop.picture) is not None:
            yield from _of_picture(picture)

    def _of_loop(self) -> Iterator[Metric]:
        loop, panel = self._loop, self._parts.world.panel
        yield CounterMetricFamily("sidestep_ticks", "Rounds of the control loop.", value=loop.rounds)
        yield CounterMetricFamily(
            "sidestep_ticks_missed", "Rounds left out since an earlier one took too long.", value=loop.missed
        )
        yield _gauge("sidestep_tick_lag_seconds", "How late the newest round began.", loop.lag)
        yield CounterMetricFamily(
            "sidestep_samples_missed", "Samples of hosts that never came.", value=float(panel.gaps.sum())
        )
        writable = not self._parts.journal.trouble
        yield _gauge("sidestep_journal_writable", "1 while the journal can be written; else nothing begins.", writable)
        says = len(loop.picture.alerts) if loop.picture is not None else 0
        yield _gauge("sidestep_notices", "Lines that every screen has to say.", says)

    def _of_plans(self) -> Iterator[Metric]:
        self._counted_to, fresh = self._parts.journal.plan_transitions(self._counted_to)
        self._entered.update(fresh)
        counts = self._parts.journal.plan_counts()
        entered = CounterMetricFamily("sidestep_plans", "How often a plan came into that state.", labels=["state"])
        waiting = GaugeMetricFamily("sidestep_plans_open", "Plans that are in that state now.", labels=["state"])
        for state in PlanState:
            entered.add_metric([state], self._entered[state])
            if state in OPEN:
                waiting.add_metric([state], counts.get(state, 0))
        yield entered
        yield waiting
        moves = self._moves
        done = CounterMetricFamily("sidestep_moves", "Moves that ended in that state.", labels=["state"])
        for each in ActionState:
            if final(ACTION, each) and each is not ActionState.CANCELLED:
                done.add_metric([each], moves.ended[each])
        yield done
        yield CounterMetricFamily("sidestep_move_bytes", "Bytes of state that moves carried.", value=moves.bytes)
        total, rows = 0, []
        for bound, count in zip((*map(str, FREEZE), "+Inf"), moves.buckets, strict=True):
            total += count
            rows.append((bound, float(total)))
        yield HistogramMetricFamily(
            "sidestep_move_freeze_seconds",
            "How long a moved shard did not serve.",
            buckets=rows,
            sum_value=moves.frozen,
        )


def _of_picture(picture: Picture) -> Iterator[Metric]:
    snapshot, forecast = picture.snapshot, picture.forecast
    yield _counted("sidestep_hosts", "Hosts in that state.", HostState, snapshot.hosts.states)
    yield _counted("sidestep_shards", "Shards in that state.", ShardState, snapshot.shards.states)
    levels = {level: level == picture.level for level in get_args(Level)}
    yield StateSetMetricFamily("sidestep_automation_level", "How far the autopilot may go.", value=levels)
    yield _gauge("sidestep_picture_timestamp_seconds", "When the newest sample of the picture came.", snapshot.time)
    yield _gauge("sidestep_placement_generation", "The generation of the placement.", snapshot.generation)
    hosts = {contention.host for contention in picture.contention}
    yield _gauge("sidestep_predicted_contention_hosts", "Hosts that are predicted to run hot.", len(hosts))
    if forecast is None:
        return
    ok = forecast.confidence == "ok" and not forecast.fallback
    yield _gauge("sidestep_forecast_usable", "1 while forecasts are the model's own and count.", ok)
    for account in forecast.accounts:
        if account.model == forecast.model:
            if not math.isnan(account.skill):
                said = "1 - error / error of persistence of the model that serves, over the last windows."
                yield _gauge("sidestep_forecast_skill", said, account.skill)
            if not math.isnan(account.coverage):
                said = "Share of values inside the 80 % band."
                yield _gauge("sidestep_forecast_coverage_ratio", said, account.coverage)
            return


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=float(value))


def _counted(name: str, said: str, states: Iterable[str], found: Iterable[str]) -> Metric:
    """One row for every state there is, also those that nobody is in."""
    counts, family = Counter(map(str, found)), GaugeMetricFamily(name, said, labels=["state"])
    for state in states:
        family.add_metric([str(state)], counts[str(state)])
    return family
