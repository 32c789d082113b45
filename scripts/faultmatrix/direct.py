"""Requests straight to a shard that the router knows nothing of: to where the journal says it is, one after the other.

Shards that may give way have no keys, and so no routes; whoever wants them asks again until they serve, and
asks nobody but the owner of the journal. An answer under a token that is not the owner's any more is none: that
is what docs/fencing.md wants of those who go without the router, which holds requests while a shard moves.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from scripts.faultmatrix.daemon import Daemon, HarnessError
from sidestep.backends.routing.router import Reply, Unanswered
from sidestep.fleet.labels import Label

#: seconds after which nobody knows whether a request was counted
ANSWERED: Final = 4.0
_AGAIN: Final = 0.1


class Direct:
    """Asks one shard, as ``RouterCore`` asks any."""

    def __init__(self, daemon: Daemon, shard: str) -> None:
        self._daemon, self._shard = daemon, shard

    async def request(self, app: str, key: str, *, verb: str = "INC", ident: str = "") -> Reply:
        """Sent again only when it was provably not counted. Raises Unanswered when nobody can know; ``app`` is one."""
        while True:
            try:
                words = await self._send(f"{verb} {ident} {key}\n".encode())
            except (HarnessError, OSError):
                words = []
            if words[:1] == ["OK"] and len(words) >= 5:
                return Reply(Label(self._shard), int(words[2]), 0.0, tuple(words[3:]))
            await asyncio.sleep(_AGAIN)

    async def _send(self, line: bytes) -> list[str]:
        """The words of the answer. Raises OSError, HarnessError where nothing was sent, Unanswered afterwards."""
        address, port = self._daemon.endpoint(self._shard)
        _, token = self._daemon.owner(self._shard)
        try:
            async with asyncio.timeout(ANSWERED):
                reader, writer = await asyncio.open_connection(address, port)
        except TimeoutError as error:
            raise OSError("no connection") from error
        try:
            async with asyncio.timeout(ANSWERED):
                writer.write(line)
                answer = await reader.readline()
        except (OSError, TimeoutError) as error:
            raise Unanswered(f"{self._shard} does not answer") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await asyncio.wait_for(writer.wait_closed(), 1.0)
        if not answer.endswith(b"\n"):
            raise Unanswered(f"{self._shard} does not answer")
        words = answer.decode("ascii", "replace").split()
        if words[0] == "OK" and (words[2] != f"{token}" or self._owner() != token):
            raise Unanswered(f"token {words[2]} of {self._shard} counts no more")
        return words

    def _owner(self) -> int:
        with contextlib.suppress(HarnessError):
            return self._daemon.owner(self._shard)[1]
        return 0
