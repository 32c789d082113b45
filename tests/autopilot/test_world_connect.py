"""How hosts are connected to: pauses with jitter, waking of neighbours, and one refusal for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world_doubles import FakeTime, ScriptedHost, settle

from sidestep.autopilot.world_connect import BETWEEN_WAVES, HANGS, TOGETHER, Link, Pace, Waits
from sidestep.backends.ssh.gates import Gates
from sidestep.fleet.errors import AuthenticationRefused, HostUnreachable

PLAIN = Pace(jitter=False)


@given(tries=st.integers(1, 10_000), first=st.floats(0.01, 5), longest=st.floats(5, 100))
def test_pauses_are_jittered_below_a_ceiling_that_doubles_up_to_the_longest(
    tries: int, first: float, longest: float
) -> None:
    pace = Pace(first=first, longest=longest)
    ceiling = Pace(first=first, longest=longest, jitter=False).pause(tries)
    assert 0 <= pace.pause(tries) <= ceiling <= longest
    assert ceiling == min(longest, first * 2.0 ** min(tries - 1, 10))


class Waiting:
    """Hosts that wait, and when each went on."""

    def __init__(self, pace: Pace = PLAIN) -> None:
        self.time = FakeTime()
        self.waits = Waits(self.time.clock(), pace)
        self.went: list[tuple[float, str, bool]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def lose(self, name: str, *, tries: int = 10, since: float | None = None) -> None:
        lost = self.time.now if since is None else since

        async def wait() -> None:
            woken = await self.waits.wait(tries, lost)
            self.went.append((self.time.now, name, woken))

        self._tasks.append(asyncio.create_task(wait()))
        await settle()


async def test_the_first_host_that_comes_back_wakes_those_that_were_lost_with_it_in_order() -> None:
    """Research 2.5: full jitter alone leaves hosts waiting for 30 s after the network is back."""
    scene = Waiting()
    for number in range(10):
        await scene.lose(f"h{number}")
    await scene.time.advance(8)
    assert not scene.went
    assert scene.waits.recovered(1000.0) == 10
    await scene.time.advance(0.5)
    assert [name for _, name, _ in scene.went] == [f"h{n}" for n in range(10)]
    assert all(woken for _, _, woken in scene.went)
    at = [when - 1008.0 for when, _, _ in scene.went]
    assert at == pytest.approx([0.05 * n for n in range(10)])


async def test_hosts_that_were_lost_at_another_time_sleep_on() -> None:
    scene = Waiting()
    await scene.lose("old", since=1000.0 - TOGETHER - 1)
    await scene.lose("neighbour")
    assert scene.waits.recovered(1000.0) == 1
    await scene.time.advance(1)
    assert [name for _, name, _ in scene.went] == ["neighbour"]
    assert len(scene.waits) == 1


async def test_waves_of_waking_have_a_pause_between_them() -> None:
    scene = Waiting()
    await scene.lose("a")
    assert scene.waits.recovered(1000.0) == 1
    await scene.time.advance(0.1)
    await scene.lose("b", since=1000.0)
    assert scene.waits.recovered(1000.0) == 0
    await scene.time.advance(BETWEEN_WAVES)
    assert scene.waits.recovered(1000.0) == 1


async def test_nobody_is_woken_later_than_its_own_pause_ends() -> None:
    scene = Waiting(Pace(first=0.2, longest=0.2, jitter=False))
    for number in range(4):
        await scene.lose(f"h{number}")
    await scene.time.advance(0.1)
    scene.waits.recovered(1000.0)
    await scene.time.advance(1)
    assert max(when for when, _, _ in scene.went) == pytest.approx(1000.2)


class Door(ScriptedHost):
    """A host whose connection takes until the test opens it."""

    def __init__(self, name: str, time: FakeTime) -> None:
        super().__init__(name, time)
        self.opened = asyncio.Event()
        self.connected = False

    async def connect(self) -> None:
        await super().connect()
        await self.opened.wait()
        self.connected = True


def link(door: ScriptedHost, gates: Gates, time: FakeTime) -> Link:
    return Link(door, f"lane-{door.host}", gates=gates, clock=time.clock())  # type: ignore[arg-type]


async def together(*work: Coroutine[Any, Any, None]) -> list[BaseException | None]:
    return list(await asyncio.gather(*work, return_exceptions=True))


async def test_everybody_who_wants_a_connection_at_once_shares_one_handshake() -> None:
    time = FakeTime()
    door = Door("h", time)
    shared = link(door, Gates(), time)
    door.opened.set()
    assert await together(*(shared.connect() for _ in range(5))) == [None] * 5
    assert (door.connects, shared.made) == (1, 1)


@pytest.mark.parametrize("refusal", [AuthenticationRefused("h", "connect", "no")])
async def test_a_refusal_is_repeated_to_everybody_without_knocking_again(refusal: Exception) -> None:
    """sshd shuts out the whole address of somebody who fails again and again (PerSourcePenalties)."""
    time = FakeTime()
    door = ScriptedHost("h", time)
    door.refusal = refusal
    shared = link(door, Gates(), time)
    found = await together(*(shared.connect() for _ in range(3)))
    assert all(error is refusal for error in found) and door.connects == 1
    door.refusal = None
    shared.retry(door)  # type: ignore[arg-type]
    await shared.connect()
    assert door.connects == 2


async def test_hosts_that_do_not_answer_let_others_pass_after_a_second() -> None:
    gates, time = Gates(total=2, per_address=2), FakeTime()
    silent = [Door(f"silent-{n}", time) for n in range(4)]
    living = Door("living", time)
    living.opened.set()
    tasks = [asyncio.create_task(link(door, gates, time).connect()) for door in (*silent, living)]
    await settle()
    assert living.connects == 0
    await time.advance(2 * HANGS + 0.1)
    assert living.connected
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (gates.total.inside, gates.aside) == (0, 0)


async def test_a_connection_that_fails_is_no_refusal_and_may_be_tried_again() -> None:
    time = FakeTime()
    door = ScriptedHost("h", time)
    door.refusal = HostUnreachable("h", "connect", "refused")
    shared = link(door, Gates(), time)
    for _ in range(2):
        with pytest.raises(HostUnreachable):
            await shared.connect()
    assert door.connects == 2 and shared.made == 0
