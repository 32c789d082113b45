"""The real worker process: frames in, frames out, and the daemon's side when it misbehaves."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import SnapshotMaker
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.fleet.errors import ProtocolError
from sidestep.fleet.forecast import LEVELS, MEDIAN, Forecast
from sidestep.fleet.inventory import OracleSpec, Policy
from sidestep.forecasting import wire
from sidestep.forecasting.client import Oracle, row_of

#: far more than starting the worker takes; tests wait for events, never for time
PATIENCE = 120.0
SPEC = OracleSpec(season=60.0, step=1.0, deadline=20.0)
POLICY = Policy(horizon=30.0)


@pytest.fixture
async def reports() -> list[str]:
    return []


@pytest.fixture
async def oracle(reports: list[str]) -> AsyncIterator[Oracle]:
    # ticks that wait for the worker as long as it may take
    made = Oracle(SPEC, POLICY, interval=PATIENCE, report=reports.append)
    yield made
    await made.aclose()


def load(at: int) -> np.ndarray:
    return np.array([0.1, 0.2, 0.05]) * (1 + 0.01 * (at % 3))


async def ready(oracle: Oracle) -> None:
    async with asyncio.timeout(PATIENCE):
        await oracle.ready()


async def forecast(oracle: Oracle, make_snapshot: SnapshotMaker, number: int) -> Forecast:
    return await oracle.forecast(make_snapshot(number, load(number), load(number)[:2]))


async def test_persistence_bridges_the_start_and_then_the_worker_forecasts(
    oracle: Oracle, make_snapshot: SnapshotMaker
) -> None:
    await oracle.start()
    first = await forecast(oracle, make_snapshot, 1)
    assert (first.model, first.fallback) == ("persistence", "worker starting")
    assert first.confidence == "insufficient"
    for number in range(2, 25):
        await forecast(oracle, make_snapshot, number)
    await ready(oracle)
    found = await forecast(oracle, make_snapshot, 25)
    assert (found.model, found.fallback) == ("aggregate", "")
    assert found.confidence == "ok", "the history from before the worker was ready must be replayed"
    assert found.hosts.shape == (3, 2, 30, len(LEVELS))
    assert found.host_knots.shape == (3, 6, len(found.knots), len(LEVELS))
    assert found.shard_knots.shape == (2, 4, len(found.knots), len(LEVELS))
    assert found.knots[0] == 1 and found.knots[-1] == 30 and len(found.knots) <= 12
    np.testing.assert_allclose(found.hosts[:, 0, 0, MEDIAN], [0.1, 0.2, 0.05], rtol=0.1)
    for ahead in (1, 7, 30):
        median = found.shards_at(ahead)[:, :2, MEDIAN]
        np.testing.assert_allclose(found.shard_mean[:, :, ahead - 1], median, rtol=1e-5)
    assert (found.shard_sd >= 0).all()
    assert not found.hosts.flags.writeable
    assert [account.model for account in found.accounts] == ["aggregate", "persistence"]
    assert len({found.id, first.id}) == 2


async def test_a_killed_worker_is_replaced_and_meanwhile_persistence_serves(
    oracle: Oracle, make_snapshot: SnapshotMaker, reports: list[str]
) -> None:
    await oracle.start()
    await ready(oracle)
    for number in range(1, 30):
        await forecast(oracle, make_snapshot, number)
    old = oracle.pid
    os.kill(old, signal.SIGKILL)
    found = await forecast(oracle, make_snapshot, 30)
    assert found.model == "persistence"
    assert "restarting" in found.fallback
    assert found.hosts.shape == (3, 2, 30, len(LEVELS))
    await ready(oracle)
    assert oracle.pid != old
    again = await forecast(oracle, make_snapshot, 31)
    assert (again.model, again.fallback, again.confidence) == ("aggregate", "", "ok")
    assert any("ready" in line for line in reports)


async def test_a_stalled_worker_is_given_up_at_the_deadline(make_snapshot: SnapshotMaker) -> None:
    oracle = Oracle(OracleSpec(deadline=0.5, step=1.0), POLICY)
    try:
        await oracle.start()
        await ready(oracle)
        await forecast(oracle, make_snapshot, 1)
        stalled = oracle.pid
        os.kill(stalled, signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE):
            found = await forecast(oracle, make_snapshot, 2)
        assert found.model == "persistence"
        assert "did not answer in 0.5 s" in found.fallback
        await ready(oracle)
        assert oracle.pid != stalled
        assert not Path(f"/proc/{stalled}").exists(), "a stopped worker must not be left behind"
    finally:
        await oracle.aclose()


async def test_an_interrupted_forecast_does_not_mix_up_answers(make_snapshot: SnapshotMaker) -> None:
    oracle = Oracle(msgspec.structs.replace(SPEC, deadline=2.0), POLICY, interval=PATIENCE)
    try:
        await oracle.start()
        await ready(oracle)
        stopped = oracle.pid
        os.kill(stopped, signal.SIGSTOP)
        asking = asyncio.create_task(forecast(oracle, make_snapshot, 1))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        found = await forecast(oracle, make_snapshot, 2)
        assert (found.snapshot, found.model) == (2, "persistence")
        await ready(oracle)
        assert oracle.pid != stopped
        found = await forecast(oracle, make_snapshot, 3)
        assert (found.snapshot, found.model, found.hosts.shape[0]) == (3, "aggregate", 3)
    finally:
        await oracle.aclose()


async def test_a_disabled_oracle_starts_nothing_and_says_so(make_snapshot: SnapshotMaker) -> None:
    oracle = Oracle(OracleSpec(enabled=False, min_steps=3, step=1.0), POLICY)
    await oracle.start()
    for number in range(1, 6):
        found = await forecast(oracle, make_snapshot, number)
    assert (found.model, found.fallback, found.confidence) == ("persistence", "oracle disabled", "ok")
    assert oracle.pid == 0
    await oracle.aclose()


async def test_without_valid_values_the_fallback_is_not_confident(make_snapshot: SnapshotMaker) -> None:
    oracle = Oracle(OracleSpec(enabled=False, min_steps=3, step=1.0), POLICY)
    for number in range(1, 6):
        found = await oracle.forecast(make_snapshot(number, np.full(3, np.nan)))
    assert found.confidence == "insufficient"
    assert np.isnan(found.hosts[:, 0]).all()


async def test_a_configuration_that_the_worker_refuses_is_reported(make_snapshot: SnapshotMaker) -> None:
    refused = asyncio.Event()
    oracle = Oracle(
        OracleSpec(model="magic"),
        POLICY,
        report=lambda line: refused.set() if "unknown model 'magic'" in line else None,
    )
    try:
        await oracle.start()
        async with asyncio.timeout(PATIENCE):
            await refused.wait()
        assert "unknown model" in (await forecast(oracle, make_snapshot, 1)).fallback
    finally:
        await oracle.aclose()


async def test_bad_values_neither_end_the_worker_nor_reach_the_forecast(
    oracle: Oracle, make_snapshot: SnapshotMaker
) -> None:
    await oracle.start()
    await ready(oracle)
    pid = oracle.pid
    for number, bad in enumerate([np.nan, np.inf, -np.inf, 1e300, -5.0], 1):
        await oracle.forecast(
            make_snapshot(number, np.array([bad, 0.2, 0.1]), time=float("nan") if number == 3 else None)
        )
    found = await oracle.forecast(make_snapshot(9, np.array([0.1, 0.2, 0.1])))
    assert oracle.pid == pid
    assert np.isfinite(found.hosts).all()
    assert (found.hosts >= 0).all()


async def test_the_fallback_widens_with_what_was_seen_and_survives_changes(make_snapshot: SnapshotMaker) -> None:
    oracle = Oracle(OracleSpec(enabled=False, step=1.0), POLICY)
    walk = 200 + np.cumsum(np.random.default_rng(2).standard_normal((200, 2)), axis=0)
    for number, row in enumerate(walk, 1):
        found = await oracle.forecast(make_snapshot(number, row))
    np.testing.assert_allclose(found.hosts[:, 0, :, MEDIAN], np.repeat(walk[-1][:, None], 30, axis=1), rtol=1e-6)
    width = found.hosts[:, 0, :, -3] - found.hosts[:, 0, :, 1]
    assert (width[:, -1] > 2 * width[:, 0]).all()
    assert (np.diff(found.hosts, axis=-1) >= 0).all()
    swapped = await oracle.forecast(make_snapshot(201, np.array([4.0, walk[-1][0]]), names=("new", "host-0")))
    assert swapped.hosts[0, 0, 0, MEDIAN] == pytest.approx(4.0)
    assert swapped.hosts[1, 0, -1, MEDIAN] == pytest.approx(walk[-1][0], rel=1e-6)


def test_the_worker_ends_with_its_input_and_names_a_cut_frame() -> None:
    command = [sys.executable, "-m", "sidestep.forecasting.worker"]
    fine = subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE, check=False)
    assert (fine.returncode, fine.stdout) == (0, b"")
    frame = wire.pack(wire.Configure(SPEC, 30.0))
    cut = subprocess.run(command, input=frame[:-3], capture_output=True, timeout=PATIENCE, check=False)
    assert cut.returncode == 2
    assert b"ended in mid-frame" in cut.stderr
    assert b"Traceback" not in cut.stderr


def test_a_request_that_cannot_be_done_is_answered_and_the_next_one_is_done(make_snapshot: SnapshotMaker) -> None:
    row = row_of(make_snapshot(1, load(1)))
    broken = wire.Row(row.number, row.time, b"123", row.shard_use, row.names)
    frames = [wire.Configure(SPEC, 30.0), wire.Ask((broken,), LEVELS), wire.Ask((row,), LEVELS)]
    done = subprocess.run(
        [sys.executable, "-m", "sidestep.forecasting.worker"],
        input=b"".join(wire.pack(frame) for frame in frames),
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    stream = io.BytesIO(done.stdout)
    answers = [wire.parse_response(data) for data in iter(lambda: wire.read_frame(stream), None)]
    assert [type(answer) for answer in answers] == [wire.Ready, wire.Failed, wire.Answer]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_frame_reader(data: bytes) -> None:
    stream = io.BytesIO(data)
    try:
        while (frame := wire.read_frame(stream)) is not None:
            wire.parse_request(frame)
    except ProtocolError as error:
        assert "oracle" in str(error)


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0"])
def test_absurd_lengths_are_refused(header: bytes) -> None:
    with pytest.raises(ProtocolError, match="oracle frame"):
        wire.read_frame(io.BytesIO(header + b"xx"))


def test_the_daemons_side_loads_nothing_heavy() -> None:
    """S1.26: what the oracle needs lives in a process of its own."""
    program = "import sys, json, sidestep.forecasting.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert "numpy" in loaded
    assert not loaded & {"sktime", "pandas", "scipy", "sklearn", "asyncssh"}
