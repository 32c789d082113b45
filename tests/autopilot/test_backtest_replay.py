"""The backtest as a whole, on the real oracle: it never sees the future, and its report keeps to its schema."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
import pytest

from sidestep.autopilot.backtest import report
from sidestep.autopilot.backtest.__main__ import arguments, main, prepare
from sidestep.autopilot.backtest.replay import Said, replay
from sidestep.autopilot.backtest.scores import Scores
from sidestep.fleet import demand
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.labels import Label

STEPS, CUT = 150, 110


def waves(path: Path, seed: int = 5) -> Path:
    """Two hosts that run hot every 30 steps, one that never does."""
    random = np.random.default_rng(seed)
    time = np.arange(STEPS)
    cpu = np.stack([5 + 4 * np.sin(2 * np.pi * (time + 9 * h) / 30) for h in range(2)] + [np.full(STEPS, 3.0)])
    cpu = cpu + random.normal(0, 0.15, cpu.shape)
    np.savez(path, values=cpu[:, None], step_s=60, metrics=np.array(["cpu"]), start=1_700_000_000)
    return path


OPTIONS = ("--model", "trend", "--season", "30m", "--policy", "horizon=10m", "--capacity", "cpu=10", "--warmup", "40m")


def replayed(path: Path, change: bool = False) -> Said:
    recording, limit, chosen, begin = prepare(arguments([str(path), *OPTIONS]))
    if change:
        values = recording.values.copy()
        values[CUT:] = np.random.default_rng(9).uniform(0, 12, values[CUT:].shape)
        recording = replace(recording, values=values)
    return asyncio.run(replay(recording, limit, chosen, begin, lambda done: None))


def test_what_was_said_does_not_depend_on_what_came_later(tmp_path: Path) -> None:
    """Changing the future changes nothing that was said before it, and something that is said after."""
    path = waves(tmp_path / "load.npz")
    one, other = replayed(path), replayed(path, change=True)
    for name in ("chance", "alarm", "proven", "sure", "fallback"):
        before = getattr(one, name)[:CUT], getattr(other, name)[:CUT]
        assert np.array_equal(*before, equal_nan=name == "chance"), name
    assert not np.array_equal(one.chance[CUT:], other.chance[CUT:], equal_nan=True)
    assert not one.fallback.any() and one.sure[-1]


def test_the_report_counts_and_keeps_to_its_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = waves(tmp_path / "load.npz")
    assert main([str(path), *OPTIONS, "--json"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=report.Report)
    assert (found.hosts, found.dimensions, found.steps, found.warm_up) == (3, ("cpu",), STEPS, 2400.0)
    assert set(found.rules) == set(report.RULES) and found.served == {"trend": STEPS}
    oracle, season = found.rules["oracle"], found.rules["yesterday"]
    assert oracle.onsets == season.onsets >= 4
    assert season.foreseen >= oracle.onsets - 1, "a load that repeats exactly is foreseen by repetition"
    assert oracle.foreseen > found.rules["reactive"].foreseen
    assert oracle.brier_skill is not None and oracle.brier_skill > 0
    assert all(score.count > 0 and score.coverage80 is not None for score in found.scores)
    shown = report.lines(found)
    assert max(map(len, shown)) <= 80 and all(line.isascii() for line in shown)


def test_the_published_schema_is_that_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    published = Path(demand.__file__).with_name("backtest.schema.json")
    assert json.loads(published.read_text(encoding="utf-8")) == json.loads(json.dumps(report.schema()))
    assert main(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == report.SCHEMA


def forecast(median: float, spread: float, steps: int) -> Forecast:
    """One host whose cpu is said to be normal about ``median`` at every step."""
    row = np.array([median + spread * NormalDist().inv_cdf(level) for level in LEVELS], np.float32)
    hosts = np.broadcast_to(row, (1, 2, steps, len(LEVELS))).astype(np.float32)
    none = np.zeros((0, 2, steps), np.float32)
    return Forecast(
        id="f", snapshot=1, time=0.0, step=1.0, model=Label("m"), confidence="ok", fallback=Label(""), hosts=hosts,
        shard_mean=none, shard_sd=none,
    )  # fmt: skip


def test_scores_reward_the_right_spread_and_count_its_bands() -> None:
    """S4.22: sharper than persistence on noise, and calibrated."""
    random, steps = np.random.default_rng(2), 400
    right, wide = Scores((0,), 1, 5.0, 1.0, 20), Scores((0,), 1, 5.0, 1.0, 20)
    for at in range(steps):
        use = np.array([[random.normal(10.0, 1.0), np.nan]], np.float32)
        right.take(at, use, forecast(10.0, 1.0, 5))
        wide.take(at, use, forecast(10.0, 4.0, 5))
    good, bad = right.found()[0], wide.found()[0]
    assert good.coverage80 == pytest.approx(0.8, abs=0.06) and good.coverage90 == pytest.approx(0.9, abs=0.05)
    assert bad.coverage80 > 0.97 and bad.crps > 1.5 * good.crps
    assert good.skill > 0.15 and good.crps == pytest.approx(0.564, abs=0.06), "the CRPS of a normal is 0.564 deviations"
