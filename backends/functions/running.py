"""The conductor's end of the runner: a child process, frames on its pipes, answers by number."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
from typing import Any, Final

import msgspec

from sidestep.backends.functions import blocks, frames, words
from sidestep.backends.functions.certificates import Member
from sidestep.fleet.errors import SidestepError

_STOP: Final = 5.0


class WorkerLost(SidestepError):
    """What was asked of a worker will not be answered; the block may go on elsewhere."""


class VerbFailed(SidestepError):
    """A worker refused a verb, and said why."""


class RunnerLink:
    """Starts the runner and asks it things; whatever is under way fails when the runner ends."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[words.Answer]] = {}
        self._log: Any = None

    @property
    def pid(self) -> int:
        """The runner's process; 0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def open(self, log: int) -> None:
        """Start it; what it says beside the frames goes to the descriptor ``log``."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sidestep.backends.functions.runner"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reading = asyncio.create_task(self._read())

    async def attach(self, scheduler: str, member: Member | None) -> None:
        """Have it be the client of a scheduler. Raises SidestepError."""
        authority, certificate, key = (member.authority, member.certificate, member.key) if member else ("", "", "")
        await self._ask(words.Attach(self._next(), scheduler, authority, certificate, key), 60.0)

    async def ask(self, worker: str, verb: str, argument: object = None, *, seconds: float = 20.0) -> Any:
        """A short verb's answer, as plain values. Raises WorkerLost or VerbFailed."""
        return _opened(await self._ask(words.Ask(self._next(), worker, _body(verb, argument)), seconds))

    async def run(self, worker: str, verb: str, argument: object = None) -> Any:
        """A verb that takes its time, pinned to a worker; no deadline. Raises WorkerLost or VerbFailed."""
        return _opened(await self._ask(words.Run(self._next(), worker, _body(verb, argument)), None))

    async def compute(self, worker: str, job: blocks.Job, stopped: asyncio.Future[Any]) -> Any:
        """What a worker says at the end of an execution, or what ``stopped`` is told of it sooner.

        Raises WorkerLost or VerbFailed.
        """
        saying = asyncio.create_task(self._compute(worker, job))
        # What it says after it was stopped is not asked any more.
        saying.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait((saying, stopped), return_when=asyncio.FIRST_COMPLETED)
            return stopped.result() if stopped.done() else saying.result()
        finally:
            saying.cancel()

    async def _compute(self, worker: str, job: blocks.Job) -> Any:
        """One that goes on from a capsule begins before its task does."""
        body = msgspec.msgpack.encode(job)
        if not job.capsule:
            return await self.run(worker, "start", body)
        await self.ask(worker, "begin", body)
        return await self.run(worker, "ended", [job.block, job.token])

    async def carry(self, source: str, target: str, names: list[bytes], *, seconds: float) -> int:
        """Chunks from one worker straight to another; the bytes that were new there."""
        word = words.Carry(self._next(), source, _body("fetch", names), target, _body("put", [names]))
        moved: int = _opened(await self._ask(word, seconds))
        return moved

    def gone(self, worker: str) -> None:
        """Fail whatever is under way at a worker."""
        self._send(words.Gone(worker))

    async def aclose(self) -> None:
        """End the runner."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reading is not None:
            await self._reading

    def _next(self) -> int:
        return next(self._numbers)

    def _send(self, word: words.ToRunner) -> bool:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing() or process.returncode is not None:
            return False
        process.stdin.write(frames.pack(word))
        return True

    async def _ask(self, word: words.Attach | words.Ask | words.Run | words.Carry, seconds: float | None) -> bytes:
        future: asyncio.Future[words.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[word.number] = future
        try:
            if not self._send(word):
                raise WorkerLost("the runner has ended")
            async with asyncio.timeout(seconds):
                answer = await future
        except TimeoutError:
            raise WorkerLost(f"no answer within {seconds:g} s") from None
        finally:
            self._waiting.pop(word.number, None)
        if answer.error:
            raise WorkerLost(answer.error)
        return answer.body

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        stdout = self._process.stdout

        async def exactly(count: int) -> bytes:
            try:
                return await stdout.readexactly(count)
            except asyncio.IncompleteReadError as cut:
                return cut.partial

        with contextlib.suppress(SidestepError):
            answer: words.Answer | None
            while (answer := await frames.receive(exactly, words.FromRunner)) is not None:
                future = self._waiting.get(answer.number)
                if future is not None and not future.done():
                    future.set_result(answer)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkerLost("the runner has ended"))


def _body(verb: str, argument: object) -> bytes:
    return msgspec.msgpack.encode((verb, argument))


def _opened(body: bytes) -> Any:
    if not body:
        return None
    try:
        said = msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise VerbFailed(f"a worker answered with what is no msgpack: {error}") from None
    if type(said) is not dict or ("ok" not in said and "error" not in said):
        raise VerbFailed("a worker answered with what is no answer")
    if "error" in said:
        raise VerbFailed(str(said["error"]))
    return said["ok"]
