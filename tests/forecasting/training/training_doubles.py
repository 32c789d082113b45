"""A trainer's process to talk with, and fleets and histories for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.inventory import CandidateSpec, FleetSpec, HostSpec, OracleSpec, Policy, TrainerSpec
from sidestep.fleet.labels import Label
from sidestep.forecasting import wire
from sidestep.forecasting.training import protocol
from sidestep.forecasting.training.arenas import Arena, arenas, told

HERE = Path(__file__).resolve().parent
STEP, START = 60.0, 1_700_000_040.0
SEASON = 24
HORIZON = 480.0
#: our forecasters are found by their path
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}


def candidate(
    name: str, model: str, params: str = "{}", *, group: str = "web", metrics: tuple[str, ...] = ("cpu",)
) -> CandidateSpec:
    return CandidateSpec(name=Label(name), model=model, params=params, group=group, metrics=metrics)


SEASONAL = candidate("daily", "sktime.forecasting.naive.NaiveForecaster", '{"sp": "season", "strategy": "last"}')


def fleet_of(*candidates: CandidateSpec, hosts: int = 10, model: str = "persistence", budget: float = 6.0) -> FleetSpec:
    return FleetSpec(
        name=Label("f"),
        source="f.toml",
        hosts=tuple(HostSpec(name=Label(f"h{i}"), address="a", groups=(Label("web"),)) for i in range(hosts)),
        shards=(),
        policy=Policy(horizon=HORIZON),
        oracle=OracleSpec(
            model=model,
            season=SEASON * STEP,
            step=STEP,
            candidates=candidates,
            trainer=TrainerSpec(budget=budget),
        ),
    )


def daily(steps: int, series: int, *, seed: int = 1, noise: float = 0.3) -> NDArray[np.float64]:
    """A jagged day that comes again, a little later on every series: a seasonal naive forecast is truly best."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(2, 12, SEASON)
    at = (np.arange(steps)[:, None] + 3 * np.arange(series)) % SEASON
    return np.asarray(shape[at] + noise * rng.standard_normal((steps, series)))


def growing(steps: int, series: int, *, seed: int = 1) -> NDArray[np.float64]:
    """A day that comes again in proportion to a level that grows: what Theta is made for."""
    rng = np.random.default_rng(seed)
    shape = rng.uniform(0.5, 1.5, SEASON)
    at = (np.arange(steps)[:, None] + 3 * np.arange(series)) % SEASON
    level = 20 + 0.2 * np.arange(steps)[:, None] + np.cumsum(rng.normal(0, 0.5, (steps, series)), axis=0)
    return np.asarray(np.maximum(level, 5) * shape[at])


def walks(steps: int, series: int, *, seed: int = 1) -> NDArray[np.float64]:
    """Random walks, on which nothing beats the last value."""
    rng = np.random.default_rng(seed)
    return np.asarray(50 + np.cumsum(rng.standard_normal((steps, series)), axis=0).clip(-40, 200))


@dataclass
class Talk:
    """A real trainer's process, asked one thing after the other."""

    fleet: FleetSpec
    process: subprocess.Popen[bytes]
    arenas: tuple[Arena, ...]
    names: tuple[str, ...]
    lines: list[str] = field(default_factory=list)
    now: float = START

    def ask(self, request: protocol.Request) -> protocol.Response:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(protocol.pack(request))
        self.process.stdin.flush()
        data = wire.read_frame(self.process.stdout)
        assert data is not None, "the trainer has ended"
        return protocol.parse_response(data)

    def begin(self, standings: tuple[protocol.Standing, ...] = ()) -> protocol.Ready:
        answer = self.ask(protocol.Begin(self.fleet.oracle, HORIZON, STEP, self.arenas, standings))
        assert isinstance(answer, protocol.Ready), answer
        self.lines += answer.lines
        return answer

    def learn(self, values: NDArray[np.floating]) -> protocol.Learned:
        """So many further steps."""
        times = self.now + STEP * np.arange(len(values))
        self.now += STEP * len(values)
        answer = self.ask(protocol.Learn(self.names, times.astype("<f8").tobytes(), wire.to_bytes(values)))
        assert isinstance(answer, protocol.Learned), answer
        return answer

    def wait(self) -> protocol.State:
        answer = self.ask(protocol.Wait(self.now, 5.0))
        assert isinstance(answer, protocol.State), answer
        self.lines += answer.lines
        return answer

    def round(self) -> protocol.State:
        """A whole round; the answer that ended it."""
        self.ask(protocol.Round(self.now))
        state = self.wait()
        while not state.done:
            assert state.busy
            state = self.wait()
        return state

    def settled(self) -> protocol.State:
        """Wait until nothing is under way; the last answer with an adoption, or the last one."""
        state = best = self.wait()
        while state.busy:
            state = self.wait()
            best = state if state.adoption is not None else best
        return best

    def said(self, *words: str) -> str:
        """The one line that has all these words."""
        found = [line for line in self.lines if all(word in line for word in words)]
        assert len(found) == 1, self.lines
        return found[0]


@contextmanager
def talk(fleet: FleetSpec) -> Iterator[Talk]:
    known = arenas(fleet)
    command = [sys.executable, "-m", "sidestep.forecasting.training"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV) as process:
        try:
            yield Talk(fleet, process, known, told(known))
        finally:
            process.kill()
