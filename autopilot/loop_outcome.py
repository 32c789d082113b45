"""What came of a plan: predicted with and without it, against what was measured."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from sidestep.fleet.plans import Measured, Outlook, Plan
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import Snapshot

#: a plan that ran at the end of its horizon is still watched for this many minimum durations
LEAST: Final = 3.0


@dataclass
class RollingPeak:
    """The highest mean over ``window`` seconds; what lasts shorter is no contention."""

    window: float
    peak: float = math.nan
    _points: deque[tuple[float, float]] = field(default_factory=deque)
    _first: float = math.nan

    def add(self, time: float, value: float) -> None:
        """Take one measurement; NaN, and a time that was seen already, change nothing."""
        if math.isnan(value) or (self._points and time <= self._points[-1][0]):
            return
        if math.isnan(self._first):
            self._first = time
        self._points.append((time, value))
        while self._points[0][0] <= time - self.window:
            self._points.popleft()
        if time - self._first >= self.window - 1e-9:
            mean = sum(v for _, v in self._points) / len(self._points)
            self.peak = mean if math.isnan(self.peak) else max(self.peak, mean)


class OutcomeWatch:
    """Measures the hosts of one plan from the end of its run to the end of its horizon."""

    def __init__(self, plan: Plan, digest: str, since: float) -> None:
        self.plan, self.digest = plan, digest
        policy = plan.policy
        reach = max((t for a in plan.actions if a.evidence for t in a.evidence.times), default=policy.horizon)
        self.until = max(plan.created + min(reach, policy.horizon), since + LEAST * policy.min_duration)
        self._since = since
        self._peaks = {(o.host, o.dimension): RollingPeak(policy.min_duration) for o in plan.outlook}

    def observe(self, snapshot: Snapshot) -> bool:
        """Take one picture; True once there is nothing more to measure."""
        if snapshot.time >= self._since:
            rows = {name: row for row, name in enumerate(snapshot.hosts.names)}
            for (host, dimension), rolling in self._peaks.items():
                if host in rows:
                    column = DIMENSIONS.index(dimension)
                    use = snapshot.hosts.use[rows[host], column] / snapshot.hosts.allocatable[rows[host], column]
                    rolling.add(snapshot.time, float(use))
        return snapshot.time >= self.until

    def outcome(self) -> tuple[Measured, ...]:
        """One row for every host of the plan that was measured long enough."""
        return tuple(
            _measured(outlook, peak)
            for outlook in self.plan.outlook
            if not math.isnan(peak := self._peaks[(outlook.host, outlook.dimension)].peak)
        )


def _measured(outlook: Outlook, peak: float) -> Measured:
    return Measured(
        host=outlook.host,
        dimension=outlook.dimension,
        predicted_without=outlook.peak_before,
        predicted_with=outlook.peak_after,
        measured=peak,
    )
