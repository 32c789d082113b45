"""Planned changes of who is master and who is whose replica. Each waits until the cluster agrees on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from sidestep.backends.redis_cluster.client import Nodes
from sidestep.backends.redis_cluster.look import PAUSE, look
from sidestep.backends.redis_cluster.topology import Member, View
from sidestep.fleet.errors import HostError, SidestepError, UsageError
from sidestep.fleet.labels import scrub

#: seconds in which a change has to be seen by all
DEADLINE: Final = 20.0


def named(seen: View, word: str) -> Member:
    """The member of that address, id, or beginning of an id. Raises UsageError."""
    found = [one for one in seen.members if one.name == word or (len(word) >= 4 and one.id.startswith(word))]
    if len(found) != 1:
        known = ", ".join(f"{one.name} ({one.id[:8]})" for one in seen.members)
        what = "more than one node" if found else "no node of this cluster"
        raise UsageError(f"{scrub(word)!r} is {what}", hint=f"one of {known}")
    return found[0]


async def failover(nodes: Nodes, seeds: Iterable[tuple[str, int]], replica: Member, seen: View) -> None:
    """Let a replica take its master's place, without a lost write. Raises SidestepError; a master already is done."""
    if replica.master:
        raise UsageError(f"{replica.name} is a master", hint="name the replica that is to take over")
    master = seen.by_id(replica.of)
    if master is None or not master.alive:
        raise SidestepError(f"the master of {replica.name} does not answer; the cluster chooses by itself then")
    node = nodes.at(replica.host, replica.port)
    info = await node.text("INFO", "replication", step="failover")
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    if fields.get("master_link_status") != "up":
        raise HostError(
            replica.name, "failover", "it is not connected to its master", hint="wait until it has copied everything"
        )
    await node.ask("CLUSTER", "FAILOVER", step="failover")
    await _until(nodes, seeds, lambda now: _is_master(now, replica.id), f"{replica.name} is not the master")


async def replicate(
    nodes: Nodes, seeds: Iterable[tuple[str, int]], replica: Member, master: Member, seen: View
) -> None:  # fmt: skip
    """Make a node the replica of a master, and wait for its copy. Its own is dropped. Raises SidestepError."""
    if replica.id == master.id or not master.master:
        raise UsageError(f"{master.name} is no other master", hint="name a master after --of")
    if replica.master and seen.slots_of(replica.id):
        raise UsageError(f"{replica.name} has slots", hint="move them away first: sidestep cluster move")
    if replica.of and len([one for one in seen.replicas(replica.of) if one.alive]) < 2:
        left = seen.by_id(replica.of)
        said = left.name if left else replica.of[:8]
        raise SidestepError(f"{said} would have no replica left", hint="give it another one first, or use --force")
    await attach(nodes, seeds, replica, master)


async def attach(nodes: Nodes, seeds: Iterable[tuple[str, int]], replica: Member, master: Member) -> None:
    """``replicate`` without asking what the old master is left with. Raises SidestepError."""
    node = nodes.at(replica.host, replica.port)
    await node.ask("CLUSTER", "REPLICATE", master.id, step="replicate")
    said = f"{replica.name} does not replicate {master.name}"
    await _until(nodes, seeds, lambda now: any(one.id == replica.id for one in now.replicas(master.id)), said)
    end = asyncio.get_running_loop().time() + DEADLINE
    while "master_link_status:up" not in await node.text("INFO", "replication", step="replicate"):
        if asyncio.get_running_loop().time() > end:
            raise HostError(replica.name, "replicate", "it has not copied its master's keys yet; it goes on")
        await asyncio.sleep(PAUSE)


def _is_master(seen: View, id: str) -> bool:
    one = seen.by_id(id)
    return one is not None and one.master and bool(seen.slots_of(id)) and not seen.disputed


async def _until(nodes: Nodes, seeds: Iterable[tuple[str, int]], check: object, otherwise: str) -> None:
    assert callable(check)
    end = asyncio.get_running_loop().time() + DEADLINE
    while not check(await look(nodes, seeds)):
        if asyncio.get_running_loop().time() > end:
            raise SidestepError(f"{otherwise} after {DEADLINE:g} s", hint="see: sidestep cluster show")
        await asyncio.sleep(PAUSE)
