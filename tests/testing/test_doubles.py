"""The doubles that authors of plugins get."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidestep.fleet.errors import HostError, SidestepError
from sidestep.testing import FakeClock, RecordedSampler


async def test_sleepers_wake_in_the_order_of_their_times_and_no_time_passes_by_itself() -> None:
    clock, woken = FakeClock(), list[str]()

    async def sleeper(name: str, *times: float) -> None:
        for seconds in times:
            await clock.sleep(seconds)
            woken.append(f"{name} {clock() - 1000:g}")

    tasks = [
        asyncio.create_task(sleeper("a", 5, 5)),
        asyncio.create_task(sleeper("b", 7)),
        asyncio.create_task(sleeper("c", 60)),
    ]
    await clock.advance(20)
    assert woken == ["a 5", "b 7", "a 10"]
    assert clock() == 1020
    wall = clock.wall()
    clock.jump(-3600)
    assert (clock(), clock.wall()) == (1020, wall - 3600)
    await clock.advance(40)
    assert woken[-1] == "c 60"
    await asyncio.gather(*tasks)
    with pytest.raises(ValueError, match="does not go back"):
        await clock.advance(-1)


class Heard:
    def __init__(self) -> None:
        self.parts, self.ends = list[tuple[float, bytes]](), list[object]()
        self.clock = FakeClock()

    def data(self, data: bytes) -> None:
        self.parts.append((self.clock() - 1000, data))

    def end(self, error: HostError | None, stderr: bytes) -> None:
        self.ends.append(error)


async def test_what_a_sampler_said_is_said_again_at_its_times(tmp_path: Path) -> None:
    times, first = iter((50.0, 50.5, 53.0)), Heard()
    recorder = RecordedSampler(clock=lambda: next(times), onward=first)
    for data in (b"one\n", b"tw", b"o\n"):
        recorder.data(data)
    recorder.end(None, b"")
    assert [data for _, data in first.parts] == [b"one\n", b"tw", b"o\n"]
    recorder.save(tmp_path / "said")

    again = Heard()
    replay = asyncio.create_task(RecordedSampler.load(tmp_path / "said").replay(again, again.clock.sleep))
    await again.clock.advance(10)
    await replay
    assert again.parts == [(0.0, b"one\n"), (0.5, b"tw"), (3.0, b"o\n")]
    assert again.ends == [None]


def test_a_file_that_is_no_recording_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xc1")
    with pytest.raises(SidestepError, match="x: no recorded sampler"):
        RecordedSampler.load(tmp_path / "x")
