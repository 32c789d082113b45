"""The forecast and cost benchmarks on a small scale: goals, figures, refusals."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import forecast  # noqa: E402
from benchmarks.harness import main_with  # noqa: E402
from benchmarks.oracle import contest, peers, synthetic  # noqa: E402
from benchmarks.oracle.data import Group  # noqa: E402
from benchmarks.oracle.fleets import demand, held_bytes  # noqa: E402
from benchmarks.oracle.rules import RULES  # noqa: E402
from benchmarks.oracle.score import KNOTS, LEVELS  # noqa: E402

SMALL = contest.Plan(series=6, origins=3, history=1.5, streams=30, peer_series=2, peer_origins=1)


def small_group() -> Group:
    values = synthetic.series(np.random.default_rng(1), "daily", 16, 24 * 20, 24.0)[:, None].astype(np.float32)
    return Group("small", values, 3600, tuple(map(str, range(16))), ("cpu",))


class Rule:
    """A rule as an online model, so that the product can be one."""

    def __init__(self, name: str, day: int) -> None:
        self.rows: list[np.ndarray] = []
        self.rule, self.day = RULES[name], day

    def observe(self, values: np.ndarray) -> None:
        self.rows.append(np.atleast_2d(values))

    def forecast(self, steps: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
        return self.rule(np.concatenate(self.rows), steps, np.asarray(levels), self.day)


def test_a_product_that_is_a_rule_is_exactly_as_good_as_that_rule() -> None:
    found = contest.contest(small_group(), "sealed", SMALL, lambda _, day: Rule("persistence", day))
    assert found is not None
    for entry in found.entries:
        np.testing.assert_allclose(entry.scores["product"].crps, entry.scores["persistence"].crps)
        assert entry.versus()[0] >= 1.0 - 1e-9
    assert {entry.missing for entry in found.entries} == {False, True}
    assert {"grown", "age 3", "age 24"} <= {entry.label for entry in found.entries}


def test_every_goal_of_forecasts_is_told_and_every_figure_is_a_number() -> None:
    found = contest.contest(small_group(), "choose", SMALL, forecast.maker("persistence"))
    assert found is not None
    goals = list(forecast.goals_of([found], {}, 1e-6))
    assert sum("never worse" in goal.name for goal in goals) == 2
    assert sum("coverage" in goal.name for goal in goals) == 4
    assert all(math.isfinite(goal.value) for goal in goals)
    rows = forecast.figures_of(found)
    assert rows["never worse: small"]["age 3"].low <= rows["never worse: small"]["age 3"].high
    assert rows["product: small"]["series"].median == 4


def test_a_group_in_which_nothing_moves_is_left_out() -> None:
    still = Group("still", np.ones((16, 1, 480), np.float32), 3600, tuple(map(str, range(16))), ("cpu",))
    assert contest.contest(still, "sealed", SMALL, forecast.maker("persistence")) is None


def test_what_a_series_model_says_is_kept_within_reason() -> None:
    class Wild:
        class AutoETS:
            def __init__(self, season_length: int) -> None: ...

            def forecast(self, known: np.ndarray, ahead: int, level: list[int]) -> dict[str, np.ndarray]:
                steps = np.full(ahead, 1e9)
                return {
                    name: steps * sign for band in level for name, sign in ((f"lo-{band}", -1), (f"hi-{band}", 1))
                } | {"mean": np.full(ahead, np.nan)}

    known = np.array([1.0, 2.0, 4.0, 3.0])
    said = peers._guarded(Wild, "AutoETS", known, 24)
    assert said.shape == (len(KNOTS), len(LEVELS))
    assert (said.min(), said.max()) == (0.0, 12.0)
    assert (said[:, LEVELS.index(0.5)] == 3.0).all()
    # one that is missing its method gives up and the last value stands
    assert (peers._guarded(object, "AutoETS", known, 24) == 3.0).all()


def test_samples_for_the_learner_know_only_what_was_before() -> None:
    group = small_group()
    effort = peers.Effort(rows=200, series=8, steps=200)
    found = peers.rows_of([group], "fit", 200, effort, 1)
    assert len(found.x) == len(found.y) == 200
    assert set(np.unique(found.x[:, -1])) <= set(KNOTS)
    assert np.isfinite(found.y).all()


def test_bytes_of_a_state_count_every_array_once() -> None:
    array = np.zeros(100)
    assert held_bytes({"a": array, "b": [array, array[10:]], "c": np.zeros(10, np.float32)}) == 840


def test_generated_demand_is_the_same_for_a_seed() -> None:
    one, two = demand(50, seed=4), demand(50, seed=4)
    for _ in range(3):
        np.testing.assert_array_equal(next(one), next(two))


@pytest.mark.parametrize("fault", ["nothing", "broken", "peer"])
def test_bad_input_ends_with_a_clear_line_and_status_2(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if fault == "broken":
        (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 not really")
    arguments = ["--peers", "nobody"] if fault == "peer" else ["--data", str(tmp_path), "--peers", "none"]
    monkeypatch.setattr(sys, "argv", ["forecast", *arguments])
    with pytest.raises(SystemExit) as ended:
        main_with("forecast", forecast.run, forecast.options())
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("python -m benchmarks.forecast: ")
    assert "remedy" in said


def test_the_report_is_one_json_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    group = small_group()
    np.savez(tmp_path / "g.npz", values=group.values, step_s=group.step)
    given = forecast.options().parse_args(["--data", str(tmp_path), "--part", "choose", "--peers", "none"])
    given.quick = True
    report = forecast.run(given)
    told = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert told["benchmark"] == "forecast"
    assert told["goals"]
    assert "choose" in told["notes"][0]
