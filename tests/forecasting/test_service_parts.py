"""What stands beside the model: it is served, it travels once, and none of it takes the forecast down with it."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SnapshotMaker

from sidestep.fleet.contention import limits
from sidestep.fleet.forecast import LEVELS, MEDIAN
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.forecasting import service as services
from sidestep.forecasting import wire
from sidestep.forecasting.client import row_of
from sidestep.forecasting.dense import CORES, core_of
from sidestep.forecasting.expand import curves_of, odds_of
from sidestep.forecasting.registry import make
from sidestep.forecasting.service import Service
from sidestep.forecasting.training.messages import Adoption, Champion, Curves

STEP = 1.0
START = 1_700_000_000.0


def served(horizon: float = 30.0, **more: object) -> Service:
    return Service(OracleSpec(step=STEP, season=0.0, **more), horizon)  # type: ignore[arg-type]


class Asking:
    """Asks one service as the daemon does: names once, limits, and what it has."""

    def __init__(self, service: Service, make_snapshot: SnapshotMaker) -> None:
        self.service, self._make = service, make_snapshot
        self._names = wire.Names()
        self._have = -1

    def ask(self, number: int, hosts: np.ndarray, shards: np.ndarray | None = None, **more: object) -> wire.Answer:
        snapshot = self._make(number, hosts, shards, **more)
        row = row_of(snapshot, self._names)
        told = row if row.names is not self._names else wire.Row(number, row.time, row.host_use, row.shard_use)
        assert row.names is not None
        self._names = row.names
        bounds = wire.to_bytes(limits(snapshot, Policy()))
        answer = self.service.answer(wire.Ask((told,), LEVELS, bounds, 30, 5, self._have))
        self._have = number
        return answer


def adoption(start: float, level: float = 7.0, series: tuple[str, ...] = ("host host-0 cpu",)) -> Adoption:
    horizons, levels = (1, 60), (0.1, 0.5, 0.9)
    values = np.full((len(series), 2, 3), level) + np.array([-1.0, 0.0, 1.0])
    values[:, 1] += 59.0
    curves = Curves(series, "theta", start, STEP, horizons, levels, values.astype("<f4").tobytes())
    return Adoption((Champion("", "cpu", "theta", 0.5, 0.6, start),), (curves,))


@pytest.mark.parametrize("model", sorted(CORES))
def test_without_sktime_the_numbers_are_those_with_it(model: str) -> None:
    """The dense path and the sktime API are the same class with the same settings."""
    rng = np.random.default_rng(5)
    rows = np.abs(rng.normal(5, 1, (60, 4)) + 2 * np.sin(np.arange(60) / 2)[:, None])
    forecaster, core = make(model, 12.0, 20), core_of(model, 12.0, 20, 4)
    forecaster.begin(4)
    assert type(forecaster.core_) is type(core)
    forecaster.observe(rows)
    core.observe(rows)
    ahead = np.array([1, 5, 20])
    np.testing.assert_array_equal(forecaster.forecast_array(ahead), core.forecast(ahead, LEVELS))


@pytest.mark.parametrize(
    "part",
    ["ledger.settle", "ledger.fleet", "_calendar.observe", "_calendar.uplift", "_champions.apply", "contentions.say"],
)
def test_a_part_that_fails_is_left_out_and_said_once(
    part: str, make_snapshot: SnapshotMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1.26: the forecast goes out without it."""
    asking = Asking(served(), make_snapshot)
    owner, name = part.split(".")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("nothing works\x1b[2J")

    monkeypatch.setattr(getattr(asking.service._beside, owner), name, broken)
    notes: list[str] = []
    for number in range(1, 6):
        answer = asking.ask(number, np.array([0.1, 0.2]))
        curves = curves_of(answer, 2, 0)
        assert np.isfinite(curves.hosts[:, 0]).all()
        notes += answer.notes
    assert len(notes) == 1 and "failed and is left out: RuntimeError: nothing works<1b>" in notes[0]


def test_curves_travel_only_when_they_are_other_ones(make_snapshot: SnapshotMaker) -> None:
    asking = Asking(Service(OracleSpec(step=5.0, season=0.0), 300.0), make_snapshot)
    answers = [asking.ask(number, np.array([0.1, 0.2]), time=START + number) for number in range(1, 41)]
    fresh = [answer.number for answer in answers if not answer.same]
    assert answers[0].hosts and 8 <= len(fresh) <= 10, "one closed step in five ticks"
    assert all(not answer.hosts and not answer.shards for answer in answers if answer.same)
    assert all(answer.reactive and answer.chance for answer in answers), "what is small always travels"
    grown = asking.ask(41, np.array([0.1, 0.2, 0.3]), time=START + 41)
    assert not grown.same and len(grown.hosts) == 3 * 6 * len(grown.knots) * len(LEVELS) * 4


def test_who_lost_the_answer_is_told_again(make_snapshot: SnapshotMaker) -> None:
    service = Service(OracleSpec(step=60.0, season=0.0), 600.0)
    row = row_of(make_snapshot(1, np.array([0.1]), time=START))
    service.answer(wire.Ask((row,), LEVELS))
    later = row_of(make_snapshot(2, np.array([0.1]), time=START + 1))
    assert not service.answer(wire.Ask((later,), LEVELS, have=-1)).same


def test_a_champions_curves_are_served_while_they_are_young(make_snapshot: SnapshotMaker) -> None:
    """S1.6: what the trainer found is served, shifted to now, and no longer than half of the horizon."""
    asking = Asking(served(), make_snapshot)
    asking.ask(1, np.array([0.1, 0.2]))
    start = asking.service._panel.closed_at
    done = asking.service.adopt(wire.Adopt(adoption(start, series=("host host-0 cpu", "host gone cpu", "nonsense"))))
    assert done.notes == ()
    first = asking.ask(2, np.array([0.1, 0.2]))
    assert first.served == (("host host-0 cpu", "theta"),)
    curves = curves_of(first, 2, 0)
    age = asking.service._panel.closed_at - start
    np.testing.assert_allclose(curves.hosts[0, 0, :, MEDIAN], 7.0 + age + np.arange(30), rtol=1e-5)
    np.testing.assert_allclose(curves.hosts[0, 0, :, LEVELS.index(0.9)], 8.0 + age + np.arange(30), rtol=1e-5)
    assert curves.hosts[1, 0, 0, MEDIAN] == pytest.approx(0.2, rel=0.1)
    for number in range(3, 20):
        last = asking.ask(number, np.array([0.1, 0.2]))
    assert last.served == ()
    assert curves_of(last, 2, 0).hosts[0, 0, 0, MEDIAN] == pytest.approx(0.1, rel=0.2)


def test_curves_that_do_not_fit_are_refused_and_the_model_serves(make_snapshot: SnapshotMaker) -> None:
    asking = Asking(served(), make_snapshot)
    asking.ask(1, np.array([0.1]))
    good = adoption(START)
    cut = Curves(good.curves[0].series, "theta", START, STEP, (1, 60), (0.1, 0.5, 0.9), b"123")
    done = asking.service.adopt(wire.Adopt(Adoption((), (cut,))))
    assert len(done.notes) == 1 and "curves of theta: 3 bytes" in done.notes[0]
    answer = asking.ask(2, np.array([0.1]))
    assert answer.served == () and np.isfinite(curves_of(answer, 1, 0).hosts[:, 0]).all()


def test_the_answer_says_how_likely_contention_is(make_snapshot: SnapshotMaker) -> None:
    """S5.6: chances of every host in what is planned, and whether they have proved right."""
    asking = Asking(served(), make_snapshot)
    for number in range(1, 60):
        answer = asking.ask(number, np.array([0.05, 0.29]), capacity=0.3)
    odds = odds_of(answer, 2, None)
    assert odds.chance.shape == odds.proven.shape == odds.reactive.shape == (2, 2)
    assert odds.chance[1, 0] > 0.8 > 0.2 > odds.chance[0, 0]
    assert not odds.proven.any(), "nothing is proven in a minute"


def test_a_long_hole_is_neither_forecast_nor_scored_from_within(make_snapshot: SnapshotMaker) -> None:
    asking = Asking(served(), make_snapshot)
    for number in range(1, 30):
        asking.ask(number, np.array([0.1, 0.2]), time=START + number)
    said = 0
    forecast = asking.service._core.forecast

    def counted(*given: object) -> object:
        nonlocal said
        said += 1
        return forecast(*given)  # type: ignore[arg-type]

    asking.service._core.forecast = counted  # type: ignore[assignment,method-assign]
    before = asking.service._beside.ledger.scored
    answer = asking.ask(30, np.array([0.1, 0.2]), time=START + 500)
    assert said <= 2 and curves_of(answer, 2, 0).hosts.shape[0] == 2
    assert asking.service._beside.ledger.scored - before <= 24


def test_the_past_of_a_large_fleet_is_learned_as_far_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 4: a first forecast within seconds; the newest steps count, and enough of them."""
    monkeypatch.setattr(services, "PRIMING", 0.0)
    monkeypatch.setattr(services, "SMALL", 100)
    service = Service(OracleSpec(step=STEP, season=0.0, min_steps=15), 60.0)
    times = START + np.arange(400.0)
    values = np.broadcast_to(np.arange(400.0)[:, None, None], (400, 3, 6))
    names = wire.Names(("a", "b", "c"))
    past = wire.Past(STEP, names, times.astype("<f8").tobytes(), wire.to_bytes(values), b"")
    assert service.prime(past) == 15
    row = wire.Row(1, START + 400.5, wire.to_bytes(np.full((3, 6), 400.0)), b"", names)
    answer = service.answer(wire.Ask((row,), LEVELS))
    assert answer.confidence == "ok"
    assert curves_of(answer, 3, 0).hosts[0, 0, 0, MEDIAN] == pytest.approx(401, abs=5)


def test_many_steps_of_few_series_are_learned_as_far_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 4: a step of few series costs as much as one of hundreds; an hour by seconds would take four of them."""
    monkeypatch.setattr(services, "PRIMING", 0.0)
    names, many = wire.Names(("a",)), services.SMALL // services.STEP_COSTS
    for count, learned in ((3000, 20), (many // 2, many // 2)):
        times = START + np.arange(float(count))
        past = wire.Past(1.0, names, times.astype("<f8").tobytes(), wire.to_bytes(np.ones((count, 1, 6))), b"")
        assert Service(OracleSpec(step=1.0, season=0.0, min_steps=20), 60.0).prime(past) == learned


def test_horizons_of_hundreds_of_steps_travel_at_a_dozen_knots(make_snapshot: SnapshotMaker) -> None:
    service = Service(OracleSpec(step=1.0, season=0.0), 600.0)
    answer = service.answer(wire.Ask((row_of(make_snapshot(1, np.array([0.1]), np.array([0.1]))),), LEVELS))
    assert answer.steps == 600 and len(answer.knots) <= 12 and answer.knots[-1] == 600
    curves = curves_of(answer, 1, 1)
    assert curves.hosts.shape == (1, 2, 600, len(LEVELS)) and curves.shard_mean.shape == (1, 2, 600)


def test_the_board_names_every_series(make_snapshot: SnapshotMaker) -> None:
    asking = Asking(served(), make_snapshot)
    for number in range(1, 90):
        asking.ask(number, np.array([0.1, 0.2]), np.array([0.1]))
    board = asking.service.scores().board
    kinds = {part.kind: part for part in board.sections}
    assert kinds["host"].names == ("host-0", "host-1") and kinds["shard"].names == ("shard-0",)
    values, _, _, _ = kinds["host"].arrays()
    assert values[0, 0, 0, 0] > 0
