"""Slots that somebody left half moved: finished where they were meant to go, or as if nothing had been begun.

What is known for certain decides. A target that is there and has keys of the slot gets the rest of them; what was
only marked, by nobody whose intent we know, is unmarked; and where the target is lost for good the source keeps the
slot. Going back with keys at the target would hide them from clients for a while, so it goes forward first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from sidestep.backends.redis_cluster.carry import Carrier, Tally
from sidestep.backends.redis_cluster.client import Nodes, Word
from sidestep.backends.redis_cluster.known import foremost
from sidestep.backends.redis_cluster.look import PAUSE, agreed, asked, look
from sidestep.backends.redis_cluster.topology import NOBODY, Member, View
from sidestep.fleet.errors import HostError, SidestepError

#: seconds in which a node hears of another one, which has told it at once
HEARD: Final = 5.0
#: where slots of unfinished jobs are to be: ids, the first that is there counts
Intents = Mapping[int, tuple[str, ...]]


class Fix(Struct, frozen=True):
    """What becomes of one slot: ``finish`` to the member ``to``, ``claim`` (nobody has it) for it, ``clear`` marks.

    ``route``: who has it is lost, and its heir ``to`` does not know of it; ``owner`` takes it to send it there.
    """

    slot: int
    what: Literal["finish", "claim", "clear", "gather", "route"]
    #: ids
    owner: str
    to: str
    why: str


def decide(seen: View, intents: Intents, keys: Mapping[tuple[int, str], int]) -> tuple[Fix, ...]:
    """What to do about each half-moved slot. ``intents``: targets of unfinished jobs; ``keys`` by slot and id. Pure."""
    found: list[Fix] = []
    lost = _lost(seen, intents)
    orphans = {s for s in {*intents, *(slot for slot, _ in keys)} if seen.owner(s) is None}
    parted = _parted(seen, intents)
    slots = sorted({half.slot for half in seen.halves} | orphans | set(lost) | set(seen.disowned) | set(parted))
    for slot in slots:
        owner = seen.owner(slot)
        halves = [half for half in seen.halves if half.slot == slot]
        target = _target(seen, slot, owner, intents, keys)
        if owner is None:
            if target is not None:
                found.append(Fix(slot, "claim", "", target.id, "nobody has it"))
            continue
        if slot in seen.disowned:
            found.append(Fix(slot, "claim", "", owner.id, "it does not know that it has it"))
            continue
        if slot in lost:
            why = "its owner was lost before its replica had heard of it"
            way = _way(seen, owner, lost[slot])
            found.append(Fix(slot, "route" if way else "claim", way, lost[slot].id, why))
            continue
        if not halves:
            why = "they were copied from its owner, which came back after a replica took its place"
            found += [Fix(slot, "gather", at, owner.id, why) for at in parted[slot] if keys.get((slot, at), 0)]
            continue
        strays = [
            half.at for half in halves
            if half.way == "importing" and half.at != owner.id and (target is None or half.at != target.id)
            and keys.get((slot, half.at), 0)
        ]  # fmt: skip
        if target is None or target.id == owner.id:
            last = Fix(slot, "clear", owner.id, owner.id, "its owner has it")
        elif slot in intents or keys.get((slot, target.id), 0):
            last = Fix(slot, "finish", owner.id, target.id, "it was on its way")
        else:
            last = Fix(slot, "clear", owner.id, owner.id, "no key of it was moved")
        # to whoever has the slot then: it is finished before
        found += [*(Fix(slot, "gather", at, last.to, "keys of it are there") for at in strays), last]
    return tuple(found)


def _lost(seen: View, intents: Intents) -> dict[int, Member]:
    """Slots that a move gave to a master that is lost, and whoever took its place without having heard of them."""
    found: dict[int, Member] = {}
    for slot, ids in intents.items():
        owner, heir = seen.owner(slot), seen.heir(*ids)
        if owner is not None and not owner.alive and owner.id in ids and heir is not None:
            found[slot] = heir
    return found


def _parted(seen: View, intents: Intents) -> dict[int, tuple[str, ...]]:
    """Slots of a move whose owner is the target or its heir, while another of these is a master, too; by id.

    A target that was killed when only it knew that it has them, and started again after its replica was promoted
    without them, comes back as their owner, and maybe as an empty one: the copy is with the replica.
    """
    both = {
        ids: tuple(id for id in ids if (one := seen.by_id(id)) is not None and one.master and one.alive)
        for ids in set(intents.values())
    }
    found: dict[int, tuple[str, ...]] = {}
    for slot, ids in intents.items():
        owner = seen.owner(slot)
        if owner is not None and owner.alive and owner.id in ids and len(both[ids]) > 1:
            found[slot] = tuple(id for id in both[ids] if id != owner.id)
    return found


def _way(seen: View, owner: Member, heir: Member) -> str:
    """A living master that is neither: its id, or "" without one."""
    ids = (one.id for one in seen.masters if one.alive and one.id not in {owner.id, heir.id} and seen.slots_of(one.id))
    return next(ids, "")


def _target(
    seen: View, slot: int, owner: Member | None, intents: Intents, keys: Mapping[tuple[int, str], int]
) -> Member | None:
    """Where the slot was going: as a job says, as its owner says, else to the importing node with most keys."""
    wanted = list(intents.get(slot, ()))
    halves = [half for half in seen.halves if half.slot == slot]
    wanted += [half.peer for half in halves if half.way == "migrating" and owner is not None and half.at == owner.id]
    importing = [half.at for half in halves if half.way == "importing"]
    # whoever took the place of a lost target has its keys, and no mark
    others = importing + [one.id for one in seen.masters if keys.get((slot, one.id), 0)]
    mine = owner.id if owner is not None else ""
    wanted += sorted((id for id in others if id != mine), key=lambda id: -keys.get((slot, id), 0))
    return next((heir for id in wanted if (heir := seen.heir(id)) is not None), None)


async def counted(nodes: Nodes, seen: View, slots: Iterable[int]) -> dict[tuple[int, str], int]:
    """How many keys of these slots every living master has, by slot and id; none where there are none."""
    asked = sorted(set(slots))
    found: dict[tuple[int, str], int] = {}
    for one in seen.masters:
        if one.alive and asked:
            commands = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in asked]
            answers = await nodes.at(one.host, one.port).pipeline(commands, step="repair")
            found.update({(s, one.id): n for s, n in zip(asked, answers, strict=True) if isinstance(n, int) and n})
    return found


async def plan(nodes: Nodes, seen: View, intents: Intents) -> tuple[Fix, ...]:
    """``decide`` with the keys counted on the nodes."""
    slots = [*(half.slot for half in seen.halves), *_orphans(seen), *_parted(seen, intents)]
    keys = await counted(nodes, seen, slots)
    return decide(seen, intents, keys)


async def settle(nodes: Nodes, seeds: Iterable[tuple[str, int]], intents: Intents, *, seconds: float = 30.0) -> View:
    """Put right what is half moved, as ``intents`` say, and return a view in which nothing is. Raises SidestepError."""
    seeds = tuple(seeds)
    for last in (False, False, False, True):
        seen = await _calm(nodes, seeds, intents, seconds)
        fixes = await plan(nodes, seen, intents)
        if not fixes:
            return seen
        try:
            await apply(nodes, seen, fixes)
        except HostError:  # gone, or of another mind since we looked
            if last:
                raise
    seen = await agreed(nodes, seeds, seconds)
    if seen.halves:
        slots = sorted({half.slot for half in seen.halves})
        raise SidestepError(f"{len(slots)} slots stay half moved, the first is {slots[0]}", hint="is somebody at it?")
    return seen


async def _calm(
    nodes: Nodes, seeds: Iterable[tuple[str, int]], intents: Intents, seconds: float
) -> View:  # fmt: skip
    """An agreed view; or one in which slots have no owner, or a lost one, that a job can give one."""

    def lost(seen: View) -> bool:
        """Whether nothing else is without a living owner."""
        found = _lost(seen, intents)
        dead = {at for at, one in enumerate(seen.masters) if not one.alive}
        return bool(found) and {s for s, at in enumerate(seen.owners.tolist()) if at in dead or at < 0} <= set(found)

    try:
        return await agreed(nodes, seeds, seconds, enough=lost)
    except SidestepError:
        seen = await look(nodes, seeds)
        orphans = {*_orphans(seen), *seen.disputed}
        if orphans and orphans <= {fix.slot for fix in await plan(nodes, seen, intents) if fix.what == "claim"}:
            return seen
        raise


def _orphans(seen: View) -> list[int]:
    """Slots that nobody has."""
    return np.flatnonzero(seen.owners == NOBODY).tolist()


async def apply(nodes: Nodes, seen: View, fixes: Iterable[Fix]) -> Tally:
    """Do what was decided. Raises HostError."""
    tally = Tally()
    fixes = tuple(fixes)
    for kind in ("claim", "route", "finish", "gather", "clear"):
        groups: dict[tuple[str, str], list[int]] = {}
        for fix in fixes:
            if fix.what == kind:
                groups.setdefault((fix.owner, fix.to), []).append(fix.slot)
        for (owner, to), slots in groups.items():
            if kind == "claim":
                await _claim(nodes, seen, to, slots)
            elif kind == "route":
                await _route(nodes, seen, owner, to, slots)
            elif kind == "clear":
                await _clear(nodes, seen, to, slots)
            elif kind == "finish":
                await _finish(nodes, seen, owner, to, slots, tally)
            else:
                await _gather(nodes, seen, owner, to, slots)
    return tally


async def _finish(nodes: Nodes, seen: View, owner: str, to: str, slots: list[int], tally: Tally) -> None:
    ends = member(seen, owner), member(seen, to)
    source, target = (nodes.at(one.host, one.port) for one in ends)
    carrier = Carrier(source, target, ends, lambda *_: None, slice=0.005, replicas=len(seen.replicas(to)))
    # a target that still imports from a lost node holds the cluster for down, whatever others tell it
    marks = (("STABLE",), ("NODE", owner), ("IMPORTING", owner))
    words: list[tuple[Word, ...]] = [("CLUSTER", "SETSLOT", slot, *mark) for slot in slots for mark in marks]
    await target.together(words, step="repair")
    await foremost(nodes, ends[1], seen)
    await carrier.run(slots, tally)


async def _claim(nodes: Nodes, seen: View, to: str, slots: list[int]) -> None:
    """The heir of the target takes slots that died with their announcement."""
    first = member(seen, to)
    await _everywhere(nodes, seen, first, [("CLUSTER", "SETSLOT", slot, "NODE", to) for slot in slots])


async def _route(nodes: Nodes, seen: View, by: str, heir: str, slots: list[int]) -> None:
    """A living master takes slots of a lost one, and sends clients on to the heir that has their keys.

    The heir cannot just claim them: a replica of Redis 7 that heard their former owner let go of them, and nobody
    take them, keeps to itself that they are free, gives them to the lost master when it comes back, and drops the
    keys. It forgets that when it hears that another one has them, so that is waited for.
    """
    to = member(seen, heir)
    other = nodes.at(to.host, to.port)
    said = (await asked(other))[0].slots
    believed = {id for id, parts in said.items() for part in parts for slot in slots if part.first <= slot <= part.last}
    others = (one.id for one in seen.masters if one.alive and one.id not in {*believed, heir} and seen.slots_of(one.id))
    by = next(others, by)
    way = member(seen, by)
    node = nodes.at(way.host, way.port)
    taken = [("CLUSTER", "SETSLOT", slot, "NODE", by) for slot in slots]
    send = [("CLUSTER", "SETSLOT", slot, "MIGRATING", heir) for slot in slots]
    told = ("CLUSTER", "SETSLOT", slots[-1], "IMPORTING", heir)  # so that it raises its epoch and tells all
    free = [("CLUSTER", "SETSLOT", slot, "STABLE") for slot in slots]
    await node.together([*free, *taken[:-1], told, taken[-1], *send], step="repair")
    epoch = (await asked(node))[0]
    mine = next(one.epoch for one in epoch.members if one.id == by)
    end = asyncio.get_running_loop().time() + HEARD
    while asyncio.get_running_loop().time() < end:
        if any(one.id == by and one.epoch >= mine for one in (await asked(other))[0].members):
            break
        await asyncio.sleep(PAUSE)
    # not before: it takes nobody's word about slots that it imports
    await other.pipeline([("CLUSTER", "SETSLOT", slot, "IMPORTING", by) for slot in slots], step="repair")


async def _clear(nodes: Nodes, seen: View, owner: str, slots: list[int]) -> None:
    """Unmark; whoever marked them hears who the owner is."""
    for half in seen.halves:
        one = seen.by_id(half.at)
        if half.slot in slots and one is not None and one.alive and one.master:
            node = nodes.at(one.host, one.port)
            stable = ("CLUSTER", "SETSLOT", half.slot, "STABLE")
            tell = ("CLUSTER", "SETSLOT", half.slot, "NODE", owner)
            # a former owner that still has keys refuses to be told; it drops them when it hears of the new one
            await node.pipeline([stable] if half.at == owner else [stable, tell], step="repair")


async def _gather(nodes: Nodes, seen: View, at: str, owner: str, slots: list[int]) -> None:
    """Bring keys that are nowhere else to their owner; where both have one, the owner's is newer and stays."""
    from_, to = member(seen, at), member(seen, owner)
    node = nodes.at(from_.host, from_.port)
    ends = (from_, to)
    carrier = Carrier(node, nodes.at(to.host, to.port), ends, lambda *_: None, slice=0.005, replicas=0)
    for slot in slots:
        # a node moves keys of slots that are not its own only while these are marked
        await node.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", owner, step="repair")
        await carrier.bring(slot)
        await node.ask("CLUSTER", "SETSLOT", slot, "STABLE", step="repair")


async def _everywhere(nodes: Nodes, seen: View, first: Member, commands: list[tuple[str | int, ...]]) -> None:
    order = sorted((one for one in seen.masters if one.alive), key=lambda one: one.id != first.id)
    for one in order:
        await nodes.at(one.host, one.port).pipeline(commands, step="repair")


def member(seen: View, id: str) -> Member:
    """The member of that id. Raises HostError."""
    one = seen.by_id(id)
    if one is None:
        raise HostError(id[:8], "repair", "the cluster does not know this node any more")
    return one
