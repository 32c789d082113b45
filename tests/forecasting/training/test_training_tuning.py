"""The shipped network fitted to a fleet: promoted where it helps, and never on what it has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_doubles import fleet_of, walks

from sidestep.forecasting.network.net import BadWeights, Weights, shipped
from sidestep.forecasting.registry import make
from sidestep.forecasting.training import tuning
from sidestep.forecasting.training.arenas import arenas, told
from sidestep.forecasting.training.contest import Field, Result, begin
from sidestep.forecasting.training.origins import LEVELS, course
from sidestep.forecasting.training.rounds import Race
from sidestep.forecasting.training.table import Table


def bursts(steps: int, series: int) -> np.ndarray:
    """Work that comes in bursts, with an echo: nothing that the shipped network was shown."""
    rng = np.random.default_rng(1)
    at = (np.arange(steps)[:, None] + rng.integers(0, 17, series)) % 17
    return np.asarray(10 + 8 * (at < 4) - 3 * (at == 9) + rng.normal(0, 0.3, (steps, series)))


def field_of(values: np.ndarray) -> Field:
    found = course(len(values), 8, values.shape[1])
    assert found is not None
    return Field(values=values.astype(np.float32), start=0.0, step=60.0, season=0.0, horizon=8, course=found)


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "MOST", 12_000)


def results(field: Field) -> dict[str, Result]:
    return {str(c.name): tuning.run(c.name, field, share=20.0, seed=1) for c in tuning.entrants(field.weights)}


@pytest.mark.slow
def test_a_network_tuned_to_the_fleet_is_promoted_where_it_helps() -> None:
    """S1.6."""
    field = field_of(bursts(700, 20))
    found = results(field)
    weights, lines = tuning.verdict(found, field, 0.03, 1)
    assert weights is not None, lines
    Weights.from_bytes(weights)
    assert lines[0].startswith("promoted aggregate (tuned) on the whole fleet: scaled CRPS")


def test_a_tuned_network_that_no_longer_helps_is_given_up_without_a_margin() -> None:
    field = replace(field_of(walks(400, 20)), weights=b"tuned")
    shape = field.values.shape[1], len(field.course.origins)

    def scored(score: float) -> Result:
        return Result(scores=np.full(shape, score, "<f4").tobytes(), weights=b"newer")

    served, worse, broken = scored(0.40), scored(0.41), Result(error="raised")
    names = (tuning.MODEL, tuning.TUNED, tuning.SHIPPED)
    for tuned, before, wanted in (
        (worse, scored(0.399), shipped().to_bytes()),
        (worse, worse, None),
        (broken, worse, None),
        (scored(0.39), worse, None),
        (scored(0.38), scored(0.399), b"newer"),
    ):
        found, lines = tuning.verdict(dict(zip(names, (served, tuned, before), strict=True)), field, 0.03, 1)
        assert found == wanted, lines
    assert tuning.verdict({tuning.MODEL: broken, tuning.TUNED: served}, field, 0.03, 1)[0] is None


def test_a_network_learns_only_from_before_the_first_origin() -> None:
    values = bursts(400, 10)
    field = field_of(values)
    later = values.copy()
    later[field.course.origins[0] :] = 99.0
    # no time to spare, so that both learn from equally many samples
    assert tuning.tuned(field, share=0.0, seed=3) == tuning.tuned(field_of(later), share=0.0, seed=3)


def test_too_little_history_tunes_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        tuning.tuned(field_of(bursts(120, 2)), share=1.0, seed=1)


def test_weights_change_what_an_aggregate_says_and_nothing_else_of_it() -> None:
    values = bursts(120, 3)
    said = []
    for weights in (b"", shipped().to_bytes(), tuning.tuned(field_of(bursts(400, 10)), share=0.0, seed=1)):
        model = make("aggregate", 0.0, 8)
        begin(model, 3, weights)
        model.observe(values)
        said.append(model.forecast_array(np.array([1, 4]), LEVELS))
    np.testing.assert_array_equal(said[0], said[1])
    assert np.abs(said[2] - said[0]).max() > 1e-3
    with pytest.raises(BadWeights):
        begin(make("aggregate", 0.0, 8), 3, b"no weights")


def test_networks_compete_only_where_the_aggregate_is_served() -> None:
    for model, wanted in (("aggregate", 1), ("persistence", 0)):
        fleet = fleet_of(hosts=8, model=model)
        known = arenas(fleet)
        table = Table(told(known), 60.0)
        table.add(table.names, 60.0 * np.arange(300), bursts(300, len(table.names)).astype(np.float32))
        race = Race(fleet.oracle, known, {}, table, 8, 1)
        assert sum(job.candidate.name == tuning.TUNED for job in race.jobs) == wanted
