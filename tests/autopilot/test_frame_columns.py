"""From pictures to frames: tables that keep their number, states as bytes, curves thinned without losing peaks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loop_doubles import Scene
from numpy.typing import NDArray

from sidestep.autopilot.frames import SHOWN_LEVELS, SHOWN_STEPS, Picture, frame_of, quality_of, tables_of
from sidestep.autopilot.protocol import QUALITY, host_states, shard_states
from sidestep.backends.sampler.panel import Panel
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.snapshot import Snapshot


@pytest.fixture
async def picture(tmp_path: Path) -> Picture:
    scene = Scene(tmp_path)
    await scene.tick(2)
    assert scene.loop.picture is not None
    return scene.loop.picture


def hosts(snapshot: Snapshot, **changes: object) -> Snapshot:
    return dataclasses.replace(snapshot, hosts=dataclasses.replace(snapshot.hosts, **changes))  # type: ignore[arg-type]


def shards(snapshot: Snapshot, **changes: object) -> Snapshot:
    return dataclasses.replace(snapshot, shards=dataclasses.replace(snapshot.shards, **changes))  # type: ignore[arg-type]


def test_tables_stay_the_same_object_while_load_states_and_places_change(picture: Picture) -> None:
    snapshot, tables = picture.snapshot, picture.tables
    states = (HostState.SUSPECT,) * 3
    moved = hosts(snapshot, use=snapshot.hosts.use + 1, states=states, reasons=(Label("x"),) * 3)
    assert tables_of(shards(moved, host=snapshot.shards.host + 1, states=(ShardState.MOVING,) * 3), tables) is tables


def test_a_frame_says_how_well_every_hosts_samples_come() -> None:
    panel = Panel(["h1", "h2"])
    panel.gaps[1], panel.restarts[1], panel.resets[0], panel.skew[1] = 7, 2, 1, -3.5
    expected = [[0.0, 0.0, 1.0, np.nan], [7.0, 2.0, 0.0, -3.5]]
    np.testing.assert_array_equal(quality_of(panel), expected)


def test_a_picture_of_the_loop_carries_the_quality_of_its_samples(picture: Picture) -> None:
    column = np.frombuffer(frame_of(picture).quality, dtype="<f4").reshape(-1, len(QUALITY))
    np.testing.assert_array_equal(column[:, 0], [0.0] * len(picture.snapshot.hosts.names))


def test_tables_get_the_next_number_when_anything_in_them_changes(picture: Picture) -> None:
    snapshot, tables = picture.snapshot, picture.tables
    words = (Label("a"), Label("b"), Label("c"))
    for changed in (
        hosts(snapshot, names=words),
        hosts(snapshot, zones=words),
        hosts(snapshot, allocatable=snapshot.hosts.allocatable * 2),
        shards(snapshot, names=words),
        shards(snapshot, apps=words),
        shards(snapshot, priority=snapshot.shards.priority + 1),
    ):
        later = tables_of(changed, tables)
        assert later.number == tables.number + 1
        assert (later.hosts, later.shards, later.allocatable, later.shard_priority) != (
            tables.hosts, tables.shards, tables.allocatable, tables.shard_priority,
        )  # fmt: skip


async def test_ticks_of_an_unchanged_fleet_have_one_table(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.tick()
    first = scene.loop.picture
    await scene.tick(3, cpu=1.1)
    assert first is not None and scene.loop.picture is not None
    assert scene.loop.picture is not first and scene.loop.picture.tables is first.tables


def test_states_are_bytes_and_only_reasons_that_exist_are_said(picture: Picture) -> None:
    states = (HostState.READY, HostState.DEAD, HostState.CORDONED)
    snapshot = hosts(picture.snapshot, states=states, reasons=(Label(""), Label("no sample"), Label("")))
    snapshot = shards(snapshot, states=(ShardState.RUNNING, ShardState.MOVING, ShardState.FAILED))
    frame = frame_of(dataclasses.replace(picture, snapshot=snapshot))
    assert host_states(frame) == states and frame.reasons == {1: "no sample"}
    assert shard_states(frame) == snapshot.shards.states


def shown(picture: Picture, steps: int, curve: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """The seconds between shown steps, and the first host's cpu at the shown levels."""
    assert picture.forecast is not None
    levels = np.zeros((3, 2, steps, len(LEVELS)), dtype=np.float32)
    levels[0, 0] = curve
    frame = frame_of(dataclasses.replace(picture, forecast=dataclasses.replace(picture.forecast, hosts=levels)))
    future = np.frombuffer(frame.future, "<f2").reshape(3, 2, frame.future_steps, len(SHOWN_LEVELS))
    return frame.future_step, future[0, 0].astype(np.float32)


@pytest.mark.parametrize("steps", [1, 29, 30, 31, 60, 61, 95])
def test_a_long_forecast_is_thinned_and_no_peak_is_lost(picture: Picture, steps: int) -> None:
    for peak in range(0, steps, 7):
        curve = np.ones((steps, len(LEVELS)), dtype=np.float32)
        curve[peak] = 2.4
        step, future = shown(picture, steps, curve)
        assert len(future) <= SHOWN_STEPS and len(future) == -(-steps // round(step))
        at = int(peak // step)
        np.testing.assert_allclose(future[at], 2.4 / 3, rtol=1e-3)
        np.testing.assert_allclose(np.delete(future, at, axis=0), 1 / 3, rtol=1e-3)


@given(st.floats(-1e3, 6e4, width=32))
def test_half_floats_keep_three_digits(value: float) -> None:
    half = float(np.float32(value).astype("<f2"))
    assert half == pytest.approx(value, rel=1e-3, abs=1e-6)
