"""One execution of a block in its seat: from the start or from a capsule, to a result, an exception or a capsule.

The main thread computes. A second one hears wishes: it sleeps but for the moments of a wish, and
the capture itself is made in the main thread, at a safepoint (``sharding.resume``). Capsules that
are kept on the way are cut and stored by a third, from a private copy.
"""

from __future__ import annotations

import contextlib
import os
import queue
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from sidestep.backends.functions import blocks, capsules, payload
from sidestep.backends.functions.loading import Loaded
from sidestep.fleet.errors import SidestepError
from sidestep.sharding import codec
from sidestep.sharding.capsules import Gate, Origin, Rejected
from sidestep.sharding.capsules.base import Base
from sidestep.sharding.execute.contract import ExecutorLost, HostShare, plan
from sidestep.sharding.resume import Program, Suspended, Suspender, suspender


class Line(Protocol):
    """The connection to the worker."""

    def say(self, word: blocks.FromSeat) -> None:
        """Send, from any thread."""

    def hear(self) -> blocks.ToSeat | None:
        """The next word."""


class Elsewhere:
    """The sharder's executor: payloads go up to the worker, which has them run at its peers."""

    def __init__(self, line: Line, answers: queue.Queue[blocks.ShardsDone], workers: int) -> None:
        self._line, self._answers, self._workers = line, answers, workers

    @property
    def workers(self) -> int:
        """How many payloads run at the same time, this host's among them."""
        return self._workers

    def run(self, payloads: Sequence[bytes]) -> Sequence[bytes]:
        """Run all, in order. Raises ExecutorLost."""
        self._line.say(blocks.ShardsWanted(tuple(payloads)))
        answer = self._answers.get()
        if answer.error:
            raise ExecutorLost(answer.error)
        return answer.results


class Ahead:
    """What a block needs that can be had before it comes: its module, and most of its state."""

    def __init__(self, word: blocks.Prepare, folder: Path) -> None:
        """Raises whatever the module does."""
        self._block, self._base = word.block, Base()
        #: the capsule that was decoded already, and what runs on from it, once
        self._ready: tuple[bytes, Callable[[], Any]] | None = None
        self.store = capsules.Store(folder / "chunks")
        self.loaded = Loaded(folder / "sources" / word.source, word.module, word.function)
        if word.capsule:
            self.arrive(blocks.Arrive(word.capsule, word.trusted, last=False))

    def arrive(self, word: blocks.Arrive) -> None:
        """Take over what is new in a capsule; decode the last one, while others decide whether the block goes on.

        What cannot be is refused when it is told to.
        """
        self._ready, program = None, self.loaded.program
        if program is None:
            return
        with contextlib.suppress(SidestepError, Rejected, codec.Damaged, codec.Refused, OSError):
            gate = Gate(word.trusted)
            header = capsules.opened(word.capsule, gate, block=self._block, program=program.digest, here=True).header
            self.store.learn(word.delta)
            state = self._base.follow(header, self.store)
            if word.last:
                self._ready = word.capsule, program.ready(state, copy=False)
                self._base.give_away()
            else:
                self._base.settle(state)

    def take(self, capsule: bytes) -> Callable[[], Any] | None:
        """What runs on from a capsule, if it was decoded."""
        (known, ready), self._ready = self._ready or (b"", None), None
        return ready if known == capsule else None


class Computation:
    """One execution."""

    def __init__(self, job: blocks.Job, line: Line, folder: Path, ahead: Ahead | None = None) -> None:
        self._job, self._line, self._ahead = job, line, ahead
        self._source = folder / "sources" / job.source
        self._store = ahead.store if ahead is not None else capsules.Store(folder / "chunks")
        self._extra: dict[str, Any] = {}
        self._answers: queue.Queue[blocks.ShardsDone] = queue.Queue()
        self._captures: queue.Queue[tuple[codec.Encoded, capsules.Where]] = queue.Queue()
        #: captures that were taken, and those that were written or failed to be
        self._taken, self._written = 0, 0
        self._program: Program | None = None
        self._suspender: Suspender | None = None
        self._keeper: capsules.Keeper | None = None
        self._asking, self._stopping = threading.Lock(), False

    def run(self) -> blocks.Outcome:
        """Compute, and say how it ended; never raises."""
        began, used = time.monotonic(), cpu()
        try:
            fields = self._compute()
        except Suspended as stopped:
            fields = self._suspended(stopped.captured)
        except (SidestepError, codec.Damaged) as error:
            fields = {"kind": blocks.REFUSED, "error": "capsule", "text": str(error)}
        except Exception as error:  # noqa: BLE001 - the function's own, and told as such
            fields = {"kind": blocks.RAISED, **payload.encode_error(error, str(self._source))}
        except SystemExit as error:
            fields = {"kind": blocks.RAISED, "error": "SystemExit", "text": str(error)}
        return blocks.Outcome(
            block=self._job.block,
            token=self._job.token,
            cpu_s=cpu() - used,
            wall_s=time.monotonic() - began,
            max_rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            **fields,
            **self._extra,
        )

    def _compute(self) -> dict[str, Any]:
        job = self._job
        loaded = self._ahead.loaded if self._ahead is not None else Loaded(self._source, job.module, job.function)
        work = self._work(loaded)
        self._line.say(blocks.Began(os.getpid(), loaded.unsuited))
        threading.Thread(target=self._listen, daemon=True).start()
        value = work()
        self._quiet()
        try:
            return {"kind": blocks.DONE, "value": codec.dumps(value)}
        except codec.Refused as error:
            return {"kind": blocks.REFUSED, "error": "result", "text": f"the result cannot travel: {error}"}

    def _work(self, loaded: Loaded) -> Callable[[], Any]:
        """What there is to compute; everything that can be refused is refused here."""
        job, program = self._job, loaded.program
        if job.capsule:
            if program is None:
                raise capsules.Refused("a capsule of a program that cannot go on")
            digest, gate = program.digest, Gate(job.trusted)
            header = capsules.opened(job.capsule, gate, block=job.block, program=digest, here=True).header
            if header.token >= job.token:
                raise capsules.Refused(f"a capsule of token {header.token} for token {job.token}: refused")
            ready = self._ahead.take(job.capsule) if self._ahead is not None else None
            if ready is None:
                ready = program.ready(capsules.restored(header, self._store), copy=False)
            self._prepare(loaded, header.sequence)
            return ready
        args, kwargs = payload.decode_call(job.args)
        # What runs as shards is not stopped, so that a call which wants capsules keeps its loops to itself.
        wanted = job.peers and (job.force or not job.every)
        if wanted and (sharded := self._sharded(loaded.function, args, kwargs)) is not None:
            loaded.unsuited = "its loops may run as shards"
            return sharded
        if program is None:
            return lambda: loaded.function(*args, **kwargs)
        self._prepare(loaded, job.sequence)
        return lambda: program.run(job.function, *args, **kwargs)

    def _prepare(self, loaded: Loaded, sequence: int) -> None:
        """The means to stop, and to keep capsules."""
        job, program = self._job, loaded.program
        assert program is not None
        self._program = program
        self._suspender = suspender(program)
        self._keeper = capsules.Keeper(
            self._store,
            job.signing,
            Origin(job.host, job.block, job.token, program=program.digest, function=job.function),
            sequence,
        )
        threading.Thread(target=self._write, daemon=True).start()
        if job.every:
            threading.Thread(target=self._beat, daemon=True).start()

    def _sharded(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[[], Any] | None:
        """The call with those loops as shards that turn out to be worth it; None where none can be."""
        shares = [HostShare("here"), *(HostShare(name, cores) for name, cores in self._job.peers)]
        try:
            made = plan(function, args, kwargs, hosts=shares, profile=False, force=self._job.force)
        except Exception as error:  # noqa: BLE001 - what cannot be planned runs where it is
            self._extra = {"fallbacks": (f"{type(error).__name__}: {error}"[:200],)}
            return None
        if not made.blocks:
            return None

        def call() -> Any:
            outcome = made.run(Elsewhere(self._line, self._answers, len(shares)), args, kwargs)
            self._extra = {
                "sharded": outcome.sharded,
                "shard_bytes": outcome.sent + outcome.received,
                "fallbacks": tuple(outcome.fallbacks),
            }
            return outcome.value

        return call

    def _suspended(self, captured: codec.Encoded) -> dict[str, Any]:
        self._quiet()
        assert self._keeper is not None
        kept = self._keeper.keep(captured, self._where(), last=True)
        return {"kind": blocks.SUSPENDED, "capsule": kept.sealed, "delta": kept.delta}

    def _where(self) -> capsules.Where:
        """Where the capture stands that was just taken."""
        return self._program.where if self._program is not None else ("", 0, 0)

    def _quiet(self) -> None:
        """No further captures; those that are being written are finished first."""
        with self._asking:
            if self._suspender is not None:
                self._suspender.close()
                self._suspender = None
        self._captures.join()

    # -- the other threads

    def _listen(self) -> None:
        while True:
            match self._line.hear():
                case blocks.ShardsDone() as answer:
                    self._answers.put(answer)
                case blocks.Suspend():
                    self._ask(None)
                case blocks.Keep():
                    self._wished()
                case blocks.Withdraw():
                    self._withdrawn()
                case None:
                    return

    def _wished(self) -> None:
        """Keep a capsule, unless one is on its way to the disk, which is as good."""
        if self._taken != self._written:
            self._line.say(blocks.Captured())
        else:
            self._ask(self._captured)

    def _captured(self, captured: codec.Encoded) -> None:
        """In the main thread, at a safepoint."""
        self._taken += 1
        self._captures.put((captured, self._where()))

    def _withdrawn(self) -> None:
        with self._asking:
            if self._suspender is None:
                return
            self._suspender.withdraw()
            self._stopping = False
            why = f"it reached no safepoint: {standing()}"
            if self._suspender.refused is not None:
                why = self._suspender.refused[1]
            elif self._taken != self._written:
                why = "its capsule is being written still"
            self._line.say(blocks.CannotStop(why))

    def _ask(self, keep: Callable[[codec.Encoded], None] | None) -> None:
        """Ask for a capture to keep, or to stop: a stop that is wished for is not made a capture to keep."""
        with self._asking:
            self._stopping = self._stopping or keep is None
            if self._suspender is not None and (keep is None or not self._stopping):
                self._suspender.request(keep)

    def _beat(self) -> None:
        """Keep capsules twice as often as work may be lost: each has to reach another host before the next is due."""
        while True:
            time.sleep(self._job.every / 2)
            if self._taken == self._written:
                self._ask(self._captured)

    def _write(self) -> None:
        assert self._keeper is not None
        while True:
            captured, where = self._captures.get()
            told: blocks.Kept | blocks.CannotStop
            try:
                self._line.say(blocks.Captured())
                kept = self._keeper.keep(captured, where)
                told = blocks.Kept(
                    block=self._job.block, token=self._job.token, capsule=kept.sealed, at=kept.header.made,
                    fresh=kept.fresh,
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001 - a full disk: the last one stays the last, and who waits is told
                told = blocks.CannotStop(f"its capsule was not kept: {type(error).__name__}: {error}"[:300])
            # Before it is told: whoever hears it may have the next wish.
            self._written += 1
            try:
                with contextlib.suppress(OSError):  # a worker that is gone
                    self._line.say(told)
            finally:
                self._captures.task_done()


def standing() -> str:
    """Where the main thread is, but for what it does to hear a wish."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    ours = str(Path(suspender.__code__.co_filename).parent)
    while frame is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    if frame is None:
        return "it has ended"
    code = frame.f_code
    # Lines of the resumable form are those of nobody's source.
    line = "" if code.co_filename.startswith("<resumable ") else f", {Path(code.co_filename).name}:{frame.f_lineno}"
    return f"it is in {code.co_name}{line}"


def cpu() -> float:
    """Processor seconds of this process and of what it waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
