"""New work by the calendar, for the daemon: fed from snapshots, asked what to expect, kept in a file.

Answers are guesses (S4.13): they are told, with how often such guesses were right, and they
never move or start anything by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sidestep.autopilot.calendar_memory import keep_learned
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ShardState
from sidestep.fleet.newwork import WORK_LEVELS, HitRate, RequestClass, SpeculativeWork, Template
from sidestep.fleet.resources import PLANNED
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting.calendar.newwork import SeasonalCatalogue
from sidestep.forecasting.calendar.templates import TemplateMatcher

#: seconds between two looks at the shards
EVERY: Final = 30.0
#: states in which a shard is there, and those that say nothing either way
THERE: Final = frozenset({
    ShardState.RUNNING, ShardState.FREEZING, ShardState.FROZEN, ShardState.MOVING, ShardState.RESTORING,
})  # fmt: skip
UNKNOWN: Final = frozenset({ShardState.DEGRADED})
_SIZE: Final = 64 << 20


class _Kept(Struct):
    seasonal: msgspec.Raw
    templates: msgspec.Raw


class NewWork:
    """What is likely to appear; ``path`` keeps what was learned, None keeps nothing.

    A file that cannot be read is set aside, and said in ``trouble``; learning begins anew.
    """

    def __init__(self, path: Path | None = None, *, zone: tzinfo = UTC) -> None:
        self.path, self._zone = path, zone
        self.trouble: Label = Label("")
        self._seasonal, self._templates = SeasonalCatalogue(zone), TemplateMatcher()
        self._looked = -np.inf
        self._there: frozenset[str] = frozenset()
        self._known: dict[str, Template] = {}
        if path is not None and path.exists():
            self._load(path)

    def look(self, snapshot: Snapshot) -> None:
        """See which shards are there. Cheap when called with every snapshot: it looks twice a minute."""
        if 0 <= snapshot.time - self._looked < EVERY:
            return
        self._looked = snapshot.time
        shards = snapshot.shards
        rows = [
            row
            for row, (name, state) in enumerate(zip(shards.names, shards.states, strict=True))
            if state in THERE or (state in UNKNOWN and name in self._there)
        ]
        names = [shards.names[row] for row in rows]
        self._there = frozenset(names)
        use = shards.use[rows][:, :PLANNED]
        self._seasonal.observe(snapshot.time, names, [shards.apps[row] for row in rows], use)
        self._learn_templates(names, [shards.apps[row] for row in rows], use)

    def _learn_templates(self, names: Sequence[Label], apps: Sequence[Label], use: NDArray[np.float64]) -> None:
        """One template an app: what its shards need."""
        by_app: dict[Label, list[int]] = {}
        for row, app in enumerate(apps):
            by_app.setdefault(app, []).append(row)
        self._known = {}
        for app, rows in by_app.items():
            its = use[rows]
            known = np.isfinite(its).any(axis=0).all()
            demand = np.nanquantile(its, WORK_LEVELS, axis=0).T.tolist() if known else []
            words = tuple(dict.fromkeys(names[row] for row in rows[:32]))
            self._known[app] = Template(name=app, app=app, words=words, demand=tuple(tuple(each) for each in demand))

    def requests(self, time: float, seconds: float, classes: Sequence[RequestClass]) -> None:
        """So many requests of each class came in the ``seconds`` up to ``time``. Raises ValueError for no interval."""
        self._templates.observe(time, seconds, classes)

    def expected(self, now: float, ahead: float) -> tuple[SpeculativeWork, ...]:
        """Work that is likely to begin within ``ahead`` seconds; all of it is speculative."""
        seasonal = self._seasonal.expected(now, ahead)
        return seasonal + self._templates.proposals(now, tuple(self._known.values()))

    def hit_rates(self) -> tuple[HitRate, ...]:
        """How often such guesses were right, by kind."""
        return self._seasonal.hit_rate(), self._templates.hit_rate()

    def save(self) -> None:
        """Keep what was learned: a new file, synced and renamed. Raises SidestepError."""
        if self.path is None:
            return
        kept = _Kept(msgspec.Raw(self._seasonal.state()), msgspec.Raw(self._templates.state()))
        keep_learned(self.path, msgspec.json.encode(kept))

    def _load(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                kept = msgspec.json.decode(file.read(_SIZE), type=_Kept)
            self._seasonal.restore(bytes(kept.seasonal))
            self._templates.restore(bytes(kept.templates))
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self._seasonal, self._templates = SeasonalCatalogue(self._zone), TemplateMatcher()
            self.trouble = scrub(f"{path}: {error}; what was learned of new work begins anew")
            damaged = path.with_name(f"{path.name}.damaged")
            try:
                path.replace(damaged)
            except OSError as blocked:
                self.trouble = scrub(f"{self.trouble}; it cannot be set aside: {blocked.strerror}")
