"""What a router measures of the requests that pass it, and what the daemon makes of its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from counters import CounterProcess, table

from sidestep.autopilot.invocations_reported import Reported
from sidestep.autopilot.invocations_router import MOST, Calls, report_of, thinned
from sidestep.backends.routing.client import UnixRouter
from sidestep.backends.routing.control import ControlServer
from sidestep.backends.routing.meter import KEPT, Meter
from sidestep.backends.routing.router import RouterCore
from sidestep.fleet.errors import ProtocolError


async def test_a_router_in_front_of_real_shards_reports_rates_latencies_and_what_each_call_cost(
    tmp_path: Path, counter: Callable[..., CounterProcess]
) -> None:
    """S1.2: fed by the router; S1.16 S4.10: request latency and execution time per shard."""
    names = ("kv-01", "kv-02")
    core = RouterCore(table(1, *(counter(name, report=True) for name in names)))
    control = ControlServer(core, tmp_path / "r.sock")
    await control.start()
    router, seen, calls = UnixRouter(tmp_path / "r.sock"), Reported(names, interval=1.0), Calls()

    async def look(now: float) -> Any:
        report = report_of(await router.report(calls.after))
        seen.totals(now, report.run, seen.rows(report.shards), report.totals(), report.latencies())
        return calls.take(report)

    await core.request("kv", "before")
    assert await look(0.0) == []
    for number in range(60):
        await core.request("kv", f"k{number}")
    rows = await look(2.0)
    found = seen.columns(2.0)
    assert found is not None
    assert found[:, 0].sum() == pytest.approx(30.0)
    assert (found[:, 1] > 0).all()
    assert (found[:, 2] >= found[:, 1]).all()
    assert sum(row.n for row in rows) == 60, "nothing from before the first look"
    assert len(rows) <= MOST * 2
    for row in rows:
        assert row.cpu_s >= 0.0002
        assert row.wall_s > 0
        assert row.max_rss > 1e6
        assert row.net_bytes > 10
        assert [name for name, _ in row.x] == ["keys"]
    await control.aclose()
    await core.aclose()


def reported(meter: Meter, after: int) -> Any:
    return report_of(msgspec.msgpack.decode(msgspec.msgpack.encode(meter.report(after))))


def asked(meter: Meter, shard: str, times: int, *words: str) -> None:
    for _ in range(times):
        meter.answered("app", shard, 1.7e9, 0.01, "GET k", ("OK", "1", "2", *words))


def test_calls_that_are_too_many_are_thinned_and_stand_for_all_of_them() -> None:
    meter, calls = Meter(), Calls()
    asked(meter, "s1", 1)
    assert calls.take(reported(meter, calls.after)) == []
    asked(meter, "s1", KEPT * 2)
    asked(meter, "s2", 3)
    made = calls.take(reported(meter, calls.after))
    assert sum(row.n for row in made if row.shard == "s1") == KEPT * 2
    assert sum(row.n for row in made if row.shard == "s2") == 3
    assert len(made) <= MOST + 3
    assert calls.take(reported(meter, calls.after)) == []
    assert [row.n for row in thinned(reported(meter, 0).calls[:7], 15)] == [2, 2, 2, 2, 2, 2, 3]


def test_a_router_that_began_anew_is_taken_from_its_beginning() -> None:
    calls = Calls()
    asked(first := Meter(), "s1", 5)
    calls.take(reported(first, calls.after))
    asked(second := Meter(), "s1", 2)
    assert calls.take(reported(second, calls.after)) == []
    asked(second, "s1", 1)
    assert sum(row.n for row in calls.take(reported(second, calls.after))) == 3
    asked(second, "s1", 4)
    assert sum(row.n for row in calls.take(reported(second, calls.after))) == 4


def test_what_a_shard_says_of_its_calls_is_data() -> None:
    meter, calls = Meter(), Calls()
    calls.take(reported(meter, 0))
    words = ("cpu_s=nan", "max_rss=-1", "x.\x1b[2J=7", "x.kind=\u202epng", "x.=1", "x.size=12", "evil=1")
    asked(meter, "s1", 1, *words, *(f"x.f{i}=1" for i in range(40)))
    (row,) = calls.take(reported(meter, calls.after))
    assert np.isnan(row.cpu_s)
    assert np.isnan(row.max_rss)
    assert all(str(word).isprintable() for pair in row.x for word in pair)
    assert dict(row.x)["size"] == 12.0  # type: ignore[index]
    assert len(row.x) <= 16


@pytest.mark.parametrize("key", ["requests", "failed", "rows", "bins", "counts"])
def test_a_damaged_report_is_refused(key: str) -> None:
    meter = Meter()
    asked(meter, "s1", 2)
    values = meter.report(0)
    values[key] = values[key] + b"\xff" * 3
    with pytest.raises(ProtocolError):
        report = report_of(values)
        report.answered(), report.latencies()
    with pytest.raises(ProtocolError):
        report_of({**meter.report(0), "calls": [["when"]]})


def test_a_shard_that_is_no_longer_routed_to_is_forgotten() -> None:
    meter = Meter()
    for name in ("s1", "s2", "s3"):
        asked(meter, name, 2)
    meter.failed("s2")
    meter.keep(frozenset({"s2", "s3"}))
    report = reported(meter, 0)
    assert report.shards == ["s2", "s3"]
    assert report.totals().tolist() == [3, 2]
    assert report.answered().tolist() == [2, 2]
    assert report.latencies().sum(axis=1).tolist() == [2, 2]
    asked(meter, "s4", 1)
    assert reported(meter, 0).totals().tolist() == [3, 2, 1]
