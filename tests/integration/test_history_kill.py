"""kill -9 in the middle of writing and compacting: what was on the disk stays, and nothing stops the next."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sidestep.autopilot.history_keeper import Keeper
from sidestep.autopilot.history_segments import Writer, is_closed, segments
from sidestep.fleet.history import Block
from sidestep.fleet.inventory import HistorySpec

HOUR = 3600
SERIES = 400
WRITER = Path(__file__).parent / "history_writer.py"


def begin_of() -> int:
    return int(time.time()) // HOUR * HOUR - 3 * HOUR


async def everything(folder: Path, now: float) -> tuple[Keeper, list[str]]:
    """A new keeper that has taken back all there is."""
    said: list[str] = []
    names = tuple(f"host h{number} cpu" for number in range(SERIES))
    kept = Keeper(HistorySpec(), folder, interval=10.0, clock=lambda: now, report=said.append)
    kept.begin(names)
    life = asyncio.create_task(kept.run(names))
    await asyncio.wait_for(kept.filled.wait(), 60)
    async with asyncio.timeout(60):
        while any(is_closed(path) for path in segments(folder)):
            await asyncio.sleep(0.02)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    return kept, said


@pytest.mark.parametrize("after", [1, 17, 61])
async def test_a_killed_daemon_loses_at_most_the_open_minute(tmp_path: Path, after: int) -> None:
    """S1.3: killed as soon as it has said that so many minutes are on the disk, mostly in the middle of the next."""
    folder, begin = tmp_path / "history", begin_of()
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(folder), str(begin), str(SERIES), "170"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    sure = 0.0
    for _ in range(after):
        word, _, value = process.stdout.readline().partition(" ")
        assert word == "minute", (word, value)
        sure = float(value)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept, said = await everything(folder, sure + 61)
    block = kept.history.query(1, begin, sure + 60)
    assert block.times.tolist() == [begin + 60 * minute for minute in range(round(sure - begin) // 60 + 1)]
    expected = np.arange(len(block.times), dtype=np.float32)[:, None]
    np.testing.assert_array_equal(block.mean, np.broadcast_to(expected, block.mean.shape))
    assert not [line for line in said if "cut" not in line]
    for path in folder.glob("*/*.parquet"):
        pq.read_table(path)
    await kept.aclose()


def made(folder: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(folder.glob(pattern))


@pytest.mark.parametrize("moment", ["lock", "*/*.writing", "*/*.parquet", "0.0", "0.3", "0.6"])
async def test_a_killed_compaction_is_done_by_the_next(tmp_path: Path, moment: str) -> None:
    """Killed when that file is there, or after so many seconds: the segment or the Parquet file is left, or both."""
    folder, begin = tmp_path / "history", begin_of()
    names = tuple(f"host h{number} cpu" for number in range(SERIES))
    (folder / "open").mkdir(parents=True)
    writer = Writer(folder, begin // HOUR)
    for minute in range(60):
        mean = np.full((1, SERIES), float(minute), np.float32)
        block = Block(60.0, 10.0, np.array([begin + 60.0 * minute]), mean, mean, np.full((1, SERIES), 6, np.uint16))
        writer.add(begin + 60.0 * minute, names, block)
    writer.retire()
    child = subprocess.Popen([sys.executable, "-m", "sidestep.autopilot.history", "compact", "--folder", str(folder)])
    begun, wait = time.monotonic(), float(moment) if moment[0] == "0" else 60.0
    reached = made(folder, moment) if moment[0] != "0" else lambda: False
    while time.monotonic() < begun + wait and child.poll() is None and not reached():
        time.sleep(0.0005)
    child.kill()
    child.wait()
    kept, said = await everything(folder, begin + HOUR + 61)
    found = kept.history.query(1, begin, begin + HOUR)
    assert np.isfinite(found.mean).all() and len(found.times) == 60
    assert said == []
    (path,) = folder.glob("*/*.parquet")
    assert pq.read_metadata(path).num_rows == 60 * SERIES
    assert not list(folder.glob("*/*.writing"))
    await kept.aclose()
