"""S2.25: all moves together keep to ``Policy.bandwidth``, and what cannot end in time is not begun."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.bandwidth import SAVED, TURN, Bandwidth
from sidestep.autopilot.world_clock import Clock

MIB = 1 << 20


class Still(Clock):
    """Time that passes when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self._number += 1
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, self._number, waiter))
        await waiter

    def run(self, *works: Coroutine[Any, Any, None]) -> None:
        """All of them to their end."""

        async def main() -> None:
            tasks = [asyncio.ensure_future(work) for work in works]
            while not all(task.done() for task in tasks):
                for _ in range(3 * len(tasks) + 3):
                    await asyncio.sleep(0)
                if self._sleepers:
                    self.now, _, waiter = heapq.heappop(self._sleepers)
                    waiter.set_result(None)
            await asyncio.gather(*tasks)

        asyncio.run(main())


class Bench:
    def __init__(self, rate: float) -> None:
        self.rate, self.clock = rate, Still()
        self.line = Bandwidth(lambda: self.rate, self.clock)
        self.sent: list[tuple[float, str, int]] = []

    async def carry(self, name: str, size: int, chunk: int) -> None:
        with self.line.carrying(name, size) as flow:
            left = size
            while left:
                count = min(chunk, left)
                await flow.take(count)
                self.sent.append((self.clock.now, name, count))
                left -= count

    def went(self, name: str) -> int:
        return sum(count for _, who, count in self.sent if who == name)


@settings(deadline=None, max_examples=40)
@given(
    rate=st.integers(100_000, 50 * MIB),
    sizes=st.lists(st.integers(1, 4 * MIB), min_size=1, max_size=4),
    chunk=st.integers(1024, MIB),
)
def test_at_no_time_has_more_gone_than_the_limit_allows(rate: int, sizes: list[int], chunk: int) -> None:
    """S5.21"""
    bench = Bench(rate)
    began, chunk = bench.clock.now, max(chunk, max(sizes) // 200)
    bench.clock.run(*(bench.carry(str(n), size, chunk) for n, size in enumerate(sizes)))
    gone = 0
    for at, _, count in bench.sent:
        gone += count
        assert gone <= rate * (at - began + SAVED) + 1
    assert gone == sum(sizes)
    # and the line is not left idle: a turn each is all that rounding costs
    assert bench.clock.now - began <= sum(sizes) / rate + 1e-6
    assert bench.line.progress() == ()


def test_two_transfers_share_equally_and_a_small_one_is_not_behind_a_big_one() -> None:
    bench = Bench(MIB)
    bench.clock.run(bench.carry("big", 8 * MIB, MIB), bench.carry("small", MIB, 64 << 10))
    last = max(at for at, who, _ in bench.sent if who == "small")
    assert last - 100.0 <= 2.0 + 4 * TURN
    assert bench.clock.now == pytest.approx(109.0, abs=SAVED + TURN)


def test_without_a_limit_nobody_waits_and_a_limit_that_comes_later_counts_from_then_on() -> None:
    bench = Bench(0)
    assert not bench.line.limited and bench.line.refusal(1 << 40, 1.0) == ""
    bench.clock.run(bench.carry("a", 64 * MIB, MIB))
    assert bench.clock.now == 100.0
    bench.rate = 2 * MIB
    assert bench.line.limited
    bench.clock.run(bench.carry("b", 4 * MIB, MIB))
    assert bench.clock.now == pytest.approx(102.0, abs=SAVED + TURN)


def test_idle_time_saves_up_very_little() -> None:
    bench = Bench(MIB)
    bench.clock.now += 3600.0
    began = bench.clock.now
    bench.clock.run(bench.carry("a", 2 * MIB, MIB))
    assert bench.clock.now - began >= 2.0 - SAVED - 1e-6


def test_what_cannot_end_in_time_is_refused_with_the_sum() -> None:
    bench = Bench(4 * MIB)
    assert bench.line.refusal(60 * MIB, 15.0) == ""
    said = bench.line.refusal(61 * MIB, 15.0)
    assert "61.0 MiB at 4.0 MiB/s take 15.2 s, and it has 15 s" in said and "bandwidth" in said
    with bench.line.carrying("other", 500 * MIB):  # shares the line, so only as much of it goes first
        assert bench.line.refusal(30 * MIB, 15.0) == ""
        assert "beside 31.0 MiB of 1 other transfers" in bench.line.refusal(31 * MIB, 15.0)
        (seen,) = bench.line.progress()
        assert (seen.name, seen.sent, seen.size) == ("other", 0, 500 * MIB) and seen.left != seen.left


def test_progress_says_what_went_and_when_it_ends() -> None:
    bench = Bench(MIB)

    async def looked() -> None:
        with bench.line.carrying("a to b", 4 * MIB) as flow:
            await flow.take(MIB)
            (seen,) = bench.line.progress()
            assert seen.sent == MIB and seen.left == pytest.approx(3.0, rel=0.2)

    bench.clock.run(looked())
