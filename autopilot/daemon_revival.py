"""Bringing a shard back where it was, from its newest complete capsule, when it has nothing newer on its disk.

A shard of driver ``hook`` has its state in memory: once its process is gone, a plain start begins with nothing,
though its capsules lie on other hosts. That of driver ``restart`` is its folder, which comes first unless it is
empty. A capsule may be long on its way, so this goes on beside everything else; whoever settles hosts asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from sidestep.autopilot.capsules.base import CapsuleRef, Capsules
from sidestep.autopilot.daemon_log import Log
from sidestep.backends.base import Backend, FolderLook, Reviver, ShardObservation
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError, SidestepError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.placement import Owner

#: seconds that are waited for a capsule before hosts and shards beside it are put right
WAIT: Final = 5.0


class StillComing(Exception):
    """The capsule is on its way: ask again."""


class _Attempt(Struct, frozen=True):
    owner: Owner
    task: asyncio.Task[ShardObservation | None]


def folder_first(driver: str, found: FolderLook, age: float) -> bool:
    """Whether the shard's own files are to be started from, and not a capsule that was taken ``age`` seconds ago.

    Ages are compared, each by the clock that made it, so that clocks that differ do not matter.
    """
    return bool(found.files) and (driver == "restart" or found.age <= age)


class Revival:
    """Tries each shard once at a time; ``wall`` gives unix time."""

    def __init__(
        self, capsules: Capsules | None, transport: Callable[[str], Transport], log: Log, wall: Callable[[], float]
    ) -> None:
        self._capsules, self._transport, self._log, self._wall = capsules, transport, log, wall
        self._attempts: dict[str, _Attempt] = {}

    async def bring_back(
        self, backend: Backend, spec: ShardSpec, owner: Owner, address: str
    ) -> ShardObservation | None:
        """The shard as it serves from its capsule; None if it is to be started from its own folder.

        Raises StillComing, and SidestepError if its capsule is the state to start from and cannot be had now.
        """
        attempt = self._attempts.get(spec.name)
        if attempt is not None and attempt.owner != owner:
            attempt.task.cancel()
            attempt = None
        if attempt is None:
            if not spec.replicas or self._capsules is None or not isinstance(backend, Reviver):
                return None
            work = self._bring_back(backend, self._capsules, spec, owner, address)
            attempt = _Attempt(owner, asyncio.create_task(work, name=f"capsule back to {spec.name}"))
            self._attempts[spec.name] = attempt
        await asyncio.wait((attempt.task,), timeout=WAIT)
        if not attempt.task.done():
            raise StillComing
        del self._attempts[spec.name]
        return attempt.task.result()

    async def aclose(self) -> None:
        """End what runs: hosts end what is half done themselves."""
        tasks = [attempt.task for attempt in self._attempts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _bring_back(
        self, backend: Reviver, capsules: Capsules, spec: ShardSpec, owner: Owner, address: str
    ) -> ShardObservation | None:
        there = self._transport(owner.host)
        ref = capsules.newest(spec.name) or capsules.lost(spec.name)
        if ref is None:
            return None
        found, age = await backend.look(there, spec, ref.seq), self._wall() - ref.taken
        if folder_first(spec.driver, found, age):
            if spec.driver == "hook":
                said = f"{spec.name} starts from its own files: its capsule is {age:.0f} s old, they are newer"
                self._log.say("host", f"{owner.host}: {said}")
            return None
        if capsules.newest(spec.name) is None:
            raise _away(spec, owner, ref, age)
        way = "it was there already"
        if found.digest != ref.digest:
            way = await capsules.bring(ref, there, found.path)
        seen = await backend.revive(there, spec, owner.token, address, ref.seq, ref.digest, found)
        said = f"made {spec.name} again with token {owner.token} from capsule {ref.seq}, {age:.0f} s old"
        self._log.say("host", f"{owner.host}: {said} (its RPO), {way}; port {seen.port}")
        return seen


def _away(spec: ShardSpec, owner: Owner, ref: CapsuleRef, age: float) -> SidestepError:
    return HostError(
        owner.host,
        "start",
        f"{spec.name} is not started with nothing: its newest capsule, {age:.0f} s old, is on hosts that are lost",
        hint="bring one of them back (sidestep capsules names them), or set replicas = 0 to begin with its own folder",
    )


__all__ = ["Revival", "StillComing", "folder_first"]
