"""Who competes for what: every series belongs to at most one arena, so that it has at most one champion.

A series goes to the first candidate's group that has it (in the order of the file); what is
in no such group goes to the arena of the whole fleet. Pure, and light enough for the daemon.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from sidestep.fleet.history import Series
from sidestep.fleet.inventory import CandidateSpec, FleetSpec, OracleSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.resources import DIMENSIONS, HOST_SERIES, PLANNED, SHARD_SERIES

#: models that every fleet's own metrics are contested with, whether or not a file names any: S1.5
BASELINES: Final = ("persistence", "seasonal")
#: an arena with more series than this is only watched: nobody could make curves for all of them in time
MOST_SERIES: Final = 1000
#: series of such an arena that are watched
WATCHED: Final = 256


class Arena(Struct, frozen=True):
    """A group, a metric, the candidates that compete there and the series that it is about."""

    group: str
    metric: str
    candidates: tuple[CandidateSpec, ...]
    series: tuple[str, ...]

    @property
    def title(self) -> str:
        """As log lines name it."""
        return f"group {self.group}, {self.metric}" if self.group else f"the whole fleet, {self.metric}"

    @property
    def contested(self) -> bool:
        """Whether a champion could be served here."""
        return len(self.series) <= MOST_SERIES and len(self.candidates) > 0


def baselines(spec: OracleSpec) -> tuple[CandidateSpec, ...]:
    """The simple models that compete on the whole fleet, unless a file gives these names to others."""
    taken = {candidate.name for candidate in spec.candidates}
    wanted = [name for name in BASELINES if name != spec.model and (name != "seasonal" or spec.season > 0)]
    metrics = DIMENSIONS[:PLANNED]
    return tuple(CandidateSpec(name=Label(n), model=n, metrics=metrics) for n in wanted if n not in taken)


def arenas(fleet: FleetSpec) -> tuple[Arena, ...]:
    """The arenas of a fleet, those of groups first; one without series is left out."""
    everybody = (*fleet.oracle.candidates, *baselines(fleet.oracle))
    groups = dict.fromkeys(candidate.group for candidate in fleet.oracle.candidates if candidate.group)
    members: dict[str, list[tuple[str, Label]]] = {group: [] for group in (*groups, "")}
    for kind, name, of in (
        *(("host", host.name, host.groups) for host in fleet.hosts),
        *(("shard", shard.name, (shard.app,)) for shard in fleet.shards),
    ):
        within = frozenset(of)
        for group, these in members.items():
            if not group or group in within:
                these.append((kind, name))
    found, taken = [], set[str]()
    for group, these in members.items():
        for metric in dict.fromkeys((*HOST_SERIES, *SHARD_SERIES)):
            rivals = tuple(c for c in everybody if metric in c.metrics and c.group in {group, ""})
            if not any(c.group == group for c in rivals):
                continue
            names = (str(Series(kind, name, metric)) for kind, name in these if metric in _METRICS[kind])
            mine = tuple(name for name in names if name not in taken)
            taken.update(mine)
            if mine:
                found.append(Arena(group, metric, rivals, mine))
    return tuple(found)


def told(arenas: Iterable[Arena]) -> tuple[str, ...]:
    """The series that the trainer is told of: all that are contested, a sample of the others to watch for drift."""
    names: dict[str, None] = {}
    for arena in arenas:
        chosen: Sequence[str] = arena.series
        if not arena.contested and len(chosen) > WATCHED:
            chosen = random.Random(arena.title).sample(chosen, WATCHED)  # noqa: S311 - a sample, no secret
        names.update(dict.fromkeys(chosen))
    return tuple(names)


_METRICS: Final = {"host": HOST_SERIES, "shard": SHARD_SERIES}
