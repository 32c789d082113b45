"""Wishes for a capsule that is long in coming: what is being written is waited for, and never called unreachable."""

from __future__ import annotations

import os
import queue
import resource
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from sidestep.backends.functions import blocks, payload
from sidestep.backends.functions.capsules import Keeper, Kept, Store, Where
from sidestep.backends.functions.computing import Computation
from sidestep.backends.functions.guarding import Guard
from sidestep.backends.functions.setup import new_signing_key, public_of
from sidestep.backends.functions.sources import digest_of, store_source
from sidestep.fleet.errors import SidestepError
from sidestep.sharding.capsules import Origin
from sidestep.sharding.capsules.chunks import name_of
from sidestep.sharding.codec import Encoded

_SOURCE = b"""
import os

def turns(gate):
    n = 0
    while not os.path.exists(gate):
        n += 1
    return n > 0

def late(gate):
    os.read(os.open(gate, os.O_RDONLY), 1)
    total = 0
    for n in range(200000):
        total += n * n % 7
    return total

def read(gate):
    os.read(os.open(gate, os.O_RDONLY), 1)
    for n in range(3):
        n += 1
    return n
"""


class Talk:
    """A seat's line to a worker that a test plays."""

    def __init__(self) -> None:
        self.said: queue.Queue[blocks.FromSeat] = queue.Queue()
        self.words: queue.Queue[blocks.ToSeat | None] = queue.Queue()

    def say(self, word: blocks.FromSeat) -> None:
        self.said.put(word)

    def hear(self) -> blocks.ToSeat | None:
        return self.words.get()

    def asked(self, word: blocks.ToSeat) -> blocks.FromSeat:
        """What is said next to a word."""
        self.words.put(word)
        return self.said.get(timeout=60)


def computation(folder: Path, function: str, gate: Path) -> tuple[Computation, Talk]:
    files = {"turning.py": _SOURCE}
    digest = digest_of(files)
    (folder / "sources").mkdir()
    store_source(folder / "sources", digest, files)
    job = blocks.Job(
        block="b1", token=1, source=digest, module="turning", function=function, signing=new_signing_key(), host="h1",
        args=payload.encode_call((str(gate),), {}),
    )  # fmt: skip
    talk = Talk()
    return Computation(job, talk, folder), talk


def test_a_capsule_that_the_disk_holds_up_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2.24: the seat says so at once, takes no second capture meanwhile, and keeps the next one when it is asked."""
    stalled, kept = threading.Event(), list[Encoded]()
    keep = Keeper.keep

    def slow(self: Keeper, captured: Encoded, where: Where = ("", 0, 0), *, last: bool = False) -> Kept:
        kept.append(captured)
        assert stalled.wait(60)
        return keep(self, captured, where, last=last)

    monkeypatch.setattr(Keeper, "keep", slow)
    gate = tmp_path / "gate"
    computing, talk = computation(tmp_path, "turns", gate)

    def worker() -> list[str]:
        heard: list[blocks.FromSeat] = [talk.said.get(timeout=60)]
        try:
            heard += [talk.asked(word) for word in (blocks.Keep(), blocks.Keep(), blocks.Withdraw())]
            stalled.set()
            heard.append(talk.said.get(timeout=60))
            heard += [talk.asked(blocks.Keep()), talk.said.get(timeout=60)]
        finally:
            stalled.set()
            gate.touch()
        return [one.why if isinstance(one, blocks.CannotStop) else type(one).__name__ for one in heard]

    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(worker)
        outcome = computing.run()
        assert playing.result() == [
            "Began", "Captured", "Captured", "its capsule is being written still", "Kept", "Captured", "Kept"
        ]  # fmt: skip
    talk.words.put(None)
    assert outcome.kind == blocks.DONE and len(kept) == 2


def test_a_stop_that_is_wished_for_is_not_made_a_capsule_by_a_later_wish(tmp_path: Path) -> None:
    """S2.23: it keeps capsules by itself too, and one of these came between the wish to stop and the stop."""
    gate = tmp_path / "gate"
    computing, talk = computation(tmp_path, "late", gate)
    os.mkfifo(gate)

    def worker() -> None:
        talk.said.get(timeout=60)
        computing._ask(None)
        computing._ask(computing._captured)  # as its own clock does
        gate.write_text("go")

    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(worker)
        outcome = computing.run()
        playing.result()
    talk.words.put(None)
    assert outcome.kind == blocks.SUSPENDED


def test_a_block_that_reaches_no_safepoint_says_where_it_is(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    computing, talk = computation(tmp_path, "read", gate)
    os.mkfifo(gate)

    def worker() -> blocks.FromSeat:
        talk.said.get(timeout=60)
        talk.words.put(blocks.Keep())
        with gate.open("w"):
            return talk.asked(blocks.Withdraw())

    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(worker)
        computing.run()
        said = playing.result()
    talk.words.put(None)
    assert isinstance(said, blocks.CannotStop) and said.why == "it reached no safepoint: it is in read"


class Runner:
    """Answers of one worker: so many looks at which a capsule is being written, then the capsule, or never one."""

    def __init__(self, statuses: Sequence[blocks.BlockStatus]) -> None:
        self._statuses, self.verbs = list(statuses), list[str]()

    async def ask(self, _: str, verb: str, __: object = None, **___: object) -> Any:
        self.verbs.append(verb)
        if verb != "status":
            return True
        now = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return [msgspec.to_builtins(now, builtin_types=(bytes,))]


def guard(statuses: Sequence[blocks.BlockStatus], key: bytes) -> tuple[Guard, Runner]:
    runner = Runner(statuses)
    cluster: Any = SimpleNamespace(runner=runner, address=lambda host: host, key=lambda host: public_of(key))
    return Guard(cluster), runner


def status(**more: Any) -> blocks.BlockStatus:
    return blocks.BlockStatus(block="b1", token=3, seconds=1.0, cpu_s=1.0, **more)


@pytest.mark.asyncio
async def test_a_capsule_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """S2.29: a move is not given up for a disk that takes longer than a block has to reach a safepoint."""
    key = new_signing_key()
    made = Keeper(Store(tmp_path / "chunks"), key, Origin("h1", "b1", 3, program=b"p"), 0).keep(Encoded(b"stream"))
    one, runner = guard([*[status(writing=True)] * 8, status(capsule=made.sealed)], key)
    saved = await one.next("h1", "b1", 3, None, seconds=0.03)
    assert saved.sealed == made.sealed and runner.verbs.count("status") == 9
    assert "withdraw" not in runner.verbs


@pytest.mark.asyncio
async def test_a_block_that_captures_nothing_is_given_up_with_its_reason() -> None:
    one, runner = guard([status(), status(failed="it reached no safepoint: it is in read")], new_signing_key())
    with pytest.raises(SidestepError, match=r"within 0.01 s: it reached no safepoint: it is in read"):
        await one.next("h1", "b1", 3, None, seconds=0.01)
    assert runner.verbs[-2:] == ["withdraw", "status"]


def test_a_chunk_that_could_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """What was half written would be in the way of what is written next, on a disk that is full."""
    child = os.fork()
    if child == 0:
        try:
            store, chunk = Store(tmp_path), os.urandom(16384)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the kernel writes no more than this of any file
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                store.put(name_of(chunk), chunk)
            except OSError:
                os._exit(42)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
