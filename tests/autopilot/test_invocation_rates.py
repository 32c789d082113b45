"""Requests and latencies of shards: from a router's totals, from pushed invocations, into snapshot and history."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sidestep.autopilot.history_keeper import Keeper
from sidestep.autopilot.invocations_reported import Reported
from sidestep.fleet import invocation_sketch as sketches
from sidestep.fleet.inventory import HistorySpec
from sidestep.fleet.invocations import Invocation
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.resources import DIMENSIONS, REPORTED
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot

SHARDS = ("s1", "s2", "s3")


def walls(*seconds: float) -> np.ndarray:
    return sketches.sketch(np.array(seconds), sketches.SECONDS)


def looked(seen: Reported, now: float, totals: dict[str, int], latency: dict[str, np.ndarray], run: str = "a") -> None:
    rows = seen.rows(list(totals))
    sketch = np.array([latency.get(name, walls()) for name in totals])
    seen.totals(now, run, rows, np.array(list(totals.values())), sketch)


def call(shard: str, wall: float, n: int = 1) -> Invocation:
    return Invocation(app=Label("f"), shard=Label(shard), t=0.0, wall_s=wall, n=n)


def test_nothing_reported_is_no_columns_at_all() -> None:
    seen = Reported(SHARDS, interval=1.0)
    seen.close(1.0)
    assert seen.columns(1.0) is None


def test_totals_become_rates_and_latencies_of_the_time_between_two_looks() -> None:
    """S1.16: request rate and latency per shard."""
    seen = Reported(SHARDS, interval=1.0)
    looked(seen, 10.0, {"s2": 100, "s1": 7}, {"s2": walls(5.0, 5.0)})
    assert np.isnan(seen.columns(10.0)).all(), "the first look tells no rate"
    looked(seen, 12.0, {"s2": 150, "s1": 7}, {"s2": walls(5.0, 5.0) + walls(*[0.01] * 90, *[0.2] * 10)})
    found = seen.columns(12.0)
    np.testing.assert_allclose(found[:, 0], [0.0, 25.0, np.nan])
    np.testing.assert_allclose(found[1, 1:], [0.01, 0.2], rtol=0.06)
    assert np.isnan(found[0, 1:]).all(), "without requests there is no latency"


def test_a_look_that_failed_is_made_up_for_by_the_next() -> None:
    seen = Reported(SHARDS, interval=1.0)
    for now, total in ((0.0, 0), (1.0, 10), (4.0, 40)):
        looked(seen, now, {"s1": total}, {})
    assert seen.columns(4.0)[0, 0] == 10.0


def test_a_router_that_began_anew_and_totals_that_fell_give_no_rate_once() -> None:
    """S1.3: counter resets."""
    seen = Reported(SHARDS, interval=1.0)
    looked(seen, 0.0, {"s1": 1000, "s2": 10}, {})
    looked(seen, 1.0, {"s1": 1001, "s2": 11}, {})
    looked(seen, 2.0, {"s1": 5, "s2": 2}, {}, run="b")
    looked(seen, 3.0, {"s1": 9, "s2": 1}, {}, run="b")
    assert seen.columns(3.0)[0, 0] == 4.0
    assert np.isnan(seen.columns(3.0)[1]).all(), "the one that fell has none"
    looked(seen, 4.0, {"s1": 9, "s2": 3}, {}, run="b")
    assert seen.columns(4.0)[:2, 0].tolist() == [0.0, 2.0]


def test_what_was_reported_too_long_ago_is_unknown() -> None:
    seen = Reported(SHARDS, interval=1.0)
    looked(seen, 0.0, {"s1": 0}, {})
    looked(seen, 1.0, {"s1": 10}, {})
    assert seen.columns(5.9)[0, 0] == 10.0
    assert np.isnan(seen.columns(6.1)).all()


def test_pushed_invocations_are_rates_and_their_silence_is_zero() -> None:
    seen = Reported(SHARDS, interval=1.0)
    seen.close(0.0)
    seen.push([call("s3", 0.1, 5), call("s3", 0.3), call("stranger", 1.0)])
    seen.close(2.0)
    np.testing.assert_allclose(seen.columns(2.0)[2], [3.0, 0.1, 0.3], rtol=0.06)
    seen.close(4.0)
    assert seen.columns(4.0)[2, 0] == 0.0
    assert np.isnan(seen.columns(4.0)[2, 1])
    assert np.isnan(seen.columns(4.0)[:2]).all()


def pictured(number: int, reported: np.ndarray | None) -> Snapshot:
    nothing = np.zeros(3, dtype=np.int32)
    hosts = HostColumns(
        names=(Label("h1"),),
        states=(HostState.READY,),
        reasons=(Label(""),),
        zones=(Label(""),),
        capacity=np.ones((1, len(DIMENSIONS))),
        allocatable=np.ones((1, len(DIMENSIONS))),
        use=np.ones((1, len(DIMENSIONS))),
        pressure=np.ones((1, 3)),
        age=np.zeros(1),
    )
    shards = ShardColumns(
        names=tuple(Label(name) for name in SHARDS),
        apps=(Label("f"),) * 3,
        states=(ShardState.RUNNING,) * 3,
        host=nothing,
        use=np.full((3, len(DIMENSIONS)), 0.5),
        state_bytes=np.zeros(3),
        priority=nothing,
        token=nothing.astype(np.int64),
        movable=np.ones(3, dtype=np.bool_),
        **({} if reported is None else {"reported": reported}),
    )
    return Snapshot(number=number, time=1.7e9 + number, generation=1, hosts=hosts, shards=shards)


def test_only_shards_that_report_have_series_in_the_history(tmp_path: Path) -> None:
    """S1.5: request rates are kept as series of their own, and cost nothing where nobody reports."""
    spec = HistorySpec(enabled=False)
    keeper = Keeper(spec, tmp_path, interval=1.0, clock=lambda: 1.7e9, report=lambda text: None)
    keeper.take(pictured(1, None))
    before = keeper.history.names
    assert not any(metric in name for name in before for metric in REPORTED)
    some = np.full((3, len(REPORTED)), np.nan)
    keeper.take(pictured(2, some))
    assert keeper.history.names == before
    some = some.copy()
    some[1] = 12.5, 0.01, 0.2
    keeper.take(pictured(3, some))
    keeper.take(pictured(4, np.full((3, len(REPORTED)), np.nan)))
    names = tuple(f"shard s2 {metric}" for metric in REPORTED)
    assert keeper.history.names == (*before, *names)
    _, kept = keeper.history.window(0, 4, (*names, "shard s1 cpu"))
    np.testing.assert_allclose(kept[:, 2], [12.5, 0.01, 0.2, 0.5], rtol=1e-6)
    assert np.isnan(kept[:3, [0, 1, 3]]).all()
    np.testing.assert_allclose(kept[3], 0.5)
