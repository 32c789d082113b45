"""Reads the daemon's frames: measured use per host, contention, plans, as plain numbers.

Pure: frames in, values out; the story asks it what happened and when.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from sidestep.autopilot.protocol import PlanView, SnapshotFrame
from sidestep.fleet.resources import CPU, DIMENSIONS


@dataclass
class HostTrack:
    """Measured cpu of one host as a fraction of allocatable, with its rolling mean.

    ``window`` is the policy's minimum duration: what lasts shorter is no contention.
    """

    window: float
    points: list[tuple[float, float]] = field(default_factory=list)
    means: list[tuple[float, float]] = field(default_factory=list)
    _recent: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, time: float, use: float) -> None:
        """Take one measurement; NaN is skipped."""
        if math.isnan(use):
            return
        self.points.append((time, use))
        self._recent.append((time, use))
        while self._recent and self._recent[0][0] <= time - self.window:
            self._recent.popleft()
        if self.points[0][0] <= time - self.window + 1:
            self.means.append((time, sum(u for _, u in self._recent) / len(self._recent)))

    def peak(self, since: float = 0.0, until: float = float("inf")) -> float:
        """The highest rolling mean in a period; 0 if there is none."""
        return max((mean for at, mean in self.means if since <= at <= until), default=0.0)

    def crossing(self, threshold: float) -> float | None:
        """The middle of the first window whose mean is above ``threshold``: when contention began."""
        return next((at - self.window / 2 for at, mean in self.means if mean > threshold), None)


class Watch:
    """Everything that one daemon's frames said so far."""

    def __init__(self, window: float) -> None:
        self._window = window
        self.hosts: dict[str, HostTrack] = {}
        self.started = 0.0
        self.time = 0.0
        self.plans: dict[str, PlanView] = {}
        self.threshold = 1.0
        self.coverage = float("nan")

    def see(self, frame: SnapshotFrame) -> None:
        """Take the next frame; frames that were seen already change nothing."""
        if frame.time <= self.time:
            return
        self.started = self.started or frame.time
        self.time, self.threshold = frame.time, frame.threshold_cpu
        shape = (len(frame.hosts), len(DIMENSIONS))
        use = np.frombuffer(frame.use, "<f4").reshape(shape)[:, CPU]
        allocatable = np.frombuffer(frame.allocatable, "<f4").reshape(shape)[:, CPU]
        for host, fraction in zip(frame.hosts, use / allocatable, strict=True):
            self.hosts.setdefault(host.name, HostTrack(self._window)).add(frame.time, float(fraction))
        for view in frame.plans:
            self.plans[view.digest] = view

    def since_start(self, time: float) -> float:
        """Seconds from the first frame."""
        return time - self.started
