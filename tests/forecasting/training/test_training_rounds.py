"""Rounds in a real trainer's process, with real forecasters of sktime and with awful ones."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from training_doubles import SEASON, SEASONAL, STEP, Talk, candidate, daily, fleet_of, growing, talk, walks

from sidestep.fleet.errors import ProtocolError
from sidestep.forecasting import wire
from sidestep.forecasting.training import protocol
from sidestep.forecasting.training.messages import Champion
from sidestep.forecasting.training.origins import LEVELS, MEDIAN

pytestmark = pytest.mark.slow
STEPS = 400


def columns(trainer: Talk, web_cpu: np.ndarray) -> np.ndarray:
    """These values for the hosts' cpu, and nothing for what else is told."""
    found = np.full((len(web_cpu), len(trainer.names)), np.nan)
    found[:, [name.endswith(" cpu") for name in trainer.names]] = web_cpu
    return found


def test_a_seasonal_forecaster_is_promoted_where_it_is_best_and_its_curves_are_served() -> None:
    """S1.5, S1.6, S4.5: promotion is logged with both scores; curves cover the horizon at the age they are used."""
    with talk(fleet_of(SEASONAL)) as trainer:
        trainer.begin()
        trainer.learn(columns(trainer, daily(STEPS, 10)))
        done = trainer.round()
        line = trainer.said("promoted", "on group web, cpu")
        assert re.search(r"scaled CRPS 0\.0\d+ against 0\.\d+ of persistence, \d+ series", line)
        assert done.changed
        (standing,) = done.standings
        assert standing.champion.score < 0.6 * standing.champion.versus
        winner = standing.champion.model
        assert winner in {"daily", "seasonal"}
        state = trainer.settled()
        assert state.adoption is not None
        assert state.adoption.champions == (standing.champion,)
        (curves,) = state.adoption.curves
        assert (curves.model, curves.start, curves.step) == (winner, trainer.now, STEP)
        assert curves.series == tuple(f"host h{i} cpu" for i in range(10))
        assert curves.horizons[-1] >= 12, "half a horizon old, a curve must still cover the horizon of 8 steps"
        said = wire.from_bytes(curves.values, (10, len(curves.horizons), len(LEVELS)), "curves")
        came = daily(STEPS + 20, 10, noise=0.0)[STEPS - 1 + np.array(curves.horizons)].T
        assert np.abs(said[..., MEDIAN] - came).mean() < 0.6
        assert (np.diff(said, axis=-1) >= 0).all()


def test_nobody_is_promoted_where_nothing_beats_what_is_served() -> None:
    with talk(fleet_of(SEASONAL)) as trainer:
        trainer.begin()
        trainer.learn(columns(trainer, walks(STEPS, 10)))
        done = trainer.round()
        assert done.standings == ()
        assert not done.changed
        assert "not 3% better" in trainer.said("kept persistence on group web, cpu")


def test_theta_is_promoted_where_it_is_best() -> None:
    theta = candidate("theta", "sktime.forecasting.theta.ThetaForecaster", '{"sp": "season"}')
    with talk(fleet_of(theta, hosts=8)) as trainer:
        trainer.begin()
        trainer.learn(columns(trainer, growing(STEPS, 8)))
        (standing,) = trainer.round().standings
        assert standing.champion.model == "theta"
        assert len(trainer.settled().adoption.curves[0].series) == 8


def test_a_champion_stays_until_it_is_worse_and_then_goes() -> None:
    """Hysteresis: promotion takes a margin, staying takes being no worse; a regime change ends it (S1.6)."""
    with talk(fleet_of(candidate("daily", SEASONAL.model, SEASONAL.params), hosts=8)) as trainer:
        trainer.begin()
        trainer.learn(columns(trainer, daily(STEPS, 8)))
        first = trainer.round().standings[0].champion
        trainer.learn(columns(trainer, daily(STEPS + 24, 8)[STEPS:]))
        again = trainer.round().standings[0].champion
        assert (again.model, again.since) == (first.model, first.since)
        trainer.lines.clear()
        trainer.learn(columns(trainer, walks(3 * STEPS, 8)))
        done = trainer.round()
        assert done.standings == ()
        assert done.changed
        trainer.said(f"demoted {first.model}")


def test_awful_forecasters_are_out_each_with_its_reason_and_nobody_else_suffers() -> None:
    """S1.26: a crash, an endless loop, a memory hog and garbage end only themselves."""
    awful = ("Bad", "Aborts", "Loops", "Grows", "Garbage", "Raises", "Exits", "NoForecaster", "Missing")
    rivals = [candidate(name.lower(), f"awful_forecasters.{name}") for name in awful]
    rivals += [
        candidate("absent", "no.such.module.Forecaster"),
        candidate("params", SEASONAL.model, '{"sq": 3}'),
        candidate("mistyped", "presistence"),
        candidate("good", "awful_forecasters.Season", f'{{"sp": {SEASON}}}'),
    ]
    with talk(fleet_of(*rivals, budget=18.0)) as trainer:
        ready = trainer.begin()
        assert len(ready.lines) == 5
        assert "is no sktime forecaster; remedy: name a subclass" in trainer.said("NoForecaster")
        assert "has no Missing" in trainer.said("missing")
        assert "cannot be imported: ModuleNotFoundError" in trainer.said("absent")
        assert "does not take" in trainer.said("candidate params")
        assert "no plugin 'presistence' in sidestep.forecasters; installed: aggregate" in trainer.said("mistyped")
        trainer.learn(columns(trainer, daily(STEPS, 10)))
        done = trainer.round()
        assert "signal SIGABRT" in trainer.said("aborts on")
        assert "its share of" in trainer.said("loops on")
        assert "more memory than it may" in trainer.said("grows on")
        assert "not finite" in trainer.said("garbage on")
        assert "raises RuntimeError: I do not like this series" in trainer.said("raises on")
        assert "ended without an answer" in trainer.said("exits on")
        assert done.standings[0].champion.model in {"good", "seasonal"}
        assert trainer.process.poll() is None


def test_a_forecaster_that_cannot_keep_its_curves_young_is_no_champion() -> None:
    """The horizon of 480 s gives 30 s of processor time a refit; 400 hosts at 0.1 s take more."""
    slow = candidate("slow", "awful_forecasters.Slow", f'{{"sp": {SEASON}}}')
    with talk(fleet_of(slow, hosts=400, budget=8.0)) as trainer:
        trainer.begin()
        trainer.learn(columns(trainer, daily(STEPS, 400)))
        done = trainer.round()
        line = trainer.said("slow on group web, cpu: out")
        assert "refitting 400 series takes" in line
        assert "older than half the horizon" in line
        assert "slow" not in [standing.champion.model for standing in done.standings]


def test_a_champion_of_a_former_process_goes_on_at_once_and_one_that_is_gone_is_said() -> None:
    gone = protocol.Standing(Champion("web", "memory", "old", 0.1, 0.2, 1.0), 0.01)
    kept = protocol.Standing(Champion("web", "cpu", "daily", 0.1, 0.2, 7.0), 0.01)
    with talk(fleet_of(SEASONAL)) as trainer:
        trainer.begin((kept, gone))
        trainer.said("old is champion no more")
        trainer.learn(columns(trainer, daily(STEPS, 10)))
        state = trainer.settled()
        assert state.adoption is not None
        assert state.adoption.champions == (kept.champion,)
        assert state.adoption.curves[0].model == "daily"


def test_a_broken_request_is_refused_and_the_next_one_is_done() -> None:
    with talk(fleet_of(SEASONAL)) as trainer:
        trainer.begin()
        refused = trainer.ask(protocol.Learn(trainer.names, b"12345678", b"123"))
        assert isinstance(refused, protocol.Failed)
        assert "expected" in refused.message
        assert trainer.learn(columns(trainer, daily(5, 10))).steps == 5
        with pytest.raises(ProtocolError):
            protocol.parse_response(b"nonsense")


def test_the_trainer_yields_to_all_others_and_its_children_end_with_it() -> None:
    """S1.26: niced, bounded, and nothing is left behind when it is killed, even in mid-round."""
    with talk(fleet_of(candidate("sleeps", "awful_forecasters.Sleeps"))) as trainer:
        ready = trainer.begin()
        assert os.getpriority(os.PRIO_PROCESS, ready.pid) == 19
        limits = Path(f"/proc/{ready.pid}/limits").read_text(encoding="ascii")
        assert str(4 << 30) in limits
        trainer.learn(columns(trainer, daily(STEPS, 10)))
        trainer.ask(protocol.Round(trainer.now))
        child = _child_of(ready.pid, trainer)
        os.kill(ready.pid, signal.SIGKILL)
        trainer.process.wait()
        deadline = time.monotonic() + 30
        while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not Path(f"/proc/{child}").exists()


def _child_of(pid: int, trainer: Talk) -> int:
    """A child that runs now; several contestants may have come and gone before."""
    while True:
        assert not trainer.wait().done
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        if children:
            return int(children[0])


def test_the_trainer_ends_with_its_input() -> None:
    with talk(fleet_of(SEASONAL)) as trainer:
        trainer.begin()
        trainer.process.stdin.close()
        assert trainer.process.wait(60) == 0
