"""Where invocations come in: asked of the router, and pushed by runners over a unix socket (S1.2).

Beside the daemon's socket there is one for reports, 0600, one JSON object a line (see
``docs/invocations.md``). Whoever sends what is no report is told so, and cut off. What waits
to be written is bounded: a peer that is faster than the disk is not read on. Nothing that
happens here stops the daemon; trouble is said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from sidestep.autopilot.invocations import InvocationStore
from sidestep.autopilot.invocations_import import STORE
from sidestep.autopilot.invocations_reported import Reported
from sidestep.autopilot.invocations_router import Calls, report_of
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.invocations import MAX_LINE, Invocation, parse_report

#: invocations that may wait to be written, and peers that may push at a time
WAITING: Final = 20_000
PEERS: Final = 64
#: seconds between two looks for what is too old to be kept
TIDY: Final = 600.0

Batch = Sequence[Invocation]


class Reporter(Protocol):
    """The part of the router that is asked."""

    async def report(self, after: int) -> dict[str, Any]:
        """Totals, and the calls after a number. Raises SidestepError."""
        ...


def socket_beside(socket: Path) -> Path:
    """Where reports are taken: beside the daemon's socket."""
    return socket.with_suffix(".reports")


class InvocationFeed:
    """Takes invocations from ``start`` to ``aclose``, into the store and the rates of ``reported``.

    ``learn`` is called with every batch, in a thread; ``interval`` is the time between two
    looks at the router (s). ``store`` is None when the file cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        socket: Path,
        *,
        reported: Reported,
        router: Reporter | None,
        clock: Clock,
        interval: float,
        report: Callable[[str], None],
        learn: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        self._path, self._socket = folder / STORE, socket
        self._reported, self._router, self._clock = reported, router, clock
        self._interval, self._report, self._learn = interval, report, learn
        self.store: InvocationStore | None = None
        self._calls = Calls()
        self._waiting: list[Invocation] = []
        self._looking = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.Task[None]] = set()
        self._work: asyncio.Task[None] | None = None
        self._said: set[str] = set()
        self._tidied = -TIDY

    async def start(self) -> None:
        """Open the store, listen, and begin to look. Reports trouble, never raises it."""
        try:
            self.store = await asyncio.to_thread(InvocationStore, self._path)
        except SidestepError as error:
            self._say(f"invocations are not kept: {error.args[0]}")
        try:
            await self._listen()
        except (OSError, ValueError) as error:
            self._say(f"invocations cannot be reported at {self._socket}: {error}")
        self._work = asyncio.create_task(self._run(), name="invocations")

    async def aclose(self) -> None:
        """Write what waits, and end."""
        if self._server is not None:
            self._server.close()
            self._socket.unlink(missing_ok=True)
        tasks = [*self._peers, *([self._work] if self._work is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._write()
        if self.store is not None:
            self.store.close()

    async def look(self) -> None:
        """Ask the router once, make rates of what was pushed, and write what waits."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        if self._router is not None:
            try:
                self._take(await self._router.report(self._calls.after))
            except SidestepError as error:
                self._say(f"the router reports no requests: {error.args[0]}")
        self._reported.close(self._clock.monotonic())
        await self._write()

    def _take(self, values: dict[str, Any]) -> None:
        report = report_of(values)
        rows = self._reported.rows(report.shards)
        self._reported.totals(self._clock.monotonic(), report.run, rows, report.totals(), report.latencies())
        self._waiting += self._calls.take(report)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the supervisor of looks: the next one may succeed
                self._say(f"invocations: {type(error).__name__}: {error}")
            await self._clock.sleep(self._interval)

    async def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        self._room.set()
        if batch or self._clock.monotonic() - self._tidied >= TIDY:
            await asyncio.to_thread(self._keep, batch)

    def _keep(self, batch: list[Invocation]) -> None:
        """In a thread: the disk may be slow."""
        try:
            if self.store is not None:
                self.store.add(batch)
                if self._clock.monotonic() - self._tidied >= TIDY:
                    self._tidied = self._clock.monotonic()
                    self.store.tidy(self._clock.wall())
        except SidestepError as error:
            self._say(f"invocations were not kept: {error.args[0]}")
        if batch:
            self._learn(batch)

    async def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()  # the daemon's lock says that nobody else serves this fleet
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._talk, self._socket, limit=MAX_LINE)
        finally:
            os.umask(before)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers.add(task)
        task.add_done_callback(self._peers.discard)
        try:
            await self._listen_to(reader)
        except (SidestepError, ValueError) as error:
            said = str(error) if isinstance(error, SidestepError) else f"a line is longer than {MAX_LINE} bytes"
            with contextlib.suppress(OSError):
                writer.write(msgspec.json.encode({"error": said}) + b"\n")
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # the peer hung up, or the daemon ends
        finally:
            writer.close()

    async def _listen_to(self, reader: asyncio.StreamReader) -> None:
        if len(self._peers) > PEERS:
            raise SidestepError(f"{PEERS} peers report already", hint="report over one connection")
        number = 0
        while line := await reader.readline():
            number += 1
            if not line.strip():
                continue
            one = parse_report(line, "report", number, self._clock.wall())
            if len(self._waiting) >= WAITING:
                self._room.clear()
                await self._room.wait()
            self._waiting.append(one)
            self._reported.push((one,))

    def _say(self, text: str) -> None:
        """Say a trouble once; from any thread."""
        if text not in self._said:
            self._said.add(text)
            self._report(text)
