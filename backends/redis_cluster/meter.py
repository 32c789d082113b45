"""Every slot's demand for the processor, again and again: what a forecast of hot ranges is made from.

``counted`` by the node for each slot (Valkey 8 and later), else ``overheard``: the node's processor time divided
among slots as the commands of a moment are, else ``estimated``: divided by keys, which sees no hot key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from sidestep.backends.redis_cluster.balance import Demand
from sidestep.backends.redis_cluster.client import Node, Nodes
from sidestep.backends.redis_cluster.demand import cpu_seconds, slot_counters
from sidestep.backends.redis_cluster.ranges import SLOTS
from sidestep.backends.redis_cluster.tap import shares
from sidestep.backends.redis_cluster.topology import Member, View

#: commands that are overheard of a node at most
MOST: Final = 2000
#: of the newest moment in what is known of who asks for what
NEWEST: Final = 0.25
#: readings after which keys are counted again
RECOUNT: Final = 30
Source = Literal["counted", "overheard", "estimated"]


class Reading(Struct, frozen=True, kw_only=True):
    """One moment. ``cpu``: cores of every slot, float64[16384]; NaN where the node was not asked twice yet."""

    time: float
    cpu: Demand
    #: by the id of a master
    source: dict[str, Source]


class Meter:
    """Asks all masters; each reading is of the time since the one before. ``overhear``: seconds, 0 for never."""

    def __init__(self, nodes: Nodes, *, overhear: float = 0.0) -> None:
        self._nodes, self._overhear = nodes, overhear
        self._asked: dict[str, _Asked] = {}

    async def read(self, seen: View) -> Reading:
        """What the masters did since the last time. Raises HostError."""
        cpu = np.full(SLOTS, np.nan)
        masters = [one for one in seen.masters if one.alive and seen.slots_of(one.id)]
        for one in masters:
            if one.id not in self._asked:
                self._asked[one.id] = _Asked(self._nodes.at(one.host, one.port), one, self._nodes)
        readings = await asyncio.gather(
            *(self._asked[one.id].read(seen.slots_of(one.id), self._overhear) for one in masters)
        )
        source: dict[str, Source] = {}
        for one, found in zip(masters, readings, strict=True):
            slots = list(seen.slots_of(one.id))
            if found is not None:
                cpu[slots] = found[slots]
            source[one.id] = self._asked[one.id].source
        return Reading(time=asyncio.get_running_loop().time(), cpu=cpu, source=source)


class _Asked:
    """One master, and its counters of last time."""

    def __init__(self, node: Node, member: Member, nodes: Nodes) -> None:
        self._node, self._member = node, member
        self._tap = Node(member.host, member.port, nodes.access)
        self.source: Source = "estimated"
        self._at = 0.0
        self._cpu = 0.0
        self._stats: np.ndarray[tuple[int, int], np.dtype[np.float64]] | None = None
        self._shares: Demand | None = None
        self._keys: Demand = np.zeros(SLOTS)
        self._counts, self._age = True, 0

    async def read(self, slots: Sequence[int], overhear: float) -> Demand | None:
        """Cores by slot, of these that it has, since the last time; None the first time."""
        counted = await slot_counters(self._node, "meter") if self._counts else None
        self._counts = counted is not None
        info = await self._node.text("INFO", "cpu", step="meter")
        now, cpu = asyncio.get_running_loop().time(), cpu_seconds(info)
        seconds, spent = now - self._at, max(cpu - self._cpu, 0.0)
        before, first = self._stats, not self._at
        self._at, self._cpu, self._stats = now, cpu, counted
        if counted is not None:
            self.source = "counted"
            return None if first or before is None else np.maximum(counted[:, 0] - before[:, 0], 0.0) / 1e6 / seconds
        if overhear:
            await self._overhear(overhear)
        if first:
            return None
        return await self._divided(slots, ask=not overhear) * spent / seconds

    async def _overhear(self, seconds: float) -> None:
        """Learn who asks for what; the newest moment counts for a part, so that few commands are no noise."""
        newest = shares(await self._tap.overhear(seconds, MOST))
        if newest.any():
            self.source = "overheard"
            old = newest if self._shares is None else self._shares
            self._shares = old + NEWEST * (newest - old)

    async def _divided(self, slots: Sequence[int], *, ask: bool) -> Demand:
        """Each slot's part: as overheard; else by keys, if those may be asked for (now and then); else even."""
        if self._shares is not None:
            return self._shares
        if ask and self._age % RECOUNT == 0:
            answers = await self._node.pipeline([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots], step="meter")
            self._keys = np.zeros(SLOTS)
            self._keys[list(slots)] = [one if isinstance(one, int) else 0 for one in answers]
        self._age += ask
        total = float(self._keys.sum())
        if total > 0:
            return self._keys / total
        even = np.zeros(SLOTS)
        even[list(slots)] = 1.0 / max(1, len(slots))
        return even
