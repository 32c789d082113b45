"""The verbs of a move that wait, on a worker's event loop: stop a block, hand its capsule over, see it begin.

The last chunks go straight from the worker where the block stood to the one where it goes on, which has its seat
decode them, while the conductor weighs the header. Whether the block goes on there, and with which token, is the
conductor's to say: nothing computes before.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from sidestep.backends.functions import blocks, capsules
from sidestep.backends.functions.place import Place
from sidestep.fleet.errors import SidestepError
from sidestep.sharding.capsules import Gate

#: seconds between two looks whether a block computes
_SOON: Final = 0.002
#: seconds for which chunks that are on their way are waited for
_ON_THE_WAY: Final = 2.0
_sending: Final[set[asyncio.Task[Any]]] = set()


async def began(words: Sequence[Any], _: Any = None) -> bool:
    """Wait so many seconds at most until an execution computes; whether it does."""
    block, token, seconds = words
    until = time.monotonic() + min(float(seconds), 10.0)
    while time.monotonic() < until:
        found = Place.here().current(block, token)
        if found is not None and found.computes:
            return True
        await asyncio.sleep(_SOON)
    return False


async def halt(words: Sequence[Any], worker: Any = None) -> blocks.Outcome | bool:
    """Have a block stop at its next safepoint, and wait so many seconds at most: its capsule, as its outcome.

    True when it has not stopped by then, or ended in another way, False when it does not run here with that token.
    Said here, a capsule need not come as a task's result, which takes the engine's scheduler milliseconds. Its chunks
    go to the worker named last, if one is.
    """
    block, token, seconds, target = words
    found = Place.here().current(block, token)
    if found is None or not found.computes:
        return False
    found.awaited = True
    found.seat.say(blocks.Suspend())
    try:
        async with asyncio.timeout(min(float(seconds), 10.0)):
            outcome = await asyncio.shield(asyncio.wrap_future(found.outcome))
    except TimeoutError:
        found.awaited = False
        return True
    if outcome is None or outcome.kind != blocks.SUSPENDED:
        return True
    if not target or not outcome.delta:
        return outcome
    sending = asyncio.ensure_future(_send(worker, target, [block, outcome.capsule, outcome.delta]))
    _sending.add(sending)
    sending.add_done_callback(_sending.discard)
    return msgspec.structs.replace(outcome, delta={}, sent=sum(map(len, outcome.delta.values())))


async def reach(words: Sequence[Any], worker: Any = None) -> bool:
    """Have a connection to another worker, so that none has to be made while a block stands."""
    (target,) = words
    await _tell(worker, target, "have", [])
    return True


async def arrive(words: Sequence[Any], _: Any = None) -> bool:
    """Chunks and manifest of a block that is expected here, from the worker where it stood."""
    block, sealed, delta = words
    coming = Place.here().coming(block)
    if coming is None:
        raise SidestepError(f"{block} is not expected here")
    try:
        await asyncio.to_thread(_whole, block, sealed, coming.trusted, delta, True)
    finally:
        coming.came.set()
    return True


async def check(words: Sequence[Any], _: Any = None) -> int:
    """Whether a capsule is whole here: its signature, and every chunk against its name. The bytes of its state.

    The chunks that travelled with the manifest are stored first; those that were ``sent`` by its maker are waited for.
    The seat that is ready for the block takes over what is new, and decodes all of it if it is the ``last``.
    """
    block, sealed, trusted, delta, sent, last = words
    coming = Place.here().coming(block)
    if sent and coming is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ON_THE_WAY):
                await coming.came.wait()
    # Large capsules take their time: not on the loop.
    return await asyncio.to_thread(_whole, block, sealed, trusted, delta, last)


def _whole(block: str, sealed: bytes, trusted: dict[str, bytes], delta: dict[bytes, bytes], last: bool) -> int:
    place = Place.here()
    header = capsules.opened(sealed, Gate(trusted), block=block).header
    coming = place.coming(block)
    if coming is not None and coming.sealed != sealed:
        # The seat checks for itself what it decodes; it computes nothing before it is told to.
        coming.sealed = sealed
        with contextlib.suppress(OSError):
            coming.seat.say(blocks.Arrive(sealed, trusted, delta, last))
    place.shelf.catch(delta)
    for name in dict.fromkeys(header.names()):
        # What was checked as it came is read by the seat, which checks it again.
        place.shelf.prove(name)
    return header.nbytes


async def _send(worker: Any, target: str, words: list[Any]) -> None:
    # What does not come this way is missed there, and brought.
    with contextlib.suppress(Exception):
        await _tell(worker, target, "arrive", words)


async def _tell(worker: Any, target: str, name: str, argument: object) -> None:
    """Say a verb to another worker of the same cluster. Raises SidestepError when it refuses."""
    dumps: Any = importlib.import_module("distributed.protocol.pickle").dumps
    verb: Any = importlib.import_module("sidestep.backends.functions.tasks").verb
    body = msgspec.msgpack.encode((name, argument))
    async with asyncio.timeout(10.0):
        said = await worker.rpc(target).run(function=dumps(verb), args=dumps((body,)))
    answer = msgspec.msgpack.decode(said["result"]) if said.get("status") == "OK" else {"error": "it failed"}
    if "error" in answer:
        raise SidestepError(str(answer["error"]))
