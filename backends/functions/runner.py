"""The runner: one process that is a Dask client, and passes bytes between a pipe and the workers.

Runs as ``python -m sidestep.backends.functions.runner`` below the conductor, and ends with its
standard input. It decides nothing, opens no payload, and cannot unpickle (``sealed``).
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable
from typing import Any, Final

import dask
from distributed import Client

from sidestep.backends.functions import frames, sealed, tasks, words
from sidestep.backends.functions.engine import CONFIG, security

#: the only forms that values may have on their way here
_FORMS: Final = ["msgpack", "error"]
#: seconds for a short verb
SHORT: Final = 15.0


class Runner:
    """Requests in, answers out, in any order."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._client: Any = None
        self._waiting: dict[int, tuple[str, asyncio.Task[None]]] = {}

    def take(self, word: words.ToRunner) -> None:
        """Begin what a word asks for."""
        if isinstance(word, words.Gone):
            for place, job in list(self._waiting.values()):
                if place == word.worker:
                    job.cancel("its worker is lost")
            return
        place = getattr(word, "worker", "") or getattr(word, "target", "")
        job = asyncio.ensure_future(self._answer(word.number, self._do(word)))
        self._waiting[word.number] = (place, job)
        job.add_done_callback(lambda _: self._waiting.pop(word.number, None))

    async def _answer(self, number: int, work: Awaitable[bytes]) -> None:
        try:
            answer = words.Answer(number, await work)
        except asyncio.CancelledError as cancelled:
            answer = words.Answer(number, error=f"lost: {cancelled}")
        except Exception as error:  # noqa: BLE001 - told to the conductor
            why, sealed.last[0] = sealed.last[0], ""
            said = f"{type(error).__name__}: {error}"
            answer = words.Answer(number, error=(said if why in said else f"{said}: {why}")[:500])
        self._writer.write(frames.pack(answer))
        await self._writer.drain()

    async def _do(self, word: words.ToRunner) -> bytes:
        match word:
            case words.Attach():
                return await self._attach(word)
            case words.Ask(_, worker, body):
                async with asyncio.timeout(SHORT):
                    said = await self._client.run(tasks.verb, body, workers=[worker])
                return _bytes(said.get(worker) if isinstance(said, dict) else said)
            case words.Run(_, worker, body):
                return _bytes(await self._submit(worker, body))
            case words.Carry(_, source, take, target, put):
                return _bytes(await self._submit(target, put, self._submit(source, take)))
        raise TypeError(type(word).__name__)

    def _submit(self, worker: str, *arguments: Any) -> Any:
        return self._client.submit(
            tasks.task, *arguments, workers=[worker], allow_other_workers=False, pure=False, retries=0
        )

    async def _attach(self, word: words.Attach) -> bytes:
        former, self._client = self._client, None
        if former is not None:
            # what the former engine was asked is never answered: its scheduler is gone, and its client may not see it
            for place, job in list(self._waiting.values()):
                if place:
                    job.cancel("its engine is gone")
            with_grace = asyncio.ensure_future(former.close(timeout=1))
            with_grace.add_done_callback(lambda done: done.cancelled() or done.exception())
        client: Any = Client
        self._client = await client(
            word.scheduler,
            asynchronous=True,
            security=security(word.authority, word.certificate, word.key) if word.certificate else None,
            serializers=_FORMS,
            deserializers=_FORMS,
            direct_to_workers=False,
            set_as_default=False,
            timeout=20,
        )
        made = self._client
        made._handle_report_task.add_done_callback(lambda listening: self._deaf(made, listening))
        return b""

    def _deaf(self, client: Any, listening: asyncio.Future[None]) -> None:
        """Give up what waits for an engine that said what cannot be read: its client hears nothing from now on."""
        error = None if listening.cancelled() else listening.exception()
        if error is not None and client is self._client:
            for place, job in list(self._waiting.values()):
                if place:
                    job.cancel(f"its engine said what cannot be read: {type(error).__name__}")


def _bytes(value: object) -> bytes:
    if type(value) is bytes:
        return value
    raise TypeError(f"a worker answered with {type(value).__name__} instead of bytes: refused")


async def serve() -> None:
    """Serve standard input until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    flow, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    runner = Runner(asyncio.StreamWriter(flow, protocol, None, loop))
    sealed.seal()

    async def exactly(count: int) -> bytes:
        try:
            return await reader.readexactly(count)
        except asyncio.IncompleteReadError as cut:
            return cut.partial

    while (word := await frames.receive(exactly, words.ToRunner)) is not None:
        runner.take(word)


def main() -> None:
    """The runner's whole life."""
    dask.config.set(CONFIG)
    # As in the engine: a block may be standing while imports are looked through for garbage.
    gc.freeze()
    asyncio.run(serve())
    os._exit(0)


if __name__ == "__main__":
    main()
