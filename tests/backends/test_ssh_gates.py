"""Gates on handshakes: never more than the limit, first come first served, and what lost handshakes teach."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import asyncssh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.backends.ssh.gates import RAISE_AFTER, Gate, Gates, lane_of, lost_before_login
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.errors import AuthenticationRefused, HostUnreachable
from sidestep.fleet.labels import Label


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def lost() -> HostUnreachable:
    """What a transport raises when sshd drops a connection that has not logged in."""
    error = HostUnreachable("h", "connect", "connection lost")
    error.__cause__ = asyncssh.ConnectionLost("Connection lost")
    return error


async def attempt(gates: Gates, address: str, error: Exception | None = None) -> None:
    with suppress(HostUnreachable, AuthenticationRefused):
        async with gates.handshake(address):
            if error is not None:
                raise error


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 5),
    orders=st.lists(st.sampled_from(["enter", "leave", "cancel", "grow", "shrink"]), max_size=60),
    seed=st.integers(0, 999),
)
def test_a_gate_never_lets_in_more_than_its_limit_and_keeps_the_order(limit: int, orders: list[str], seed: int) -> None:
    """Whatever comes, leaves, gives up waiting or resizes it."""

    async def play() -> None:
        gate, chance = Gate(limit), random.Random(seed)
        inside: list[int] = []
        entered: list[int] = []
        waiting: dict[int, asyncio.Task[None]] = {}

        async def come(number: int) -> None:
            await gate.enter()
            inside.append(number)
            entered.append(number)
            waiting.pop(number, None)

        for number, order in enumerate(orders):
            before = len(inside)
            if order == "enter":
                waiting[number] = asyncio.create_task(come(number))
            elif order == "leave" and inside:
                inside.pop(chance.randrange(len(inside)))
                gate.leave()
            elif order == "cancel" and waiting:
                waiting.pop(chance.choice(sorted(waiting))).cancel()
            elif order == "grow":
                gate.resize(gate.limit + 1)
            elif order == "shrink":
                gate.resize(gate.limit - 1)
            await settle()
            assert gate.inside == len(inside) <= max(gate.limit, before)
            assert gate.waiting == len(waiting)
            assert not waiting or len(inside) >= gate.limit
        assert entered == sorted(entered)
        for task in waiting.values():
            task.cancel()

    asyncio.run(play())


async def test_both_gates_hold_and_a_slow_address_does_not_stand_in_the_way_of_another() -> None:
    gates, release, inside = Gates(total=4, per_address=2), asyncio.Event(), list[str]()

    async def shake(address: str) -> None:
        async with gates.handshake(address):
            inside.append(address)
            await release.wait()

    tasks = [asyncio.create_task(shake("slow")) for _ in range(10)]
    await settle()
    tasks += [asyncio.create_task(shake(address)) for address in ("b", "c", "d")]
    await settle()
    assert inside == ["slow", "slow", "b", "c"]
    release.set()
    await asyncio.gather(*tasks)
    assert len(inside) == 13 and gates.total.inside == 0


async def test_lost_handshakes_halve_an_address_where_others_succeed_and_successes_raise_it_again() -> None:
    """An sshd at its limit of connections that have not logged in drops some at random (MaxStartups)."""
    gates = Gates(total=32, per_address=8)
    await attempt(gates, "a", lost())
    assert gates.limit("a") == 8  # nothing ever succeeded there: it is dead, not crowded
    await attempt(gates, "a")
    await attempt(gates, "a", lost())
    assert gates.limit("a") == 4
    await attempt(gates, "a", lost())
    assert gates.limit("a") == 4  # and nothing succeeds at this width yet
    for _ in range(4 * RAISE_AFTER):
        await attempt(gates, "a")
    assert gates.limit("a") == 8 and gates.limit("b") == 8


async def test_handshakes_that_were_lost_together_count_once() -> None:
    gates, go = Gates(total=32, per_address=8), asyncio.Event()
    await attempt(gates, "a")

    async def lose() -> None:
        async with gates.handshake("a"):
            await go.wait()
            raise lost()

    tasks = [asyncio.create_task(lose()) for _ in range(6)]
    await settle()
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert gates.limit("a") == 4


async def test_a_refusal_or_a_refused_connection_says_nothing_about_the_gate() -> None:
    gates = Gates()
    await attempt(gates, "a")
    refused = HostUnreachable("h", "connect", "refused")
    refused.__cause__ = ConnectionRefusedError()
    for error in (AuthenticationRefused("h", "connect", "no"), refused):
        await attempt(gates, "a", error)
    assert gates.limit("a") == 8
    silent = HostUnreachable("h", "connect", "silent")
    silent.__cause__ = asyncssh.ConnectionLost("Login timeout expired")
    assert lost_before_login(lost()) and not lost_before_login(silent)


async def test_handshakes_that_hang_step_aside_but_only_so_many() -> None:
    """A rack without power must not keep the living hosts waiting."""
    gates, release = Gates(total=2, per_address=2), asyncio.Event()
    permits = []

    async def hang(address: str) -> None:
        async with gates.handshake(address) as permit:
            permits.append(permit)
            await release.wait()

    tasks = [asyncio.create_task(hang(f"dead-{n}")) for n in range(20)]
    for _ in range(10):
        await settle()
        for permit in permits:
            permit.step_aside()
    assert gates.aside == gates.most_aside == 8 and gates.total.inside == 2 and len(permits) == 10
    release.set()
    await asyncio.gather(*tasks)
    assert (gates.aside, gates.total.inside) == (0, 0)


def test_the_lane_of_a_host_behind_a_jump_host_is_the_first_jump_host() -> None:
    outer = SshTarget(name=Label("j"), address="10.0.0.1", port=2200)
    target = SshTarget(name=Label("h"), address="10.1.0.1")
    assert lane_of(target) == "10.1.0.1 port 22"
    behind = SshTarget(name=Label("h"), address="10.1.0.1", jumps=(outer, target))
    assert lane_of(behind) == "10.0.0.1 port 2200"


def test_a_gate_that_lets_nobody_in_is_refused() -> None:
    with pytest.raises(ValueError, match="lets nobody in"):
        Gate(0)
