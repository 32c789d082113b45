"""The gate of a shard: hold, drain, release, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.backends.routing.gate import Gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    yield Gate()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_hold_returns_only_when_nobody_is_in_flight(gate: Gate) -> None:
    await gate.enter()
    await gate.enter()
    holding = asyncio.create_task(gate.hold(10))
    await settle()
    gate.leave()
    await settle()
    assert not holding.done()
    gate.leave()
    assert await holding


async def test_a_hold_that_cannot_drain_opens_again(gate: Gate) -> None:
    await gate.enter()
    assert not await gate.hold(0.01)
    await asyncio.wait_for(gate.enter(), 1)


async def test_a_cancelled_hold_opens_again(gate: Gate) -> None:
    await gate.enter()
    holding = asyncio.create_task(gate.hold(10))
    await settle()
    waiting = asyncio.create_task(gate.enter())
    await settle()
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await asyncio.wait_for(waiting, 1)


async def test_who_waited_first_is_let_in_first(gate: Gate) -> None:
    await gate.hold(1)
    entered: list[int] = []

    async def pass_through(number: int) -> None:
        await gate.enter()
        entered.append(number)

    tasks = [asyncio.create_task(pass_through(i)) for i in range(20)]
    await settle()
    assert (gate.waiting, entered) == (20, [])
    gate.release()
    await asyncio.gather(*tasks)
    assert entered == list(range(20))


async def test_a_second_hold_sees_those_let_in_by_a_release(gate: Gate) -> None:
    """Released and held again at once: the ones let in count as in flight."""
    await gate.hold(1)
    waiting = asyncio.create_task(gate.enter())
    await settle()
    gate.release()
    again = asyncio.create_task(gate.hold(10))
    await waiting
    await settle()
    assert not again.done()
    gate.leave()
    assert await again


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["enter", "leave", "hold", "release", "cancel"]), max_size=40))
def test_nobody_is_lost_and_the_count_is_never_wrong(events: list[str]) -> None:
    async def play() -> None:
        gate, inside, tasks = Gate(), 0, []
        for event in events:
            if event == "enter":
                tasks.append(asyncio.create_task(gate.enter()))
            elif event == "leave" and gate.in_flight:
                gate.leave()
                inside += 1
            elif event == "hold":
                gate.held = True
            elif event == "release":
                gate.release()
            elif event == "cancel" and tasks:
                tasks[-1].cancel()
            await settle()
            entered = sum(t.done() and not t.cancelled() for t in tasks)
            assert gate.in_flight == entered - inside
            assert gate.waiting == sum(not t.done() for t in tasks)
            assert gate.held or gate.waiting == 0
        gate.release()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(play())
