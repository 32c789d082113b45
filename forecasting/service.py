"""What the worker does with rows: learn, forecast, keep account, and choose what to serve."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import OracleSpec
from sidestep.fleet.resources import CPU, PLANNED
from sidestep.forecasting import wire
from sidestep.forecasting.accounts import BAND, Accounts
from sidestep.forecasting.horizon import steps_ahead
from sidestep.forecasting.panel import Panel
from sidestep.forecasting.registry import make

#: persistence is served below the first skill, and the model again above the second
WORSE: Final = -0.15
BETTER: Final = -0.02
#: how often the farthest horizon must have been scored before skill decides anything: a model that
#: waits for its first season, or for a ramp to end, is not judged on half a story
ENOUGH: Final = 120


class Service:
    """The configured model and persistence over one panel of hosts and shards."""

    def __init__(self, spec: OracleSpec, horizon: float) -> None:
        """Raises UsageError for a model that does not exist."""
        self.spec = spec
        self.steps = steps_ahead(horizon, spec.step)
        season = spec.season / spec.step if spec.season > 0 else 0.0
        self._model = make(spec.model, season, self.steps)
        self._plain = make("persistence", season, self.steps)
        self._panel = Panel(spec.step)
        self._accounts = Accounts(spec.model, 0, self.steps)
        self._hosts: tuple[str, ...] = ()
        self._valid = np.zeros(0)
        self._demoted = False

    def learn(self, row: wire.Row) -> None:
        """Add a row to the panel. Raises ProtocolError if its arrays do not fit its names."""
        hosts = wire.from_bytes(row.host_use, (len(row.hosts), PLANNED), "host use")
        shards = wire.from_bytes(row.shard_use, (len(row.shards), PLANNED), "shard use")
        self._align(row)
        values = np.concatenate([hosts.reshape(-1), shards.reshape(-1)]).astype(np.float64)
        for closed in self._panel.add(row.time, values):
            self._step(closed)

    def prime(self, past: wire.Past) -> int:
        """Learn the past; returns how many steps. Raises ProtocolError if its arrays do not fit, ValueError if late."""
        count = len(past.times) // 8
        times = np.frombuffer(past.times, "<f8", count)
        hosts = wire.from_bytes(past.host_use, (count, len(past.hosts), PLANNED), "past host use")
        shards = wire.from_bytes(past.shard_use, (count, len(past.shards), PLANNED), "past shard use")
        if not count:
            return 0
        self._align(past)
        values = np.concatenate([hosts.reshape(count, -1), shards.reshape(count, -1)], axis=1).astype(np.float64)
        steps = self._panel.prime(past.step, times, values)
        self._model.observe(steps)
        self._plain.observe(steps)
        self._valid += np.isfinite(steps[:, CPU : len(self._hosts) * PLANNED : PLANNED]).sum(axis=0)
        return len(steps)

    def _align(self, row: wire.Row | wire.Past) -> None:
        names = [f"host {n} {r}" for n in row.hosts for r in range(PLANNED)]
        names += [f"shard {n} {r}" for n in row.shards for r in range(PLANNED)]
        empty = not self._panel.names
        rows = self._panel.align(tuple(names))
        if rows is None:
            return
        if empty:
            self._model.begin(len(names))
            self._plain.begin(len(names))
        else:
            self._model.select(rows)
            self._plain.select(rows)
        known = {name: at for at, name in enumerate(self._hosts)}
        kept = np.array([known.get(name, -1) for name in row.hosts], dtype=np.int64)
        self._valid = np.append(self._valid, 0.0)[kept]
        if known:
            self._accounts.select(kept)
        else:
            self._accounts = Accounts(self.spec.model, len(kept), self.steps)
        self._hosts = row.hosts

    def _step(self, values: NDArray[np.float64]) -> None:
        """One whole step of the grid: both models learn it, and it settles what was said about it."""
        self._model.observe(values)
        self._plain.observe(values)
        cpu = slice(CPU, len(self._hosts) * PLANNED, PLANNED)
        truth = values[cpu]
        self._valid += np.isfinite(truth)
        ahead = self._accounts.horizons
        said = (f.forecast_array(ahead, BAND)[cpu] for f in (self._model, self._plain))
        self._accounts.settle(truth, *said)

    def answer(self, ask: wire.Ask) -> wire.Answer:
        """Learn the row and forecast. Raises ProtocolError if the row does not fit its names."""
        self.learn(ask.row)
        fallback = self._judge()
        model = self._plain if fallback else self._model
        found = model.forecast_array(self.steps, ask.levels)
        shape = (-1, PLANNED, self.steps, len(ask.levels))
        count = len(self._hosts) * PLANNED
        return wire.Answer(
            number=ask.row.number,
            model="persistence" if fallback else self.spec.model,
            confidence=self._confidence(),
            fallback=fallback,
            steps=self.steps,
            hosts=wire.to_bytes(found[:count].reshape(shape)),
            shards=wire.to_bytes(found[count:].reshape(shape)),
            accounts=self._accounts.rows(),
        )

    def _judge(self) -> str:
        """ "" or why persistence is served instead of the model."""
        skill = self._accounts.skill()
        if self.spec.model == "persistence" or self._accounts.depth() < ENOUGH:
            return ""
        self._demoted = skill < (BETTER if self._demoted else WORSE)
        return f"{self.spec.model} is worse than persistence (skill {skill:.2f})" if self._demoted else ""

    def _confidence(self) -> str:
        """ "ok" once half of the hosts have enough valid steps."""
        enough = len(self._valid) > 0 and float(np.median(self._valid)) >= self.spec.min_steps
        return "ok" if enough else "insufficient"
