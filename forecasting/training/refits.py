"""Curves of all champions, made again at the pace that keeps them younger than half a horizon."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

import msgspec
import numpy as np

from sidestep.fleet.inventory import CandidateSpec, OracleSpec
from sidestep.fleet.labels import scrub
from sidestep.forecasting.training.arenas import Arena
from sidestep.forecasting.training.child import Child
from sidestep.forecasting.training.curves import Wanted, curves
from sidestep.forecasting.training.messages import Curves
from sidestep.forecasting.training.origins import KNOTS, LEVELS, knots
from sidestep.forecasting.training.protocol import Standing
from sidestep.forecasting.training.rounds import Key
from sidestep.forecasting.training.table import Table

#: part of one processor that refits of all champions may take
DUTY: Final = 0.25
#: refits in a row that may fail before a champion is let go
PATIENCE: Final = 3
#: processor seconds that importing and the like may take beside the fits
EXTRA: Final = 5.0


def reach_of(horizon: int) -> tuple[int, ...]:
    """The steps ahead at which a contest measures, before the age of a curve is added."""
    return knots(horizon, KNOTS)


def affordable(arena: Arena, cost: float, spent: float, pace: float) -> str:
    """ "" or why curves of an arena cannot be kept young at ``cost`` processor seconds a series.

    ``spent`` is what a refit of those that serve already takes, ``pace`` the seconds between two refits.
    """
    wanted, most = cost * len(arena.series), DUTY * pace
    if wanted + spent <= most:
        return ""
    return (
        f"refitting {len(arena.series)} series takes {wanted:.3g} s of processor time every {pace:.3g} s; "
        f"its curves would be older than half the horizon"
        + (f" ({spent:.3g} s go to other champions)" if spent else "")
    )


class Refits:
    """One child at a time makes the curves of one champion."""

    def __init__(self, spec: OracleSpec, table: Table, horizon: int) -> None:
        self._season = spec.season / table.step if spec.season > 0 else 0.0
        self._table, self._horizon = table, horizon
        self._wishes: dict[Key, tuple[Arena, CandidateSpec, Standing]] = {}
        self._made: dict[Key, Curves] = {}
        self._failed: dict[Key, int] = {}
        self._child: Child | None = None
        self._of: Key = ("", "")
        self._lines: list[str] = []

    @property
    def pace(self) -> float:
        """Seconds between two refits: a quarter of the horizon, so that half is never reached."""
        return max(self._table.step, self._horizon * self._table.step / 4)

    @property
    def oldest(self) -> float:
        """Seconds after which a curve is too old to be served."""
        return self._horizon * self._table.step / 2

    @property
    def busy(self) -> bool:
        """Whether curves are being made, or wait to be."""
        return self._child is not None or bool(self._wishes)

    def wish(self, champions: Sequence[tuple[Arena, CandidateSpec, Standing]]) -> None:
        """Make the curves of these again if theirs are due."""
        for arena, candidate, standing in champions:
            key = arena.group, arena.metric
            made = self._made.get(key)
            if made is None or made.model != candidate.name or self._table.end - made.start >= self.pace:
                self._wishes[key] = arena, candidate, standing

    def keep(self, champions: Set[tuple[Key, str]]) -> None:
        """Drop what belongs to nobody else."""
        self._made = {key: made for key, made in self._made.items() if (key, made.model) in champions}
        self._wishes = {k: wish for k, wish in self._wishes.items() if (k, str(wish[1].name)) in champions}

    def work(self, seconds: float, now: float) -> tuple[bool, list[Key]]:
        """Whether there are new curves, and whose have failed too often; waits at most so long for one child."""
        if self._child is None and self._wishes:
            self._of = next(iter(self._wishes))
            self._child = self._start(*self._wishes.pop(self._of))
        if self._child is None or not self._child.wait(seconds):
            return False, []
        data, error = self._child.take()
        self._child = None
        made: Curves | None = None
        if not error:
            try:
                made = msgspec.msgpack.decode(data, type=Curves)
                error = self._wrong(made, now)
            except (msgspec.DecodeError, msgspec.ValidationError):
                error = "gave an answer that cannot be read"
        if made is not None and not error:
            self._made[self._of] = made
            self._failed.pop(self._of, None)
            return True, []
        failed = self._failed[self._of] = self._failed.get(self._of, 0) + 1
        group, metric = self._of
        where = f"group {group}, {metric}" if group else f"the whole fleet, {metric}"
        if failed == 1:
            self._lines.append(f"no curves of {where}: {scrub(error, 300)}")
        if failed < PATIENCE:
            return False, []
        self._lines.append(f"demoted the champion on {where}: {failed} refits failed in a row, {scrub(error, 300)}")
        self._failed.pop(self._of)
        self._made.pop(self._of, None)
        return True, [self._of]

    def _wrong(self, made: Curves, now: float) -> str:
        if len(made.values) != len(made.series) * len(made.horizons) * len(made.levels) * 4:
            return "gave an answer that does not fit"
        if not made.series:
            return "said nothing usable of any series"
        if now - made.start >= self.oldest:
            return f"curves were {now - made.start:.0f} s old when they were made, half the horizon or more"
        return ""

    def _start(self, arena: Arena, candidate: CandidateSpec, standing: Standing) -> Child:
        table = self._table
        offsets = np.frombuffer(standing.offsets, "<f4").astype(np.float64)
        ahead = reach_of(self._horizon)
        wide = len(ahead) * len(LEVELS)
        age = self._horizon // 4
        wanted = Wanted(
            candidate=candidate,
            names=arena.series,
            values=table.values[:, table.columns(arena.series)],
            end=table.end,
            step=table.step,
            season=self._season,
            horizon=self._horizon,
            offsets=offsets.reshape(-1, len(LEVELS)) if len(offsets) == wide else np.empty((0, len(LEVELS))),
            leads=tuple(h + age for h in ahead),
        )
        seconds = EXTRA + 2 * DUTY * self.pace + 3 * standing.cost * len(arena.series)
        # a champion whose curves come late is none: wait no longer than they would be served
        patience = max(30.0, self.oldest)
        return Child(lambda: msgspec.msgpack.encode(curves(wanted)), seconds=seconds, patience=patience)

    def curves(self, now: float) -> tuple[Curves, ...]:
        """The newest of every champion, without those that are too old."""
        return tuple(made for made in self._made.values() if now - made.start < self.oldest)

    def lines(self) -> list[str]:
        """What is to be logged, once."""
        lines, self._lines = self._lines, []
        return lines

    def close(self) -> None:
        """End what runs."""
        if self._child is not None:
            self._child.kill()
            self._child = None
