"""What a worker is to be told: the past, what was measured lately, what is known to come, what the trainer found.

A worker that replaces another one is told the past from the history (which touches no
account), then the newest measured steps as if they came now, so that its accounts begin with
those and not with nothing. What older accounts said is not restored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from sidestep.fleet.occasions import Occasion
from sidestep.forecasting import wire
from sidestep.forecasting.process import Worker, WorkerLost
from sidestep.forecasting.recent import Recent
from sidestep.forecasting.training.messages import Adoption

#: measured steps that a new worker is told again: so many numbers, and so many steps at most
REPLAYED: Final = 1 << 20
MOST_STEPS: Final = 600
#: ticks that wait to be told; older ones are left out and are missing steps then
MOST_WAITING: Final = 64
#: rows that came while a worker was told others are told at once, up to so many times
ROUNDS: Final = 5


class Telling:
    """Remembers what the present worker was told, and what not yet."""

    def __init__(
        self, recent: Recent, past: Callable[[float], wire.Past | None], report: Callable[[str], None]
    ) -> None:
        self.occasions: tuple[Occasion, ...] = ()
        #: the host of each shard, and what a worker said that occasions do to demand
        self.homes: dict[str, str] = {}
        self.learned = b""
        self.adoption: Adoption | None = None
        #: ticks that the present worker has not been told
        self.untold: list[wire.Row] = []
        #: the series of the row that it was told last
        self.told: wire.Names | None = None
        self._recent, self._past, self._report = recent, past, report

    def prime(self) -> int:
        """Have ``recent`` take the newest of the past, unless it has anything; how many steps."""
        past = None if self._recent.rows else self._read(math.inf)
        return self._recent.prime(past) if past is not None else 0

    def add(self, row: wire.Row) -> None:
        """One tick, with the names of its series."""
        self.untold.append(row)
        del self.untold[:-MOST_WAITING]

    def rows(self) -> tuple[wire.Row, ...]:
        """What is not told yet, and from now on is: names travel only where they change."""
        rows, self.untold = self.untold, []
        return self._spoken(rows)

    async def tell(self, worker: Worker) -> None:
        """Tell a new worker everything. Raises WorkerLost; a past that it cannot learn is not told again."""
        self.untold, self.told = [], None
        live = self._recent.live(min(MOST_STEPS, REPLAYED // max(1, self._recent.names.series)))
        past = self._read(live[0].time - self._recent.step / 2 if live else math.inf)
        if past is not None:
            try:
                await worker.prepare(past)
            except WorkerLost:
                self._past = lambda _: None
                self._report("oracle: the past could not be learned; the next worker does without")
                raise
        if live:
            await worker.prepare(wire.Replay(self._spoken(list(live))))
        if self.occasions or self.learned:
            await worker.prepare(wire.Know(self.occasions, self.homes, self.learned))
        if self.adoption is not None:
            await worker.prepare(wire.Adopt(self.adoption))
        for _ in range(ROUNDS):
            if len(self.untold) < 2:
                break
            await worker.prepare(wire.Replay(self.rows()))

    def _read(self, before: float) -> wire.Past | None:
        try:
            return self._past(before)
        except Exception as error:  # noqa: BLE001 - the supervisor of the history: without a past we still forecast
            self._report(f"oracle: the past could not be read: {type(error).__name__}: {error}")
            return None

    def _spoken(self, rows: list[wire.Row]) -> tuple[wire.Row, ...]:
        found = []
        for row in rows:
            found.append(msgspec.structs.replace(row, names=None) if row.names is self.told else row)
            self.told = row.names
        return tuple(found)
