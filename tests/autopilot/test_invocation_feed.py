"""Where invocations come in: a real router with real shards, and a real socket that runners push to."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidestep.autopilot.invocations_feed import InvocationFeed
from sidestep.autopilot.invocations_reported import Reported
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError

SHARDS = ("kv-01", "kv-02")


class Hands:
    """A clock that stands still until a test moves it; looks are made by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> Clock:
        async def sleep(seconds: float) -> None:
            await asyncio.Event().wait()

        return Clock(wall=lambda: 1.7e9 + self.now, monotonic=lambda: self.now, sleep=sleep)


class Ground:
    """A feed on a folder, with what it says."""

    def __init__(self, folder: Path, router: Any = None) -> None:
        self.hands, self.said, self.learned = Hands(), [], []  # type: Hands, list[str], list[Any]
        self.reported = Reported(SHARDS, interval=1.0)
        self.socket = folder / "d.reports"
        self.feed = InvocationFeed(
            folder,
            self.socket,
            reported=self.reported,
            router=router,
            clock=self.hands.clock(),
            interval=1.0,
            report=self.said.append,
            learn=self.learned.extend,
        )

    async def push(self, *lines: bytes) -> dict[str, str]:
        """Send lines as a runner does; what is answered."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(b"".join(line + b"\n" for line in lines))
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return json.loads(answer) if answer else {}

    async def look(self, seconds: float = 1.0) -> None:
        self.hands.now += seconds
        await self.feed.look()


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    made = Ground(tmp_path)
    await made.feed.start()
    await asyncio.sleep(0)
    yield made
    await made.feed.aclose()


async def test_what_a_runner_pushes_is_kept_learned_and_counted(ground: Ground) -> None:
    """S1.2, S1.16: invocations by a documented format over the daemon's own socket."""
    await ground.look()
    lines = [b'{"app":"thumbs","shard":"kv-02","wall_s":0.2,"x":{"pixels":%d}}' % i for i in range(10)]
    assert await ground.push(*lines) == {}
    await ground.look(2.0)
    assert ground.feed.store is not None
    rows = ground.feed.store.rows("thumbs")
    assert sorted(row.x[0][1] for row in rows) == list(range(10))
    assert len(ground.learned) == 10
    found = ground.reported.columns(ground.hands.now)
    assert found is not None
    np.testing.assert_allclose(found[1], [5.0, 0.2, 0.2], rtol=0.06)
    assert ground.said == []


async def test_a_line_that_is_no_report_is_answered_with_its_fault_and_the_lines_before_it_count(
    ground: Ground,
) -> None:
    answer = await ground.push(b'{"app":"a","wall_s":1}', b'{"app":"a","wall_s":"fast"}', b'{"app":"a","wall_s":2}')
    assert "report:2" in answer["error"]
    assert "wall_s" in answer["error"]
    assert "longer" in (await ground.push(b"x" * 10_000))["error"]
    await ground.look()
    assert ground.feed.store is not None
    assert len(ground.feed.store.rows()) == 1
    assert ground.said == []


async def test_the_socket_is_private_and_goes_with_the_feed(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ground.socket.write_text("left by a dead daemon")
    await ground.feed.start()
    assert stat.S_IMODE(ground.socket.stat().st_mode) == 0o600
    await ground.push(b'{"app":"a","wall_s":1}')
    await ground.feed.aclose()
    assert not ground.socket.exists()
    again = Ground(tmp_path)
    await again.feed.start()
    assert again.feed.store is not None
    assert len(again.feed.store.rows()) == 1, "what waited was written at the end"
    await again.feed.aclose()


async def test_a_store_that_cannot_be_used_is_said_once_and_rates_go_on(tmp_path: Path) -> None:
    (tmp_path / "invocations.db").write_text("somebody else's" * 100)
    ground = Ground(tmp_path)
    await ground.feed.start()
    await ground.look()
    await ground.push(b'{"app":"a","shard":"kv-01","wall_s":1}')
    await ground.look()
    await ground.look()
    assert len(ground.said) == 1
    assert "invocations are not kept" in ground.said[0]
    found = ground.reported.columns(ground.hands.now)
    assert found is not None
    assert np.isfinite(found[0, 0])
    await ground.feed.aclose()


class Gone:
    """A router that does not answer."""

    async def report(self, after: int) -> dict[str, Any]:
        raise SidestepError("no answer")


async def test_a_router_that_does_not_answer_is_said_once_and_runners_go_on(tmp_path: Path) -> None:
    ground = Ground(tmp_path, Gone())
    await ground.feed.start()
    await ground.look()
    await ground.push(b'{"app":"a","shard":"kv-01","wall_s":1}')
    await ground.look()
    assert ground.said == ["the router reports no requests: no answer"]
    found = ground.reported.columns(ground.hands.now)
    assert found is not None
    assert found[0, 0] == 1.0
    await ground.feed.aclose()
