"""The router's control socket: 0600, one call per connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from sidestep.backends.routing import wire
from sidestep.backends.routing.router import RouterCore
from sidestep.fleet.errors import ProtocolError, SidestepError

Facts = dict[str, Any]


class ControlServer:
    """Answers calls for one router; ``stats`` and ``audit`` come from whoever makes the requests."""

    def __init__(
        self,
        core: RouterCore,
        path: Path,
        *,
        stats: Callable[[], Facts] | None = None,
        audit: Callable[[], Awaitable[Facts]] | None = None,
    ) -> None:
        self._core, self._path = core, path
        self._stats, self._audit = stats or core.stats, audit
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket left by a dead router is replaced. Raises SidestepError if one lives."""
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_unix_connection(self._path)
            writer.close()
            raise SidestepError(f"{self._path}: another router serves there", hint="stop it first")
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._talk, self._path)
        finally:
            os.umask(before)

    async def aclose(self) -> None:
        """Stop listening, end the calls, remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        try:
            call = wire.parse_call(await wire.read_frame(reader))
            answer = await self._while_connected(reader, call)
            if answer is not None:
                writer.write(wire.pack(answer))
                await writer.drain()
        except ProtocolError as error:
            writer.write(wire.pack(_refusal(error)))
        except (OSError, asyncio.CancelledError):
            pass  # the caller hung up, or the router ends; either way nobody listens any more
        finally:
            writer.close()

    async def _while_connected(self, reader: asyncio.StreamReader, call: wire.Call) -> wire.Answer | None:
        """The answer; None when the caller hangs up first, which takes an unfinished hold back."""
        working = asyncio.create_task(self._answer(call))
        hung_up = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({working, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            hung_up.cancel()
            await asyncio.gather(working, hung_up, return_exceptions=True)

    async def _answer(self, call: wire.Call) -> wire.Answer:  # noqa: PLR0911 - a case for every call
        try:
            match call:
                case wire.Hold():
                    await self._core.hold(call.shard, call.deadline, firm=call.firm)
                case wire.Release():
                    self._core.release(call.shard)
                case wire.Apply():
                    self._core.apply(call.table, call.checksum)
                case wire.GetEndpoints() | wire.AddEndpoint() | wire.Weigh() | wire.Shift() | wire.RemoveEndpoint():
                    return self._endpoints(call)
                case wire.Drain():
                    await self._core.drain(call.shard, call.name, call.deadline)
                case wire.GetStats():
                    return wire.Facts(self._stats())
                case wire.GetReport():
                    return wire.Facts(self._core.meter.report(call.after))
                case wire.Audit():
                    if self._audit is None:
                        return wire.Refused("this router keeps no ledger of requests")
                    return wire.Facts(await self._audit())
        except SidestepError as error:
            return _refusal(error)
        return wire.Done(self._core.table.generation)

    def _endpoints(
        self, call: wire.GetEndpoints | wire.AddEndpoint | wire.Weigh | wire.Shift | wire.RemoveEndpoint
    ) -> wire.Answer:
        core, route = self._core, self._core.known(call.shard)
        match call:
            case wire.GetEndpoints():
                return wire.Facts({"endpoints": msgspec.to_builtins(core.balance.endpoints(route))})
            case wire.AddEndpoint():
                core.change(core.balance.added(route, call.endpoint))
            case wire.Weigh():
                core.change(core.balance.weighed(route, call.weights))
            case wire.Shift():
                core.change(core.balance.shifted(route, call.shares))
            case wire.RemoveEndpoint():
                core.change(core.balance.removed(route, call.name))
        return wire.Done(core.table.generation)


def _refusal(error: SidestepError) -> wire.Refused:
    return wire.Refused(str(error.args[0]), str(error.hint))
