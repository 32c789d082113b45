"""What no fleet should say and some fleet will: the service keeps its forecasts sound, and says what it left out."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SnapshotMaker

from sidestep.fleet.forecast import LEVELS, MEDIAN
from sidestep.fleet.inventory import OracleSpec
from sidestep.forecasting import wire
from sidestep.forecasting.client import row_of
from sidestep.forecasting.service import Service
from sidestep.forecasting.training.messages import Adoption, Curves

HOSTS = 3
NOW = 40
NAME = "host host-0 cpu"


def demand(count: int, seed: int = 1) -> np.ndarray:
    return np.asarray(0.5 + 0.05 * np.random.default_rng(seed).standard_normal((count, HOSTS)))


def service_of(horizon: float = 30.0, model: str = "aggregate") -> Service:
    return Service(OracleSpec(step=1.0, season=0.0, model=model), horizon)


def serve(service: Service, rows: np.ndarray, make_snapshot: SnapshotMaker, start: int = 1) -> wire.Answer:
    for at, row in enumerate(rows):
        answer = service.answer(wire.Ask((row_of(make_snapshot(start + at, row)),), LEVELS))
    return answer


def curves_of_cpu(answer: wire.Answer) -> np.ndarray:
    shape = (HOSTS, wire.HOST_WIDTH, len(answer.knots), len(LEVELS))
    return wire.from_bytes(answer.hosts, shape, "hosts")[:, 0]


def peaks_of_cpu(answer: wire.Answer) -> np.ndarray:
    shape = (HOSTS, wire.HOST_WIDTH, len(answer.windows), len(LEVELS))
    return wire.from_bytes(answer.peaks, shape, "peaks")[:, 0]


def champion(
    start: float,
    names: tuple[str, ...] = (NAME,),
    *,
    level: float = 0.9,
    step: float = 1.0,
    horizons: tuple[int, ...] = (1, 10, 60),
    levels: tuple[float, ...] = (0.1, 0.5, 0.9),
) -> Adoption:
    values = np.full((len(names), len(horizons), len(levels)), level, np.float32)
    return Adoption((), (Curves(names, "theta", start, step, horizons, levels, values.tobytes()),))


@pytest.mark.parametrize("at", [0, 20])
@pytest.mark.parametrize("value", [3e38, 1.8e18, np.inf, -5e9])
def test_one_absurd_value_is_a_missing_value(make_snapshot: SnapshotMaker, at: int, value: float) -> None:
    """S1.3: a counter that wrapped neither makes a series unknown for ever nor moves its forecast."""
    rows = demand(NOW)
    rows[at, 0] = value
    found = curves_of_cpu(serve(service_of(), rows, make_snapshot))
    assert np.isfinite(found).all()
    assert 0.3 < found[0, 0, MEDIAN] < 0.7
    assert found[0, -1, -1] < 2.0


@pytest.mark.parametrize("horizon", [30.0, 150.0])
@pytest.mark.parametrize("model", ["aggregate", "network"])
def test_no_peak_is_said_below_a_value_of_its_window(make_snapshot: SnapshotMaker, model: str, horizon: float) -> None:
    """The highest value of a window is at least as high as each, a champion's too."""
    service = service_of(horizon, model)
    answer = serve(service, demand(NOW), make_snapshot)
    for adopted in (False, True):
        if adopted:
            start = make_snapshot(NOW, np.zeros(HOSTS)).time
            service.adopt(wire.Adopt(champion(start, (NAME,))))
            answer = serve(service, demand(1), make_snapshot, NOW + 1)
            assert answer.served
        values, peaks, knots = curves_of_cpu(answer), peaks_of_cpu(answer), np.array(answer.knots)
        for at, window in enumerate(answer.windows):
            inside = values[:, knots <= window]
            assert (peaks[:, at] >= inside.max(axis=1) - 1e-6).all()


def test_curves_that_do_not_fit_are_refused_and_later_ones_are_served(make_snapshot: SnapshotMaker) -> None:
    """S1.2: what a trainer sends wrongly once does not take its place for ever."""
    service = service_of()
    serve(service, demand(NOW), make_snapshot)
    start = make_snapshot(NOW, np.zeros(HOSTS)).time
    bad = (
        champion(start, (NAME,), step=0.0),
        champion(start, (NAME,), step=float("nan")),
        champion(float("nan"), (NAME,)),
        champion(start, (NAME,), horizons=()),
        champion(start, (NAME,), horizons=(5, 5, 1)),
        champion(start, (NAME,), levels=(0.1, 0.9, 0.5)),
        champion(start, (NAME,), levels=(0.0, 0.5, 1.0)),
        Adoption((), (Curves((NAME,), "theta", start, 1.0, (1, 2), (0.5,), b"..."),)),
    )
    for adoption in bad:
        assert "refused" in " ".join(service.adopt(wire.Adopt(adoption)).notes)
    assert "refused" in " ".join(service.adopt(wire.Adopt(Adoption((), (), b"..."))).notes)
    assert not service.adopt(wire.Adopt(champion(start, (NAME,)))).notes
    answer = serve(service, demand(1), make_snapshot, NOW + 1)
    assert answer.served == ((NAME, "theta"),)
    assert curves_of_cpu(answer)[0, 0, MEDIAN] == pytest.approx(0.9)


def test_curves_of_hosts_that_are_gone_leave_the_account_readable(make_snapshot: SnapshotMaker) -> None:
    """S4.22: the account is told whatever a champion was trained on."""
    service = service_of()
    serve(service, demand(NOW), make_snapshot)
    start = make_snapshot(NOW, np.zeros(HOSTS)).time
    assert not service.adopt(wire.Adopt(champion(start, ("host gone cpu",)))).notes
    assert service.scores().board.sections
