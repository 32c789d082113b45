"""What a host will need after shards have come or left: its own past does not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sidestep.fleet.forecast import LEVELS, MEDIAN, Forecast
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot
from sidestep.forecasting.moved import Moved

HOSTS, SHARDS, STEPS, SEASON = 3, 4, 6, 600.0
#: cores that each shard uses now and will use, and what a host uses besides
NOW, SOON, BESIDES = np.array([1.0, 0.5, 0.2, 0.1]), np.array([2.0, 0.6, 0.3, 0.1]), 0.25


def snapshot(at: tuple[int, ...], time: float = 0.0, names: tuple[str, ...] = ("a", "b", "c", "d")) -> Snapshot:
    """Shards on those hosts at that time."""
    use, mine = np.zeros((HOSTS, len(DIMENSIONS))), np.zeros((len(at), len(DIMENSIONS)))
    mine[:, 0] = NOW[: len(at)]
    for shard, host in enumerate(at):
        use[host, 0] += mine[shard, 0] * (host >= 0)
    use[:, 0] += BESIDES
    blank = (Label(""),) * HOSTS
    hosts = HostColumns(
        names=tuple(Label(f"h{row}") for row in range(HOSTS)), states=(HostState.READY,) * HOSTS, reasons=blank,
        zones=blank, capacity=use + 9, allocatable=use + 9, use=use, pressure=np.zeros((HOSTS, 3)),
        age=np.zeros(HOSTS),
    )  # fmt: skip
    shards = ShardColumns(
        names=tuple(map(Label, names)), apps=tuple(map(Label, names)), states=(ShardState.RUNNING,) * len(at),
        host=np.array(at, np.int32), use=mine, state_bytes=np.zeros(len(at)), priority=np.full(len(at), 3, np.int32),
        token=np.ones(len(at), np.int64), movable=np.ones(len(at), np.bool_),
    )  # fmt: skip
    return Snapshot(number=1, time=time, generation=1, hosts=hosts, shards=shards)


def said() -> Forecast:
    """Hosts by their past: 3.5 cores each; shards by theirs."""
    mean = np.zeros((SHARDS, 2, STEPS), np.float32)
    mean[:, 0] = SOON[:, None]
    return Forecast(
        id="f", snapshot=1, time=0.0, step=1.0, model=Label("m"), confidence="ok", fallback=Label(""),
        hosts=np.full((HOSTS, 2, STEPS, len(LEVELS)), 3.5, np.float32), shard_mean=mean,
        shard_sd=np.full_like(mean, 0.1), chance=np.full((HOSTS, 2), 0.9, np.float32),
    )  # fmt: skip


def test_hosts_that_a_shard_left_or_came_to_are_what_their_shards_will_be() -> None:
    """Lesson 5: the effect of a move is in the very next forecast; others keep theirs, and their chances."""
    moved, forecast = Moved(SEASON, 60.0), said()
    before, after = snapshot((0, 0, 1, 2)), snapshot((1, 0, 1, 2), time=1.0)
    moved.see(before)
    assert moved.restated(before, forecast, 0.3) is forecast, "nothing has moved"
    moved.see(after)
    found = moved.restated(after, forecast, 0.3)
    assert found.hosts[:, 0, :, MEDIAN] == pytest.approx(
        np.array([SOON[1] + BESIDES, SOON[0] + SOON[2] + BESIDES, 3.5])[:, None] * np.ones(STEPS), rel=1e-6
    )
    assert (np.diff(found.hosts, axis=-1) >= 0).all() and found.hosts[1, 0, 0, -1] > found.hosts[1, 0, 0, MEDIAN]
    assert np.isnan(found.chance[:2]).all() and (found.chance[2] == np.float32(0.9)).all()
    assert (forecast.hosts == 3.5).all() and (forecast.chance == np.float32(0.9)).all(), "it was changed in place"


def test_a_host_is_taken_at_its_word_again_after_a_season() -> None:
    moved, forecast = Moved(SEASON, 60.0), said()
    for time in (0.0, 1.0):
        moved.see(snapshot((int(time), 0, 1, 2), time=time))
    late = snapshot((1, 0, 1, 2), time=1.0 + SEASON)
    moved.see(late)
    assert moved.restated(late, forecast, 0.3) is forecast


def test_a_host_with_a_shard_of_unknown_demand_keeps_what_the_model_says() -> None:
    moved, forecast = Moved(SEASON, 60.0), said()
    forecast.shard_mean[2, 0] = np.nan
    for at in ((0, 0, 1, 2), (1, 0, 1, 2)):
        moved.see(snapshot(at, time=float(at[0])))
    found = moved.restated(snapshot((1, 0, 1, 2), time=1.0), forecast, 0.3)
    assert (found.hosts[1, 0] == 3.5).all() and (found.hosts[0, 0] < 3.5).all()


def test_shards_that_come_and_go_from_the_fleet_are_no_moves() -> None:
    """A split's spare, a new file: whoever is seen for the first time has not come from anywhere."""
    moved, forecast = Moved(SEASON, 60.0), said()
    moved.see(snapshot((-1, -1, -1), names=("a", "b", "c")))
    moved.see(snapshot((0, 0, 1), names=("a", "b", "c")))
    four = snapshot((0, 0, 1, 2), time=1.0)
    moved.see(four)
    assert moved.restated(four, forecast, 0.3) is forecast
    other = snapshot((0, 1, 1, 2), time=2.0)
    moved.see(other)
    assert moved.restated(other, replace(forecast, rho=0.0), 0.3) is not forecast
