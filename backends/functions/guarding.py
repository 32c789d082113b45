"""The capsules of running blocks, as the conductor knows them: whose they are, and which hosts hold them.

A worker's word is checked here: the signature is that of *its* host's key, the block, function
and token are those of the execution it was asked for, and sequence numbers only rise; so a capsule
that was forged, replayed or taken from another block is refused by name before anybody opens it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sidestep.backends.functions import blocks, capsules
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.running import VerbFailed, WorkerLost
from sidestep.fleet.capsules import CapsuleHeader
from sidestep.fleet.errors import SidestepError
from sidestep.sharding.capsules import Gate

#: seconds: between looks at a block; for carrying what is missing
LOOK: Final = 0.02
#: seconds after which a wish that came to nothing is said again
AGAIN: Final = 2.0
CARRY: Final = 120.0
#: seconds for which a worker is asked to wait until a block computes
WAIT: Final = 5.0
#: seconds for which a worker is asked to wait until a block has stopped
HALT: Final = 10.0
#: seconds that a block may take to begin, or a host to get ready for it
BEGIN: Final = 10.0
#: chunks that travel at a time
_AT_ONCE: Final = 2048


@dataclass
class Saved:
    """The newest capsule of a block that was believed, and the hosts that hold all of it."""

    header: CapsuleHeader
    sealed: bytes
    #: when it was captured, by this process's monotonic clock
    at: float
    holders: set[str] = field(default_factory=set)


class Guard:
    """Looks after capsules on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        #: words of hosts that were refused: host and why
        self.refused: list[tuple[str, str]] = []
        self._asking: dict[str, asyncio.Task[Any]] = {}

    def believed(self, host: str, block: str, token: int, sealed: bytes, former: Saved | None) -> CapsuleHeader:
        """The header that a host's worker sent for an execution. Raises capsules.Refused."""
        try:
            return self._checked(host, block, token, sealed, former)
        except capsules.Refused as error:
            self.refused.append((host, str(error)))
            raise

    def _checked(self, host: str, block: str, token: int, sealed: bytes, former: Saved | None) -> CapsuleHeader:
        gate = Gate({host: self._cluster.key(host)})
        if former is not None:
            gate.taken[block] = (former.header.token, former.header.sequence)
        header = capsules.opened(sealed, gate, block=block).header
        if header.token != token:
            raise capsules.Refused(f"a capsule of token {header.token} for token {token}: refused")
        return header

    async def look(self, host: str, block: str, token: int) -> blocks.BlockStatus | None:
        """What a worker says of one execution; None when it does not run there."""
        said = await self._status(host)
        try:
            found = msgspec.convert(said, list[blocks.BlockStatus])
        except msgspec.ValidationError as error:
            raise VerbFailed(f"{host}: a status that cannot be read: {error}") from None
        return next((one for one in found if (one.block, one.token) == (block, token)), None)

    async def _status(self, host: str) -> Any:
        """A host's answer; whoever asks while another is waiting for one gets the same."""
        asking = self._asking.get(host)
        if asking is None or asking.done():
            work = self._cluster.runner.ask(self._cluster.address(host), "status")
            asking = self._asking[host] = asyncio.create_task(work)
            # Whoever waits is told; where nobody does any more, nobody needs to be.
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(asking)

    async def began(self, host: str, block: str, token: int) -> bool:
        """Wait a while until an execution computes; whether it does. Raises WorkerLost, VerbFailed."""
        words = [block, token, WAIT]
        return bool(await self._cluster.runner.ask(self._cluster.address(host), "began", words))

    async def prepare(self, host: str, job: blocks.Job, saved: Saved | None) -> None:
        """Have a host get ready for a block. Nothing depends on it: what does not come about costs time later."""
        sealed = saved.sealed if saved is not None else b""
        words = [job.block, job.source, job.module, job.function, sealed, self._cluster.keys]
        with contextlib.suppress(WorkerLost, VerbFailed, TimeoutError):
            async with asyncio.timeout(BEGIN):
                await self._cluster.runner.run(self._cluster.address(host), "prepare", words)

    async def reach(self, host: str, target: str) -> None:
        """Have a connection between two workers. Nothing depends on it either."""
        with contextlib.suppress(WorkerLost, VerbFailed):
            await self._cluster.runner.ask(self._cluster.address(host), "reach", [self._cluster.address(target)])

    async def follow(self, host: str, saved: Saved) -> None:
        """Tell a seat that is ready of a further capsule that went ahead. Nothing depends on it either."""
        words = [saved.header.shard, saved.sealed, self._cluster.keys, {}, False, False]
        with contextlib.suppress(WorkerLost, VerbFailed):
            await self._cluster.runner.ask(self._cluster.address(host), "check", words)

    async def forget(self, host: str, block: str) -> None:
        """A block that was to come does not."""
        with contextlib.suppress(WorkerLost, VerbFailed):
            await self._cluster.runner.ask(self._cluster.address(host), "forget", block)

    async def newest(self, host: str, block: str, token: int, former: Saved | None) -> Saved | None:
        """A capsule of an execution that is newer than the last one; None when there is none."""
        return self._newer(host, await self.look(host, block, token), former)

    def _newer(self, host: str, status: blocks.BlockStatus | None, former: Saved | None) -> Saved | None:
        if status is None or not status.capsule or (former is not None and status.capsule == former.sealed):
            return None
        block, token = status.block, status.token
        header = self.believed(host, block, token, status.capsule, former)
        return Saved(header, status.capsule, time.monotonic() - status.age, {host})

    async def next(self, host: str, block: str, token: int, former: Saved | None, *, seconds: float) -> Saved:
        """Have a block keep a capsule now. Raises WorkerLost, VerbFailed, or SidestepError when it does not.

        The seconds are those to a safepoint; what was captured there may be under way to the disk for ``CARRY`` more.
        The wish is said again while nothing comes of it, which does no harm.
        """
        begun, again = time.monotonic(), 0.0
        until, now = begun + seconds, begun
        while now < until:
            now = time.monotonic()  # that of the look: whoever stood still itself looks once more before it gives up
            if now >= again:
                await self.wish(host, block, token, "keep")
                again = now + AGAIN
            status = await self.look(host, block, token)
            if (found := self._newer(host, status, former)) is not None:
                return found
            if status is not None and status.writing:
                until = min(time.monotonic() + seconds, begun + seconds + CARRY)
            await asyncio.sleep(LOOK)
        raise SidestepError(
            f"{block} on {host} kept no capsule within {seconds:g} s: {await self.why(host, block, token)}"
        )

    async def why(self, host: str, block: str, token: int) -> str:
        """Take a wish back that came to nothing, and say why it did."""
        with contextlib.suppress(WorkerLost, VerbFailed):
            await self.wish(host, block, token, "withdraw")
            for _ in range(50):
                status = await self.look(host, block, token)
                if status is not None and (why := status.failed or status.unsuited):
                    return why[:300]
                await asyncio.sleep(LOOK)
        return "it reached no safepoint"

    async def wish(self, host: str, block: str, token: int, verb: str) -> None:
        """Ask a block to keep, or to forget it. Raises VerbFailed when it does not run there."""
        await self._wish(host, block, token, verb)

    async def halt(self, host: str, block: str, token: int, target: str) -> Any:
        """Have a block stop, and what is new of it go to the target; what its worker says of its end.

        None when it says nothing for a while. Raises VerbFailed when it does not run there.
        """
        said = await self._wish(host, block, token, "halt", HALT, self._cluster.address(target))
        return said if said is not True else None

    async def _wish(self, host: str, block: str, token: int, verb: str, *more: float | str) -> Any:
        until = time.monotonic() + BEGIN
        while not (said := await self._cluster.runner.ask(self._cluster.address(host), verb, [block, token, *more])):
            if time.monotonic() > until:
                raise VerbFailed(f"{block} does not run on {host} with token {token}")
            await asyncio.sleep(LOOK)
        return said

    async def bring(self, saved: Saved, target: str) -> int:
        """Have all chunks on a host, straight from one that holds them; the bytes that were missing."""
        if target in saved.holders:
            return 0
        runner, there = self._cluster.runner, self._cluster.address(target)
        names = set(saved.header.names())
        missing = sorted(names - set(await runner.ask(there, "have", sorted(names))))
        moved, why = 0, "nobody holds it"
        for holder in [host for host in saved.holders if host in self._cluster.workers]:
            try:
                for start in range(0, len(missing), _AT_ONCE):
                    part = missing[start : start + _AT_ONCE]
                    moved += await runner.carry(self._cluster.address(holder), there, part, seconds=CARRY)
                saved.holders.add(target)
                return moved
            except (WorkerLost, VerbFailed) as error:
                why = str(error)
        raise WorkerLost(f"a capsule of {saved.header.shard} did not come to {target}: {why}")

    async def at_hand(self, saved: Saved, target: str) -> bool:
        """Have a capsule on a host where its block goes on; False when nobody who held it can give it any more.

        Holders that are between two workers are waited for: where the scheduler is lost, all of them are.
        """
        while True:
            before = {host: where for host, where in self._cluster.workers.items() if host in saved.holders}
            try:
                await self.bring(saved, target)
                return True
            except SidestepError:
                now = self._cluster.workers
            if target not in now:
                return True  # it is lost itself, which is seen in a moment; the capsule is not
            # Whoever was there all the time does not have it.
            saved.holders -= {host for host, where in before.items() if now.get(host) == where}
            if not await self._cluster.back(saved.holders):
                return False

    async def arrive(self, saved: Saved, former: Saved | None, stopped: blocks.Outcome, host: str) -> int:
        """Bring what is missing, and have the host prove that it holds the whole capsule; the bytes that travelled.

        A host that holds the capsule before this one needs the delta only: its maker sent it there, or it goes with the
        question. Raises VerbFailed or WorkerLost.
        """
        delta, sent = stopped.delta, stopped.sent
        fresh = set(saved.header.names()) - set(former.header.names() if former is not None else ())
        near = former is not None and host in former.holders and (sent > 0 or fresh <= delta.keys())
        travels = delta if near else {}
        moved = sent or sum(map(len, travels.values())) if near else await self.bring(saved, host)
        try:
            size = await self._whole(saved, host, travels, sent=sent > 0)
        except VerbFailed:
            if not sent:
                raise
            # What its maker said to have sent is not there.
            moved = await self.bring(saved, host)
            size = await self._whole(saved, host, {}, sent=False)
        if size != saved.header.nbytes:
            raise VerbFailed(f"{host} holds {size} bytes of a capsule of {saved.header.nbytes}")
        saved.holders.add(host)
        return moved

    async def _whole(self, saved: Saved, host: str, travels: dict[bytes, bytes], *, sent: bool) -> int:
        words: list[Any] = [saved.header.shard, saved.sealed, self._cluster.keys, travels, sent, True]
        size: int = await self._cluster.runner.ask(self._cluster.address(host), "check", words)
        return size
