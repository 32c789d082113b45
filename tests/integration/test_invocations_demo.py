"""The whole way of an invocation: real shards, real router, real daemon, its store on the disk."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep.autopilot.demo.stage import Stage
from sidestep.autopilot.invocations import InvocationStore
from sidestep.fleet.invocations import Invocation
from sidestep.forecasting.durations import Durations

pytestmark = pytest.mark.fleet
PUSHED = b'{"app":"thumbs","shard":"thumbs-1","wall_s":0.25,"x":{"pixels":2000000,"kind":"png"}}\n'


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.1)


def push(path: Path, lines: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(lines)


async def test_the_demonstrations_requests_and_pushed_reports_are_in_the_store(tmp_path: Path) -> None:
    """S1.2: invocations fed by the router, with what each cost; S1.5: their cost is predicted."""
    async with Stage(tmp_path / "demo", hosts=2, shards=4, seed=7) as stage:
        push(stage.folder / "daemon.reports", PUSHED * 3)
        store = InvocationStore(stage.folder / "state" / "invocations.db")

        def rows(app: str) -> tuple[Invocation, ...]:
            return store.rows(app, limit=10_000)

        await until(lambda: len({row.shard for row in rows("counter")}) == 4 and len(rows("counter")) >= 200)
        await until(lambda: rows("thumbs"))
    requests, pushed = rows("counter"), rows("thumbs")
    assert all(row.cpu_s > 0 and row.wall_s > 0 and row.max_rss > 0 for row in requests)
    assert len(pushed) == 3
    assert dict(pushed[0].x) == {"kind": "png", "pixels": 2e6}
    assert sum(hour.n for hour in store.hours("counter")) == sum(row.n for row in requests)
    assert not (stage.folder / "daemon.reports").exists()
    model = Durations()
    model.observe(tuple(reversed(requests)))
    usual = model.predict("counter", {"keys": 16.0}, (0.05, 0.5, 0.95)).cpu_s
    assert usual[0] < 0.0022
    assert 0.0015 < usual[1] < 0.004, "a request costs 2 ms of processor time"
    store.close()
