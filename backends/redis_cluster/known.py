"""What a target's replicas know before keys depend on it: its epoch, and that it has slots at all.

A node that takes slots raises its epoch, and tells others right after it has answered us. Killed in between, it leaves
replicas that know neither; what they have copied is safe with them only if they win whatever follows. Two things
would make them lose. They stand for election by the epoch after the last that they know of: if that is the one that
was just taken, and the old master comes back, nodes settle the tie by their names, and where the old master wins it
takes all its slots back, and its replica drops every key to copy an empty master. And nobody is elected in the place
of a master that has no slots, as far as its replicas know. So both are told them first, when no key depends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from sidestep.backends.redis_cluster.client import Nodes
from sidestep.backends.redis_cluster.look import PAUSE, asked
from sidestep.backends.redis_cluster.topology import Member, Told, View
from sidestep.fleet.errors import HostError

#: seconds in which nodes tell each other anything: half of a node timeout, which is 15 s by default
HEARD: Final = 20.0


async def higher(nodes: Nodes, target: Member) -> int:
    """Give the target the highest epoch that it knows of, and return it. Raises HostError."""
    said = await nodes.at(target.host, target.port).text("CLUSTER", "BUMPEPOCH", step="raise")
    return int(said.split()[-1])


async def foremost(nodes: Nodes, target: Member, seen: View) -> None:
    """Give the target the highest epoch of all, and wait until its replicas have heard of it. Raises HostError.

    Commits do not raise an epoch that is the highest, so whoever is elected in its place has a higher one.
    """
    epoch = await higher(nodes, target)

    def heard(told: Told) -> bool:
        """Whether it would stand for election by a higher one."""
        return any(one.id == target.id and one.epoch >= epoch for one in told.members)

    await _until(nodes, target, seen, heard)


async def owning(nodes: Nodes, target: Member, seen: View) -> None:
    """Wait until its replicas have heard that the target has slots. Raises HostError."""
    await _until(nodes, target, seen, lambda told: bool(told.slots.get(target.id)))


async def emptiest(nodes: Nodes, source: Member, slots: Sequence[int]) -> int:
    """Of these slots the one with the fewest keys. Raises HostError."""
    words = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots]
    counts = await nodes.at(source.host, source.port).pipeline(words, step="look")
    return min(zip(counts, slots, strict=True), key=lambda pair: pair[0] if isinstance(pair[0], int) else 1 << 62)[1]


async def _until(nodes: Nodes, target: Member, seen: View, heard: Callable[[Told], bool]) -> None:
    end = asyncio.get_running_loop().time() + HEARD
    waiting = [one for one in seen.replicas(target.id) if one.alive]
    while waiting:
        told = await asyncio.gather(*(asked(nodes.at(one.host, one.port)) for one in waiting))
        waiting = [one for one, (said, _) in zip(waiting, told, strict=True) if not heard(said)]
        if waiting and asyncio.get_running_loop().time() > end:
            raise HostError(waiting[0].name, "raise", f"it does not hear from its master, {target.name}")
        if waiting:
            await asyncio.sleep(PAUSE)
