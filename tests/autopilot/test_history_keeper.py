"""The keeper: rings that come back after a restart, hours that become Parquet, trouble that is said."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sidestep.autopilot import history, history_parquet
from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.history_keeper import Keeper, series_names
from sidestep.autopilot.history_past import past_of
from sidestep.fleet.inventory import HistorySpec
from sidestep.forecasting import wire
from sidestep.forecasting.service import Service

NAMES = ("host h1 cpu", "host h2 cpu", "shard s1 memory")
HOUR = 3600


class Hand:
    """A clock that a test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Hand]:
    """Two hours ago, on the hour, so that retention keeps everything."""
    yield Hand(time.time() // HOUR * HOUR - 2 * HOUR)


def keeper(tmp_path: Path, clock: Hand, said: list[str], spec: HistorySpec | None = None) -> Keeper:
    made = Keeper(spec or HistorySpec(), tmp_path / "history", interval=1.0, clock=clock, report=said.append)
    made.begin(NAMES)
    return made


def feed(kept: Keeper, clock: Hand, seconds: int, step: int = 10) -> None:
    for _ in range(seconds // step):
        kept.append(clock.now, NAMES, np.array([clock.now % HOUR, 2.0, 3e9]))
        clock.now += step


async def until(condition: object, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


async def test_a_restart_brings_the_rings_back(tmp_path: Path, clock: Hand) -> None:
    """S1.3: also the open minute, when the daemon ended in order."""
    said: list[str] = []
    first = keeper(tmp_path, clock, said)
    feed(first, clock, 330)
    before = first.history.query(1, names=NAMES)
    quarters = first.history.query(2, names=NAMES)
    await first.aclose()
    second = keeper(tmp_path, clock, said)
    after = second.history.query(1, names=NAMES)
    np.testing.assert_array_equal(after.mean[-6:], before.mean[-6:])
    np.testing.assert_array_equal(after.high[-6:], before.high[-6:])
    np.testing.assert_array_equal(after.count[-6:], before.count[-6:])
    np.testing.assert_allclose(second.history.query(2, names=NAMES).mean[-1], quarters.mean[-1], rtol=1e-6)
    feed(second, clock, 30)
    assert second.history.query(1, names=NAMES).count[-1].tolist() == [6, 6, 6], "the open minute goes on"
    await second.aclose()
    assert said == []


async def test_a_full_hour_becomes_parquet_and_comes_back_through_a_child(tmp_path: Path, clock: Hand) -> None:
    said: list[str] = []
    begin = clock.now
    first = keeper(tmp_path, clock, said)
    life = asyncio.create_task(first.run(NAMES))
    for _ in range(62):
        feed(first, clock, 60)
        await first.written()
    await until(lambda: list((tmp_path / "history").glob("*/*.parquet")))
    await until(lambda: len(list((tmp_path / "history" / "open").iterdir())) == 1)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    await first.aclose()
    hours = sorted((tmp_path / "history").glob("*/*.parquet"))
    assert len(hours) == 1
    table = pq.read_table(hours[0]).to_pylist()
    assert len(table) == 60 * len(NAMES)
    assert table[0] | {"time": None} == {
        "time": None, "kind": "host", "name": "h1", "metric": "cpu", "mean": 25.0, "max": 50.0, "samples": 6,
    }  # fmt: skip
    assert table[0]["time"].timestamp() == begin

    second = keeper(tmp_path, clock, said)
    life = asyncio.create_task(second.run(NAMES))
    await asyncio.wait_for(second.filled.wait(), 60)
    block = second.history.query(1, begin, names=NAMES)
    assert block.times[0] == begin and np.isfinite(block.mean[:62]).all()
    assert second.history.query(2, begin, names=NAMES).count[0].tolist() == [90, 90, 90]
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    await second.aclose()
    assert said == []


async def test_a_damaged_parquet_file_is_set_aside_and_named(tmp_path: Path, clock: Hand) -> None:
    said: list[str] = []
    day = tmp_path / "history" / time.strftime("%Y-%m-%d", time.gmtime(clock.now))
    day.mkdir(parents=True)
    (day / time.strftime("%H.parquet", time.gmtime(clock.now))).write_bytes(b"PAR1 nothing PAR1")
    kept = keeper(tmp_path, clock, said)
    life = asyncio.create_task(kept.run(NAMES))
    await asyncio.wait_for(kept.filled.wait(), 60)
    assert any("set aside as" in line and "cannot be read" in line for line in said), said
    assert [path.name[:10] for path in day.iterdir()] == [time.strftime("%H.damaged", time.gmtime(clock.now))]
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    await kept.aclose()


async def test_a_folder_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path: Path, clock: Hand) -> None:
    said: list[str] = []
    (tmp_path / "history").write_text("a file in the way")
    kept = keeper(tmp_path, clock, said)
    feed(kept, clock, 300)
    await kept.aclose()
    assert len(said) == len(set(said)) <= 2 and "cannot be used" in said[0]
    assert kept.history.query(1, names=NAMES).count[-1].tolist() == [6, 6, 6]


async def test_a_disabled_history_touches_no_disk(tmp_path: Path, clock: Hand) -> None:
    kept = keeper(tmp_path, clock, [], HistorySpec(enabled=False))
    await kept.run(NAMES)
    feed(kept, clock, 200)
    await kept.aclose()
    assert list(tmp_path.iterdir()) == []
    assert kept.filled.is_set()


async def test_series_that_are_gone_are_forgotten_in_time(tmp_path: Path, clock: Hand) -> None:
    kept = keeper(tmp_path, clock, [])
    many = tuple(f"shard s{number} cpu" for number in range(3000))
    kept.append(clock.now, many, np.ones(3000))
    clock.now += 60
    feed(kept, clock, 120)
    assert set(kept.history.names) == set(NAMES)
    await kept.aclose()


async def test_what_was_imported_is_told_to_the_oracle_of_the_next_daemon(tmp_path: Path) -> None:
    """Forecasts on the first day: file, child process, rings, oracle's worker."""
    now = time.time() // HOUR * HOUR
    (tmp_path / "fleet.toml").write_text('[fleet]\nname = "t"\n[hosts.h1]\naddress = "h1"\n[oracle]\nstep = "5m"\n')
    rows = [f"{now - 60 * back:.0f},host,h1,{metric},{back}" for back in range(1, 1441) for metric in ("cpu", "memory")]
    (tmp_path / "past.csv").write_text("\n".join(["time,kind,name,metric,mean", *rows]))
    command = ["import", "--fleet", str(tmp_path / "fleet.toml"), "--state", str(tmp_path), str(tmp_path / "past.csv")]
    assert await asyncio.to_thread(history.main, command) == 0
    fleet = load_fleet(tmp_path / "fleet.toml")
    said: list[str] = []
    kept = Keeper(fleet.history, tmp_path / "history", interval=1.0, clock=lambda: now + 30, report=said.append)
    names = series_names(["h1"], [])
    kept.begin(names)
    life = asyncio.create_task(kept.run(names))
    await asyncio.wait_for(kept.filled.wait(), 60)
    past = past_of(kept.history, fleet, np.inf, now + 30)
    assert past is not None and said == []
    service = Service(fleet.oracle, 3600.0)
    assert service.prime(past) == 1440 // 5
    row = wire.Row(1, now + 150, wire.to_bytes(np.ones((1, wire.HOST_WIDTH))), b"", wire.Names(("h1",)))
    answer = service.answer(wire.Ask((row,), (0.5,)))
    assert answer.confidence == "ok"
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    await kept.aclose()


def test_the_daemon_loads_no_parquet_library() -> None:
    program = "import sys, sidestep.autopilot.daemon; print({'pyarrow', 'pandas', 'sktime'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


async def test_a_segment_that_cannot_be_read_costs_itself_only(tmp_path: Path, clock: Hand) -> None:
    said: list[str] = []
    first = keeper(tmp_path, clock, said)
    feed(first, clock, 300)
    await first.aclose()
    opened = tmp_path / "history" / "open"
    for name in ("2001-01-01T00.segment", "2001-01-01T01.0.closed.segment"):
        (opened / name).mkdir()
    clock.now += HOUR
    second = keeper(tmp_path, clock, said)
    assert np.isfinite(second.history.query(1, clock.now - HOUR - 300, names=NAMES).mean[:4]).all()
    assert all("was left out: Is a directory" in line for line in said) and len(said) == 2
    await second.aclose()
    history_parquet.compact(tmp_path / "history", 1e9, 1 << 40, said.append)
    assert "cannot be read and was left" in said[-1]
    assert len(history_parquet.files(tmp_path / "history")) == 1
