"""One round: everybody competes, one child after the other, and the verdicts make the champions.

The state of a round lives in the trainer; ``work`` lets it go on for a while, so that the
trainer answers the daemon between two children and while one runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import CandidateSpec, OracleSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.forecasting.training import tuning
from sidestep.forecasting.training.arenas import Arena
from sidestep.forecasting.training.child import Child
from sidestep.forecasting.training.contest import Field, Result, compete
from sidestep.forecasting.training.decide import Verdict, compare
from sidestep.forecasting.training.messages import Champion
from sidestep.forecasting.training.origins import course, scale
from sidestep.forecasting.training.table import Table

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Key = tuple[str, str]
#: "" or why an arena cannot be served at so many processor seconds a series when so many are spent already
Affordable = Callable[[Arena, float, float], str]

#: series of an arena that compete, drawn by seed
SAMPLE: Final = 400
#: least seconds of processor time of a contestant
LEAST: Final = 1.0


#: where networks compete: no metric of its own
_WHOLE: Final = ("", "")


class Job(NamedTuple):
    """A contestant in an arena; ``fresh`` for the oracle's own model."""

    arena: Arena
    candidate: CandidateSpec
    fresh: bool


class Outcome(NamedTuple):
    """The champions after a round, what it cost the winners (seconds of processor time a series), and lines to log."""

    champions: dict[Key, Champion]
    costs: dict[Key, float]
    offsets: dict[Key, bytes]
    lines: tuple[str, ...]
    changed: bool
    weights: bytes | None = None


class Race:
    """A round under way."""

    def __init__(
        self,
        spec: OracleSpec,
        arenas: Sequence[Arena],
        out: Mapping[str, str],
        table: Table,
        horizon: int,
        seed: int,
        weights: bytes = b"",
    ) -> None:
        """``out`` are names of candidates that cannot compete. ``horizon`` is in steps of the table."""
        self._spec, self._table, self._seed, self._weights = spec, table, seed, weights
        self._fields: dict[Key, Field] = {}
        self._lines: list[str] = []
        own = CandidateSpec(name=Label(spec.model), model=spec.model)
        self.jobs: list[Job] = []
        for arena in arenas:
            rivals = [c for c in arena.candidates if c.name not in out and c.name != spec.model]
            if not arena.contested or not rivals:
                continue
            field = _field(arena, table, spec, horizon, seed)
            if field is None:
                self._lines.append(f"{arena.title}: too little history, or nothing that varies; nobody competes")
                continue
            self._fields[arena.group, arena.metric] = field
            self.jobs += [Job(arena, own, True), *(Job(arena, rival, False) for rival in rivals)]
        self._whole = Arena("", "", (), table.names)
        self._tuning(_field(self._whole, table, spec, horizon, seed) if spec.model == tuning.MODEL else None)
        for key, field in self._fields.items():
            self._fields[key] = replace(field, weights=weights)
        self._share = max(LEAST, spec.trainer.budget / max(1, len(self.jobs)))
        self._results: dict[tuple[Key, str], Result] = {}
        self._at = 0
        self._child: Child | None = None
        self._began = time.monotonic()

    def _tuning(self, field: Field | None) -> None:
        """Have networks compete as well, on a sample of all series."""
        if field is not None:
            self._fields[_WHOLE] = field
            self.jobs += [Job(self._whole, each, True) for each in tuning.entrants(self._weights)]

    def work(self, seconds: float) -> bool:
        """Whether all have competed, after waiting for at most so many seconds."""
        deadline = time.monotonic() + seconds
        while self._at < len(self.jobs):
            if self._child is None:
                self._child = self._start(self.jobs[self._at])
            if not self._child.wait(max(0.0, deadline - time.monotonic())):
                return False
            job = self.jobs[self._at]
            key = job.arena.group, job.arena.metric
            self._results[key, job.candidate.name] = self._read(*self._child.take(), self._fields[key])
            self._child = None
            self._at += 1
        return True

    def abort(self) -> None:
        """End the child that runs."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _start(self, job: Job) -> Child:
        field, share = self._fields[job.arena.group, job.arena.metric], self._share

        def run() -> bytes:
            if job.arena is self._whole:
                found = tuning.run(job.candidate.name, field, share=share, seed=self._seed)
            else:
                found = compete(job.candidate, field, share=share, served_fresh=job.fresh)
            return msgspec.msgpack.encode(found)

        # between two fits it looks at the time itself; a single fit that goes on is ended
        return Child(run, seconds=share + max(2.0, share / 2))

    @staticmethod
    def _read(data: bytes, error: str, field: Field) -> Result:
        if error:
            return Result(error=error)
        try:
            found = msgspec.msgpack.decode(data, type=Result)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return Result(error="gave an answer that cannot be read" if data else "ended without an answer")
        wanted = field.values.shape[1] * len(field.course.origins) * 4
        return found if found.error or len(found.scores) == wanted else Result(error="gave an answer that does not fit")

    def finish(self, champions: Mapping[Key, Champion], affordable: Affordable) -> Outcome:
        """The verdicts over all arenas, in their order."""
        kept: dict[Key, Champion] = {}
        costs: dict[Key, float] = {}
        offsets: dict[Key, bytes] = {}
        changed, spent = False, 0.0
        for arena in dict.fromkeys(job.arena for job in self.jobs if job.arena is not self._whole):
            key = arena.group, arena.metric
            before = champions.get(key)
            winner = self._judge(arena, before, affordable, spent)
            changed |= (winner.model if winner else "") != (before.model if before else "")
            if winner is None:
                continue
            kept[key] = winner
            result = self._results[key, winner.model]
            if not result.error:
                costs[key], offsets[key] = result.cost, result.offsets
                spent += result.cost * len(arena.series)
        for key, champion in champions.items():
            if key not in self._fields:
                self._lines.append(f"{champion.model} stays champion of {_title(champion)}: it was not contested")
                kept[key] = champion
        weights = None
        if _WHOLE in self._fields:
            results = {name: result for (key, name), result in self._results.items() if key == _WHOLE}
            weights, lines = tuning.verdict(results, self._fields[_WHOLE], self._spec.trainer.margin, self._seed)
            self._lines += [scrub(line, 400) for line in lines]
        fields = list(self._fields.values())
        size = (
            f"{len(fields[0].values)} steps of {self._table.step:g} s" if fields else "no history that is long enough"
        )
        self._lines.insert(
            0,
            f"round over after {time.monotonic() - self._began:.0f} s: {len(self.jobs)} contestants on "
            f"{len(fields)} arenas, {size}; {len(kept)} champions",
        )
        return Outcome(kept, costs, offsets, tuple(self._lines), changed, weights)

    def _judge(self, arena: Arena, before: Champion | None, affordable: Affordable, spent: float) -> Champion | None:
        """The champion of an arena after this round, None for the oracle's own model; says why."""
        key, own = (arena.group, arena.metric), self._spec.model
        base = self._results[key, own]
        if base.error:
            self._lines.append(f"{arena.title}: {own} could not be scored ({scrub(base.error, 200)}); all stays")
            return before if before is not None and (key, before.model) in self._results else None
        scored = {own: self._scores(key, own), **self._eligible(arena, affordable, spent)}
        self._lines.append(
            f"scaled CRPS on {arena.title}: "
            + ", ".join(f"{n} {_mean(s):.3g}" for n, s in sorted(scored.items(), key=lambda item: _mean(item[1])))
        )
        served, demoted = self._stays(before, scored)
        rivals = [name for name in scored if name not in {own, served}]
        verdicts = {name: self._compare(scored[name], scored[served], len(rivals)) for name in rivals}
        best = max(verdicts, key=lambda name: verdicts[name].gain, default="")
        winner, margin = served, self._spec.trainer.margin
        wins = [name for name, verdict in verdicts.items() if verdict.better(margin)]
        if wins:
            winner = max(wins, key=lambda name: verdicts[name].gain)
            found = verdicts[winner]
            self._lines.append(
                f"promoted {winner} on {arena.title}: scaled CRPS {found.score:.3g} against {found.versus:.3g} "
                f"of {served}, {found.series} series"
            )
        elif best:
            self._lines.append(f"kept {served} on {arena.title}: {_why_not(best, verdicts[best], margin)}")
        if demoted and before is not None and winner != before.model:
            self._lines.append(f"demoted {before.model} on {arena.title}: {demoted}")
        if winner == own:
            return None
        against = self._compare(scored[winner], scored[own], 1)
        since = before.since if before is not None and before.model == winner else self._table.end
        return Champion(arena.group, arena.metric, winner, against.score, against.versus, since)

    def _eligible(self, arena: Arena, affordable: Affordable, spent: float) -> dict[str, F64]:
        """The scores of all who could be champion; says why the others could not."""
        key, scored = (arena.group, arena.metric), {}
        for job in self.jobs:
            if job.arena is not arena or job.fresh:
                continue
            name, result = job.candidate.name, self._results[key, job.candidate.name]
            why = scrub(result.error, 300) or affordable(arena, result.cost, spent)
            if why:
                self._lines.append(f"{name} on {arena.title}: out: {why}")
            else:
                scored[str(name)] = self._scores(key, name)
        return scored

    def _stays(self, before: Champion | None, scored: Mapping[str, F64]) -> tuple[str, str]:
        """Who serves unless somebody beats it, and "" or why it is no longer the champion that was.

        What was promoted by a margin goes only when it is worse: the hysteresis.
        """
        own = self._spec.model
        if before is None:
            return own, ""
        if before.model not in scored:
            return own, "it is out"
        stay = self._compare(scored[before.model], scored[own], 1)
        if stay.gain >= 0:
            return before.model, ""
        return own, f"scaled CRPS {stay.score:.3g} against {stay.versus:.3g} of {own}"

    def _scores(self, key: Key, name: str) -> F64:
        shape = self._fields[key].values.shape[1], len(self._fields[key].course.origins)
        return np.frombuffer(self._results[key, name].scores, "<f4").reshape(shape).astype(np.float64)

    def _compare(self, challenger: F64, served: F64, challengers: int) -> Verdict:
        return compare(challenger, served, challengers=challengers, seed=self._seed)


def _mean(scores: F64) -> float:
    known = scores[np.isfinite(scores)]
    return float(known.mean()) if len(known) else np.inf


def _why_not(name: str, verdict: Verdict, margin: float) -> str:
    where = f"{name} has scaled CRPS {verdict.score:.3g} against {verdict.versus:.3g}, {verdict.series} series"
    if verdict.gain < margin:
        return f"{where}, not {margin:.0%} better"
    return f"{where}, which may be chance"


def _title(champion: Champion) -> str:
    return f"group {champion.group}, {champion.metric}" if champion.group else f"the whole fleet, {champion.metric}"


def _field(arena: Arena, table: Table, spec: OracleSpec, horizon: int, seed: int) -> Field | None:
    """What is competed on: a sample of the series that vary; None if there is too little of either."""
    values = table.values[:, table.columns(arena.series)]
    known = np.flatnonzero(np.isfinite(values).any(axis=1))
    if not len(known):
        return None
    values = values[known[0] :]
    steps = int(spec.trainer.history / table.step)
    values = values[-max(1, steps) :]
    # twice: what varies decides how many series there are, and that decides the origins
    found = course(len(values), horizon, values.shape[1])
    if found is None:
        return None
    good = np.flatnonzero(np.isfinite(scale(values, found)))
    if not len(good):
        return None
    chosen = np.random.default_rng(seed).permutation(good)[:SAMPLE]
    found = course(len(values), horizon, len(chosen))
    if found is None:
        return None
    start = table.end - len(values) * table.step
    season = spec.season / table.step if spec.season > 0 else 0.0
    return Field(values=np.ascontiguousarray(values[:, chosen]), start=start, step=table.step, season=season,
                 horizon=horizon, course=found)  # fmt: skip
