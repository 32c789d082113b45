"""The verbs that run in a worker's process: bytes in, bytes out, and never an exception.

An exception of a task would travel as a pickle, which nobody on the other side opens; so every
verb answers ``{"ok": …}`` or ``{"error": text}`` in msgpack. Dask calls these by name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

import msgspec

from sidestep.backends.functions import blocks, handover
from sidestep.backends.functions.place import Place, Running, Seat
from sidestep.backends.functions.shards import Peers
from sidestep.backends.functions.sources import store_source
from sidestep.fleet.errors import SidestepError

#: seconds for which the task of a block that was stopped stays open, at most
_LINGER: Final = 1.0


async def verb(body: bytes, dask_worker: Any = None) -> bytes:
    """A short verb, on the worker's event loop: ``[name, argument]``. Dask puts the worker in."""
    try:
        name, argument = msgspec.msgpack.decode(body)
        if (wait := _WAITING.get(name)) is not None:
            return msgspec.msgpack.encode({"ok": await wait(argument, dask_worker)})
    except Exception as error:  # noqa: BLE001 - nothing but bytes may leave
        return _refused(error)
    return _answer(_SHORT, body)


def task(body: bytes, former: bytes = b"") -> bytes:
    """A verb that takes its time, in a thread of the worker; ``former`` is the answer of another task."""
    if former:
        return _answer({"put": lambda words: put(words, former)}, body)
    return _answer(_LONG, body)


def _answer(verbs: dict[str, Callable[[Any], Any]], body: bytes) -> bytes:
    try:
        name, argument = msgspec.msgpack.decode(body)
        return msgspec.msgpack.encode({"ok": verbs[name](argument)})
    except Exception as error:  # noqa: BLE001 - nothing but bytes may leave
        return _refused(error)


def _refused(error: Exception) -> bytes:
    return msgspec.msgpack.encode({"error": f"{type(error).__name__}: {error}"[:2000]})


# -- short verbs


def have(names: Sequence[bytes]) -> list[bytes]:
    """Which of these chunks are here."""
    return Place.here().shelf.have(names)


def status(_: object) -> list[blocks.BlockStatus]:
    """The blocks that run here."""
    return Place.here().status()


def keep(words: Sequence[Any]) -> bool:
    """Ask a block to keep a capsule at its next safepoint and go on."""
    return _wish(words, blocks.Keep())


def withdraw(words: Sequence[Any]) -> bool:
    """Take the wish back."""
    return _wish(words, blocks.Withdraw())


def _wish(words: Sequence[Any], wish: blocks.ToSeat) -> bool:
    block, token = words
    found = Place.here().current(block, token)
    if found is None or not found.computes:
        return False
    if not isinstance(wish, blocks.Withdraw):
        found.failed = ""
    found.seat.say(wish)
    return True


def fence(words: Sequence[Any]) -> bool:
    """Refuse every token of a block that is older, from now on, and end what runs with one."""
    block, token = words
    found = Place.here().running.get(block)
    if found is not None and found.job.token < token:
        found.let_go.set()
        found.seat.close()
    return Place.here().fence(block, token - 1)


def forget(block: str) -> bool:
    """A block that was to come does not."""
    Place.here().forget(block)
    return True


def end(words: Sequence[Any]) -> bool:
    """End a block's execution up to and with a token; newer ones are not touched."""
    block, token = words
    found = Place.here().running.get(block)
    if found is None or found.job.token > token:
        return False
    found.let_go.set()
    found.seat.close()
    return True


def source(words: Sequence[Any]) -> bool:
    """Store source files, where no agent could."""
    digest, files = words
    store_source(Place.here().sources, digest, files)
    return True


# -- verbs that take their time


def start(body: bytes) -> blocks.Outcome:
    """Run a block to its end, its suspension or its death."""
    job = msgspec.msgpack.decode(body, type=blocks.Job)
    place = Place.here()
    if not place.fence(job.block, job.token):
        text = f"token {job.token} of block {job.block} is not newer than the last that was seen here"
        return blocks.Outcome(block=job.block, token=job.token, kind=blocks.REFUSED, error="token", text=text)
    seat = place.seat(job)
    running = place.running[job.block] = Running(job, seat)
    began = time.monotonic()
    try:
        seat.say(msgspec.structs.replace(job, signing=place.signing, host=place.name))
        outcome = _attend(running, Peers(job.peers))
        if outcome is not None:
            outcome = msgspec.structs.replace(outcome, block=job.block, token=job.token)
            if outcome.delta:
                place.shelf.hold(outcome.delta)
        running.computes = False
        running.outcome.set_result(outcome)
        if running.awaited and outcome is not None and outcome.kind == blocks.SUSPENDED:
            # Its task's end is told when the block is elsewhere: until then that would only be in the way.
            running.let_go.wait(_LINGER)
    except (OSError, SidestepError) as error:
        outcome = None
        text = str(error)
    else:
        text = "its process ended without a word"
    finally:
        if place.running.get(job.block) is running:
            del place.running[job.block]
        if not running.outcome.done():
            running.outcome.set_result(None)
        seat.close()
    wall = time.monotonic() - began
    if outcome is None:
        return blocks.Outcome(block=job.block, token=job.token, kind=blocks.DIED, text=text, wall_s=wall)
    # The chunks that were told to whoever waited are in the store, and need not travel twice.
    return msgspec.structs.replace(outcome, delta={}) if running.awaited else outcome


def _attend(running: Running, peers: Peers) -> blocks.Outcome | None:
    """Hear a seat to its last word."""
    while True:
        match running.seat.hear():
            case blocks.Began(pid, unsuited):
                running.seat.pid, running.unsuited, running.computes = pid, unsuited, True
            case blocks.Captured():
                running.writing = True
            case blocks.CannotStop(why):
                running.failed, running.writing = why, False
            case blocks.Kept() as kept:
                running.capsule, running.kept_at, running.fresh = kept.capsule, kept.at, kept.fresh
                running.failed, running.writing = "", False
            case blocks.ShardsWanted(payloads):
                running.seat.say(peers.run(payloads))
            case blocks.Outcome() as outcome:
                return outcome
            case None:
                return None
            case other:
                raise SidestepError(f"a seat said what it must not: {type(other).__name__}")


def shard(payload: bytes) -> bytes:
    """Run one shard of a loop in a seat of its own."""
    seat = Seat(Place.here().nursery)
    try:
        seat.say(blocks.Shard(payload))
        while True:
            match seat.hear():
                case blocks.Began(pid):
                    seat.pid = pid
                case blocks.ShardResult(result, error):
                    if error:
                        raise SidestepError(error)
                    return result
                case _:
                    raise SidestepError("a shard's process ended without a word")
    finally:
        seat.close()


def begin(body: bytes) -> bool:
    """Start a block that comes in a move, without a task of its own: that would cost it milliseconds while it stands.

    How it ends is what ``ended`` waits for.
    """
    job = msgspec.msgpack.decode(body, type=blocks.Job)
    place, done = Place.here(), Future[blocks.Outcome]()
    place.begun[job.block, job.token] = done

    def run() -> None:
        try:
            done.set_result(start(body))
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            done.set_exception(error)

    threading.Thread(target=run, name=f"block {job.block}", daemon=True).start()
    return True


def ended(words: Sequence[Any]) -> blocks.Outcome:
    """Wait for the end of what ``begin`` started."""
    block, token = words
    done = Place.here().begun.get((block, token))
    if done is None:
        raise SidestepError(f"{block} was not begun here with token {token}")
    try:
        return done.result()
    finally:
        Place.here().begun.pop((block, token), None)


def fetch(names: Sequence[bytes]) -> list[bytes]:
    """Chunks by name, in order."""
    return Place.here().shelf.records(names)


def put(words: Sequence[Any], former: bytes) -> int:
    """Store the chunks that ``fetch`` answered elsewhere; each is checked against its name first."""
    (names,) = words
    said = msgspec.msgpack.decode(former)
    if "error" in said:
        raise SidestepError(f"the other host: {said['error']}")
    return Place.here().shelf.take(dict(zip(names, said["ok"], strict=True)))


def store(words: Sequence[Any]) -> int:
    """Store chunks that come from the conductor."""
    (named,) = words
    return Place.here().shelf.take(named)


def prepare(words: Sequence[Any]) -> bool:
    """Have a seat ready for a block: forked, with its module, and the chunks of a capsule that went ahead."""
    word = blocks.Prepare(*words)
    place = Place.here()
    seat = Seat(place.nursery)
    try:
        seat.say(word)
        heard = seat.hear()
    except OSError as error:
        heard = blocks.Prepared(0, str(error))
    if not isinstance(heard, blocks.Prepared) or heard.error:
        seat.close()
        raise SidestepError(heard.error if isinstance(heard, blocks.Prepared) else "its process ended without a word")
    seat.pid = heard.pid
    place.expect(word, seat)
    return True


_SHORT: Final[dict[str, Callable[[Any], Any]]] = {
    "have": have,
    "status": status,
    "keep": keep,
    "withdraw": withdraw,
    "fence": fence,
    "end": end,
    "source": source,
    "forget": forget,
    "begin": begin,
}
_WAITING: Final[dict[str, Callable[[Any, Any], Awaitable[Any]]]] = {
    "began": handover.began,
    "halt": handover.halt,
    "reach": handover.reach,
    "arrive": handover.arrive,
    "check": handover.check,
}
_LONG: Final[dict[str, Callable[[Any], Any]]] = {
    "start": start,
    "ended": ended,
    "shard": shard,
    "fetch": fetch,
    "store": store,
    "prepare": prepare,
}
