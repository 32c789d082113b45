"""Looking at a whole cluster: every node is asked at once, and those that do not answer are said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import structs

from sidestep.backends.redis_cluster.client import Node, Nodes
from sidestep.backends.redis_cluster.ranges import written
from sidestep.backends.redis_cluster.topology import Told, View, told, view
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError

#: seconds between two looks, and for which a cluster may take to agree
PAUSE: Final = 0.05
AGREE: Final = 30.0
#: commands that move slots atomically
ATOMIC: Final = ("CLUSTER|MIGRATESLOTS", "CLUSTER|MIGRATION")
Enough = Callable[[View], bool]


async def asked(node: Node) -> tuple[Told, bool]:
    """What one node says of its cluster. Raises HostError."""
    nodes, info = await node.pipeline([("CLUSTER", "NODES"), ("CLUSTER", "INFO")], step="look")
    if not isinstance(nodes, bytes) or not isinstance(info, bytes):
        raise HostError(node.name, "look", str(nodes), hint="is it a node of a cluster? (cluster-enabled yes)")
    said = told(nodes.decode("utf-8", "replace"))
    # a node that nobody has met does not know its own address
    members = [
        structs.replace(one, host=node.host) if one.id == said.me and not one.host else one for one in said.members
    ]
    return structs.replace(said, members=tuple(members)), b"cluster_state:ok" in info


async def atomic(nodes: Nodes, seen: View) -> str:
    """The command by which the masters could move slots by themselves, at once; "" where not all have it.

    Valkey 9 has ``CLUSTER MIGRATESLOTS``, Redis 8.4 ``CLUSTER MIGRATION``. It is told, not used. Raises HostError.
    """
    found: list[set[str]] = []
    for one in seen.masters:
        if one.alive:
            words = [("COMMAND", "INFO", name) for name in ATOMIC]
            answers = await nodes.at(one.host, one.port).pipeline(words, step="look")
            found.append({n for n, said in zip(ATOMIC, answers, strict=True) if isinstance(said, list) and any(said)})
    every = set.intersection(*found) if found else set()
    return next((name.replace("|", " ") for name in ATOMIC if name in every), "")


async def look(nodes: Nodes, seeds: Iterable[tuple[str, int]]) -> View:
    """The cluster that these addresses belong to; one that answers is enough. Raises HostError if none does."""
    heard: dict[str, tuple[Told, bool]] = {}
    silent: list[HostError] = []
    tried: set[tuple[str, int]] = set()
    waiting = list(seeds)
    while waiting:
        batch = [where for where in dict.fromkeys(waiting) if where not in tried]
        tried.update(batch)
        waiting = []
        for answer in await asyncio.gather(*(asked(nodes.at(*where)) for where in batch), return_exceptions=True):
            if isinstance(answer, HostUnreachable):
                silent.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                heard[answer[0].me] = answer
                waiting += [(one.host, one.port) for one in answer[0].members if one.host and not one.failed]
    if not heard:
        raise silent[0] if silent else SidestepError("no address of a node was given")
    return view(heard.values())


async def agreed(
    nodes: Nodes, seeds: Iterable[tuple[str, int]], seconds: float = AGREE, *, enough: Enough = lambda seen: False
) -> View:  # fmt: skip
    """A look at which the cluster is well and all nodes that are there agree on all slots. Raises SidestepError.

    Half-moved slots apart: a node that imports a slot takes nobody's word on who has it now. Or one that is ``enough``.
    """
    seeds = tuple(seeds)
    end = asyncio.get_running_loop().time() + seconds
    while True:
        last: View | None = None
        try:
            last = await look(nodes, seeds)
            if enough(last):
                return last
            doubtful = set(last.disputed) - {half.slot for half in last.halves}
            if last.ok and not doubtful and all(one.alive for one in last.masters if last.slots_of(one.id)):
                return last
        except HostUnreachable:
            if asyncio.get_running_loop().time() > end:
                raise
        if asyncio.get_running_loop().time() > end:
            raise SidestepError(
                f"the cluster has not come to agree within {seconds:g} s: {wrong(last) if last else 'no answer'}",
                hint="look at it: sidestep cluster show; what is half moved: sidestep cluster repair",
            )
        await asyncio.sleep(PAUSE)


def wrong(seen: View) -> str:
    """What is not as it should be, in words; "" if nothing is."""
    said: list[str] = []
    orphans = [slot for slot in range(len(seen.owners)) if seen.owners[slot] < 0]
    if orphans:
        said.append(f"slots {written(orphans)} have no owner")
    if seen.disputed:
        said.append(f"nodes differ on the owner of {written(seen.disputed)}")
    if seen.halves:
        said.append(f"slots {written(half.slot for half in seen.halves)} are half moved")
    said += [f"{one.name} is lost" for one in seen.members if one.failed]
    said += [f"{one.name} does not answer" for one in seen.members if not one.answers and not one.failed]
    if not seen.ok and not said:
        said.append("the nodes say that the cluster is down")
    return "; ".join(said)
