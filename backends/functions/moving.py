"""The move of a running block: most of its state goes ahead while it runs, so that it stops for the rest only.

Pre-copy to the destination until little is new, and have it ready; stop at a safepoint; carry the last delta; check
digests there; commit the placement with a new token; go on; the old token is refused everywhere.
Whatever fails before the commit, the block goes on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Final

from sidestep.backends.functions.guarding import LOOK, Saved
from sidestep.backends.functions.job import Arrival, Conductor
from sidestep.fleet.errors import SidestepError

#: rounds of pre-copy at most, and bytes of a delta that is worth no further one
ROUNDS: Final = 4
SMALL: Final = 128 << 10
#: seconds to reach a safepoint, and to be there after the stop
SAFEPOINT: Final = 15.0
ARRIVAL: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A move that was done: bytes that went ahead, bytes that went while the block stood, and for how long it did."""

    block: str
    source: str
    target: str
    token: int
    ahead: tuple[int, ...]
    last: int
    state: int
    pause: float


async def move(conductor: Conductor, name: str, target: str, *, precopy: bool = True) -> Moved:
    """Move a running block. Raises SidestepError when it stays where it is, or is not there."""
    try:
        return await _move(conductor, name, target, precopy=precopy)
    except SidestepError:
        await conductor.guard.forget(target, name)
        raise


async def _move(conductor: Conductor, name: str, target: str, *, precopy: bool) -> Moved:
    block = conductor.blocks.get(name)
    if block is None or len(block.at) != 1:
        raise SidestepError(f"{name} does not run on one host now", hint="only a running block moves")
    ((token, source),) = block.at.items()
    if source == target:
        raise SidestepError(f"{name} is on {target} already")
    guard = conductor.guard
    await _suited(conductor, name, source, token)
    await conductor.cluster.put(target, block.call.source)
    ahead: list[int] = []
    saved: Saved | None = None
    async with block.turn:
        for _ in range(ROUNDS if precopy else 0):
            saved = await guard.next(source, name, token, saved or block.saved, seconds=SAFEPOINT)
            ahead.append(await guard.bring(saved, target))
            block.saved = saved
            if len(ahead) == 1:
                await guard.prepare(target, conductor.job(block, target, token, b""), saved)
                await guard.reach(source, target)
            else:
                await guard.follow(target, saved)
            if ahead[-1] <= SMALL or (len(ahead) > 1 and ahead[-1] > 0.8 * ahead[-2]):
                break
        if not precopy:
            await guard.prepare(target, conductor.job(block, target, token, b""), None)
        block.arrival = arrival = asyncio.get_running_loop().create_future()
        block.target, block.paused = target, time.monotonic()
    patience = block.paused + SAFEPOINT
    try:
        said = await guard.halt(source, name, token, target)
    except SidestepError:
        block.target, block.paused = "", 0.0
        raise
    if said is not None and token in block.stopped and not block.stopped[token].done():
        block.stopped[token].set_result(said)
    try:
        async with asyncio.timeout(SAFEPOINT + ARRIVAL):
            arrived = await _arrives(conductor, name, source, token, arrival, patience)
    except TimeoutError:
        raise SidestepError(f"{name} was not seen on {target} in time") from None
    block.moves += 1
    with contextlib.suppress(SidestepError):
        await conductor.cluster.runner.ask(conductor.cluster.address(source), "fence", [name, arrived.token])
    state = block.saved.header.nbytes if block.saved is not None else 0
    return Moved(
        block=name, source=source, target=arrived.host, token=arrived.token, ahead=tuple(ahead), last=block.last,
        state=state, pause=arrived.seconds,
    )  # fmt: skip


async def _suited(conductor: Conductor, name: str, host: str, token: int) -> None:
    """Wait until it computes. Raises SidestepError for a block that cannot be stopped."""
    until = time.monotonic() + SAFEPOINT
    status = await conductor.guard.look(host, name, token)
    while status is None and name in conductor.blocks and time.monotonic() < until:
        await asyncio.sleep(LOOK)
        status = await conductor.guard.look(host, name, token)
    if name not in conductor.blocks or status is None:
        raise SidestepError(f"{name} ended, or did not begin to compute on {host}")
    if status.unsuited:
        raise SidestepError(f"{name} cannot be stopped, so it stays on {host}: {status.unsuited}")


async def _arrives(
    conductor: Conductor, name: str, source: str, token: int, arrival: asyncio.Future[Arrival], until: float
) -> Arrival:
    """Wait for the block on the other side; take the wish back when it reaches no safepoint."""
    while not arrival.done():
        if (block := conductor.blocks.get(name)) is None:
            raise SidestepError(f"{name} ended before it moved")
        if token in block.at and time.monotonic() > until:
            why = await conductor.guard.why(source, name, token)
            block.target, block.paused = "", 0.0
            raise SidestepError(f"{name} stays on {source}, it did not stop within {SAFEPOINT:g} s: {why}")
        await asyncio.wait([arrival], timeout=0.2)
    return arrival.result()
