"""The trainer: learns the fleet's history, has forecasters compete on it, and keeps the curves of champions young.

It answers every request soon. What takes long, or is somebody else's code, happens in
children, one for a round and one for curves at a time.
"""

from __future__ import annotations

import os
import zlib
from typing import Final

import msgspec
import numpy as np

from sidestep.fleet.inventory import CandidateSpec
from sidestep.fleet.labels import scrub
from sidestep.forecasting.horizon import steps_ahead
from sidestep.forecasting.training import candidates, protocol
from sidestep.forecasting.training.arenas import MOST_SERIES, Arena, told
from sidestep.forecasting.training.child import Child
from sidestep.forecasting.training.messages import Adoption, Champion
from sidestep.forecasting.training.refits import Refits, affordable, reach_of
from sidestep.forecasting.training.rounds import Key, Race
from sidestep.forecasting.training.table import Table
from sidestep.forecasting.training.watch import Watch

#: processor seconds and seconds that finding a candidate's class may take
CHECK: Final = (30.0, 60.0)


class Trainer:
    """One configuration's trainer. Not safe for threads: it forks."""

    def __init__(self, begin: protocol.Begin) -> None:
        """Load, and check every candidate in a child of its own. ``lines`` say what is wrong."""
        self.spec, self.arenas = begin.spec, begin.arenas
        self.horizon = steps_ahead(begin.horizon, begin.step)
        self.table = Table(told(begin.arenas), begin.step)
        self.lines: list[str] = []
        self._out = self._checked()
        self._standings: dict[Key, protocol.Standing] = {}
        self._restore(begin.standings)
        self._race: Race | None = None
        self._changed = False
        self._rounds = 0
        self._weights = begin.weights
        self._untold = bool(begin.weights)
        self._refits = Refits(self.spec, self.table, self.horizon)
        self._watch = Watch(self.spec, self.table, self.horizon)
        self._watch.weights = begin.weights

    def _season(self) -> float:
        return self.spec.season / self.table.step if self.spec.season > 0 else 0.0

    def _checked(self) -> dict[str, str]:
        """Names of candidates that cannot compete, and why."""
        every = {c.name: c for arena in self.arenas for c in arena.candidates}
        season = self._season()

        def check(candidate: CandidateSpec) -> Child:
            def run() -> bytes:
                candidates.checked(candidate, season)
                return b""

            return Child(run, seconds=CHECK[0], patience=CHECK[1])

        children = {name: check(candidate) for name, candidate in every.items()}
        out: dict[str, str] = {}
        for name, child in children.items():
            child.wait(CHECK[1])
            _, error = child.take()
            if error:
                said = "; ".join(error.removeprefix("sidestep.fleet.errors.UsageError: ").split("\n  "))
                out[name] = said if name in said else f"candidate {name}: importing it {said}"
                self.lines.append(f"out: {scrub(out[name], 600)}")
        for arena in self.arenas:
            if len(arena.series) > MOST_SERIES:
                self.lines.append(
                    f"{arena.title}: {len(arena.series)} series are more than the {MOST_SERIES} that curves can be "
                    "made of in time; nobody competes there; name a smaller group"
                )
        return out

    def _restore(self, standings: tuple[protocol.Standing, ...]) -> None:
        by_key = {(arena.group, arena.metric): arena for arena in self.arenas}
        for standing in standings:
            champion = standing.champion
            arena = by_key.get((champion.group, champion.metric))
            if arena is None or self._candidate(arena, champion.model) is None or not arena.contested:
                self.lines.append(f"{champion.model} is champion no more: the fleet file names it so no longer")
            elif champion.model in self._out:
                self.lines.append(f"{champion.model} is champion no more: it is out")
            else:
                self._standings[champion.group, champion.metric] = standing

    @staticmethod
    def _candidate(arena: Arena, name: str) -> CandidateSpec | None:
        return next((c for c in arena.candidates if c.name == name), None)

    def learn(self, request: protocol.Learn) -> protocol.Learned:
        """Take rows. Raises ValueError for arrays that do not fit."""
        times = np.frombuffer(request.times, "<f8")
        wanted = len(times) * len(request.names) * 4
        if len(request.values) != wanted:
            raise ValueError(f"{len(request.values)} bytes of values, expected {wanted}")
        values = np.frombuffer(request.values, "<f4").reshape(len(times), len(request.names))
        fresh = self.table.add(request.names, times, values)
        self._watch.learn(fresh)
        drift = self._watch.drift
        return protocol.Learned(len(self.table), drift.alarmed, drift.watched, drift.drifted)

    def _wanted(self) -> list[tuple[Arena, CandidateSpec, protocol.Standing]]:
        found = []
        for arena in self.arenas:
            standing = self._standings.get((arena.group, arena.metric))
            candidate = self._candidate(arena, standing.champion.model) if standing else None
            if standing is not None and candidate is not None:
                found.append((arena, candidate, standing))
        return found

    def begin_round(self) -> None:
        """Have everybody compete, unless they do already."""
        if self._race is None:
            self._rounds += 1
            seed = zlib.crc32(f"{self.spec.model} {self._rounds}".encode())
            self._race = Race(self.spec, self.arenas, self._out, self.table, self.horizon, seed, self._weights)
            self._watch.settle()

    def wait(self, request: protocol.Wait) -> protocol.State:
        """Let work go on until there is news, for at most so many seconds."""
        lines, self.lines = self.lines, []
        self._refits.wish(self._wanted())
        news, dropped = self._refits.work(request.seconds if self._refits.busy else 0.0, request.now)
        lines += self._refits.lines()
        for key in dropped:
            self._standings.pop(key, None)
        done = changed = False
        if self._race is not None and self._race.work(0.0 if news or self._refits.busy else request.seconds):
            lines += self._finish(self._race)
            changed, done, self._race = self._changed, True, None
        changed |= bool(dropped)
        adoption = None
        if news or done or changed or self._untold:
            # whoever takes this may be new and know nothing: always all of it
            adoption = Adoption(self.champions, self._refits.curves(request.now), self._weights)
            self._untold = False
        return protocol.State(
            self._race is not None or self._refits.busy, done, tuple(lines), adoption, changed, self.standings
        )

    def _finish(self, race: Race) -> tuple[str, ...]:
        """Take the verdicts of a round."""
        champions = {key: standing.champion for key, standing in self._standings.items()}
        found = race.finish(champions, lambda arena, cost, spent: affordable(arena, cost, spent, self._refits.pace))
        before, self._standings = self._standings, {}
        for key, champion in found.champions.items():
            if key in found.costs:
                self._standings[key] = protocol.Standing(champion, found.costs[key], found.offsets[key])
            else:
                self._standings[key] = msgspec.structs.replace(before[key], champion=champion)
        self._changed = found.changed
        if found.weights is not None:
            self._weights, self._changed = found.weights, True
            self._watch.adopt(found.weights)
        self._refits.keep({(key, s.champion.model) for key, s in self._standings.items()})
        self._refits.wish(self._wanted())
        return found.lines

    @property
    def champions(self) -> tuple[Champion, ...]:
        """Those that serve, in the order of their arenas."""
        return tuple(standing.champion for standing in self.standings)

    @property
    def standings(self) -> tuple[protocol.Standing, ...]:
        """All that is needed to go on with them in another process."""
        order = [(arena.group, arena.metric) for arena in self.arenas]
        return tuple(self._standings[key] for key in order if key in self._standings)

    def close(self) -> None:
        """End what runs."""
        if self._race is not None:
            self._race.abort()
        self._refits.close()

    def ready(self) -> protocol.Ready:
        """The answer to the first request; its lines are said once."""
        lines, self.lines = tuple(self.lines), []
        return protocol.Ready(os.getpid(), lines)


__all__ = ["Trainer", "reach_of"]
