"""The daemon's side without a worker: knots become steps, the recent past is bounded, persistence is always there."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from conftest import SnapshotMaker
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import LEVELS, MEDIAN
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.forecasting import wire
from sidestep.forecasting.calibrate import along, ladder
from sidestep.forecasting.client import Oracle, row_of
from sidestep.forecasting.expand import curves_of, expand, last_resort, odds_of
from sidestep.forecasting.horizon import MOST_KNOTS, grid_step, knots_of, steps_ahead
from sidestep.forecasting.recent import MOST_BYTES, Recent, vector

NAMES = wire.Names(("a", "b"), ("s",), ("app",))


def recent(steps: int = 60, **more: int) -> Recent:
    made = Recent(1.0, knots_of(ladder(steps), steps), **more)
    made.align(NAMES)
    return made


@given(st.floats(0, 100), st.floats(1, 1e6), st.floats(0.1, 100))
def test_a_step_is_as_configured_or_a_sixtieth_of_the_horizon(step: float, horizon: float, interval: float) -> None:
    found = grid_step(OracleSpec(step=step), horizon, interval)
    assert found == (step if step > 0 else max(interval, horizon / 60))
    if step == 0:
        assert steps_ahead(horizon, found) <= 60


@given(st.integers(1, 600), st.lists(st.integers(1, 700), max_size=40))
def test_knots_cover_the_horizon_and_are_few(steps: int, known: list[int]) -> None:
    knots = knots_of(np.array(sorted(known), dtype=np.int64), steps).tolist()
    assert knots == sorted(set(knots)) and len(knots) <= MOST_KNOTS
    assert knots[0] == 1 and knots[-1] == steps


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_between_knots_there_are_lines_and_what_is_unknown_stays_alone(steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    knots = tuple(knots_of(ladder(steps), steps).tolist())
    hosts = rng.random((3, 6, len(knots), len(LEVELS)), dtype=np.float32)
    shards = rng.random((4, 4, len(knots), len(LEVELS)), dtype=np.float32)
    unknown = int(rng.integers(len(knots)))
    hosts[1, 0, unknown], shards[2] = np.nan, np.nan
    made = expand(hosts, shards, knots, steps)
    ahead = np.arange(1, steps + 1)
    lines = np.moveaxis(along(np.moveaxis(hosts[:, :2], 2, -1), np.array(knots), ahead), -1, 2)
    known = np.isfinite(lines)
    np.testing.assert_allclose(made.hosts[known], lines[known], rtol=2e-5)
    assert np.isnan(made.hosts[1, 0, knots[unknown] - 1]).all() and np.isfinite(made.hosts[[0, 2]]).all()
    assert np.isnan(made.shard_mean[2]).all() and np.isfinite(made.shard_mean[[0, 1, 3]]).all()
    assert not made.hosts.flags.writeable and not made.shard_mean.flags.writeable


def test_one_step_of_many_shards_is_read_off_the_knots(make_snapshot: SnapshotMaker) -> None:
    rows = recent()
    for number in range(1, 90):
        rows.add(number, 1e9 + number, np.arange(16, dtype=np.float32) + number % 3)
    made = last_resort(rows, tuple(rows.lags.tolist()), 60)
    assert made.shard_mean.shape == (1, 2, 60)
    np.testing.assert_allclose(made.shard_mean[0, :, 0], made.shard_knots[0, :2, 0, MEDIAN])


def test_an_answer_that_does_not_fit_is_refused() -> None:
    good = {"number": 1, "model": "m", "confidence": "ok", "fallback": "", "steps": 2, "knots": (1, 2)}
    size = 6 * 2 * len(LEVELS) * 4
    assert curves_of(wire.Answer(**good, hosts=bytes(size)), 1, 0).rows == (1, 0)  # type: ignore[arg-type]
    for change in (
        {"hosts": bytes(size - 4)}, {"shards": b"1"}, {"knots": ()}, {"knots": (2, 1)}, {"knots": (0, 2)}, {"steps": 0},
        {"steps": 10**9},
    ):  # fmt: skip
        with pytest.raises(ProtocolError):
            curves_of(wire.Answer(**{**good, "hosts": bytes(size), **change}), 1, 0)  # type: ignore[arg-type]
    for change in ({"chance": b"1"}, {"proven": b"123"}, {"windows": (1,), "peaks": b"1234"}):
        with pytest.raises(ProtocolError):
            odds_of(wire.Answer(**{**good, **change}), 1, None)  # type: ignore[arg-type]


def test_what_is_kept_is_bounded_in_bytes_whatever_the_fleet() -> None:
    small, large = recent(), Recent(1.0, ladder(60))
    large.align(wire.Names(tuple(f"h{i}" for i in range(2000)), tuple(f"s{i}" for i in range(20_000))))
    assert large._ring.nbytes <= MOST_BYTES
    assert large.size <= 1.6 * MOST_BYTES
    for number in range(2000):
        small.add(number, 1e9 + number, np.ones(16, np.float32))
    assert small.rows == 900 and [row.number for row in small.live(3)] == [1997, 1998, 1999]


def test_series_keep_their_past_by_name() -> None:
    rows = recent()
    for number in range(40):
        rows.add(number, 1e9 + number, np.arange(16, dtype=np.float32) + number)
    spread = rows.square.copy()
    rows.align(wire.Names(("b", "c"), (), ()))
    assert rows.rows == 40 and len(rows.live(100)) == 40
    np.testing.assert_array_equal(rows.square[:, :6], spread[:, 6:12])
    assert (rows.square[:, 6:] == 0).all() and np.isnan(rows.last[6:]).all()
    np.testing.assert_array_equal(vector(rows.live(1)[0], rows.names)[:6], np.arange(6, 12) + 39.0)


def test_only_what_was_measured_here_is_told_again() -> None:
    rows = recent()
    times = np.arange(100.0)
    past = wire.Past(1.0, NAMES, times.astype("<f8").tobytes(), wire.to_bytes(np.ones((100, 2, 6))), bytes(1600))
    assert rows.prime(past) == 100 and rows.valid == 100
    assert rows.live(1000) == ()
    rows.add(7, 100.5, np.ones(16, np.float32))
    (row,) = rows.live(1000)
    assert (row.number, row.time, row.names) == (7, pytest.approx(100.5), NAMES)


def test_a_row_holds_network_and_pressure_of_hosts_and_disk_of_shards(make_snapshot: SnapshotMaker) -> None:
    """S1.3, S3.3: the oracle sees more than what is planned."""
    shot = make_snapshot(1, np.array([0.1, 0.2]), np.array([0.3]))
    use = shot.hosts.use.copy()
    use[:, 4], use[:, 5] = 100.0, 11.0
    object.__setattr__(shot.hosts, "use", use)
    object.__setattr__(shot.hosts, "pressure", np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    row = row_of(shot)
    assert row.names is not None
    values = vector(row, row.names)
    np.testing.assert_allclose(values[:6], [0.1, 64e6, 111.0, 1.0, 2.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(values[12:], [0.3, 64e6, 0.0, 0.0], rtol=1e-6)
    again = row_of(shot, row.names)
    assert again.names is row.names, "names that stay are told once"


async def test_a_late_worker_keeps_no_tick_waiting(make_snapshot: SnapshotMaker) -> None:
    """S1.26: before any answer persistence serves, and says that the worker is late."""

    class Never:
        pid = 1

        async def call(self, _: wire.Request) -> wire.Response:
            await asyncio.Event().wait()
            raise AssertionError

    oracle = Oracle(OracleSpec(step=1.0, deadline=60.0), Policy(), interval=0.1)
    oracle._supervisor.worker, oracle._supervisor.why = Never(), ""  # type: ignore[assignment]
    for number in range(1, 4):
        found = await oracle.forecast(make_snapshot(number, np.array([0.1])))
        assert (found.snapshot, found.model, found.fallback) == (number, "persistence", "the worker is late")
    assert len(oracle._telling.untold) == 2, "what came meanwhile waits to be told"
    await oracle.aclose()


@given(st.integers(1, 600))
def test_knots_of_the_ladder_are_its_own(steps: int) -> None:
    assert set(knots_of(ladder(steps), steps).tolist()) <= set(ladder(steps).tolist())
