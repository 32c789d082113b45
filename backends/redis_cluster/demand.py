"""How much every slot is asked of: as the nodes count it where they can, else estimated, and it is said which.

Valkey 8 and later count keys, CPU and bytes of the network of each slot (``CLUSTER SLOT-STATS``, with
``cluster-slot-stats-enabled``). Other nodes know keys only: bytes come from the sizes of sampled keys, and a node's
CPU is divided among its slots by their keys. That is an estimate: it does not see a single hot key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from sidestep.backends.redis_cluster.balance import Demand
from sidestep.backends.redis_cluster.client import Answer, Node, Nodes, Refusal
from sidestep.backends.redis_cluster.ranges import SLOTS
from sidestep.backends.redis_cluster.topology import Member, View

#: seconds between the two counts that CPU and network come from
APART: Final = 1.0
#: keys of a node whose sizes are asked for
SAMPLE: Final = 64
#: slots whose counters are asked for at once
AT_ONCE: Final = 512
Source = Literal["counted", "estimated"]


class SlotDemand(Struct, frozen=True, kw_only=True):
    """Every slot's demand, float64[16384] each: keys, bytes of memory, cores, bytes a second over the network."""

    keys: Demand
    bytes: Demand
    cpu: Demand
    #: zero where it is not known
    network: Demand
    #: where cpu and network come from, by the id of a master
    source: dict[str, Source]


async def measured(nodes: Nodes, seen: View, *, apart: float = APART, seed: int = 0) -> SlotDemand:
    """Ask all masters, twice, some seconds apart. Raises HostError."""
    found = SlotDemand(
        keys=np.zeros(SLOTS), bytes=np.zeros(SLOTS), cpu=np.zeros(SLOTS), network=np.zeros(SLOTS), source={}
    )
    masters = [one for one in seen.masters if one.alive and seen.slots_of(one.id)]
    asked = [_Asked(nodes.at(one.host, one.port), one, seen.slots_of(one.id)) for one in masters]
    await asyncio.gather(*(one.first(found, random.Random(seed)) for one in asked))  # noqa: S311 - a sample of keys
    await asyncio.sleep(apart)
    await asyncio.gather(*(one.second(found) for one in asked))
    return found


class _Asked:
    """One master: what it said first, and what it says then."""

    def __init__(self, node: Node, member: Member, slots: Sequence[int]) -> None:
        self._node, self._member, self._slots = node, member, list(slots)
        self._began = 0.0
        self._cpu = 0.0
        self._stats: np.ndarray[tuple[int, int], np.dtype[np.float64]] | None = None

    async def first(self, found: SlotDemand, chance: random.Random) -> None:
        """Keys, sizes, and where counters begin."""
        commands = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in self._slots]
        answers = await self._node.pipeline(commands, step="demand")
        found.keys[self._slots] = [count if isinstance(count, int) else 0 for count in answers]
        found.bytes[self._slots] = found.keys[self._slots] * await self._size(found, chance)
        self._began = asyncio.get_running_loop().time()
        self._stats, self._cpu = await self._counters()

    async def second(self, found: SlotDemand) -> None:
        """Rates since."""
        stats, cpu = await self._counters()
        seconds = max(asyncio.get_running_loop().time() - self._began, 1e-3)
        if stats is not None and self._stats is not None:
            rates = np.maximum(stats - self._stats, 0.0) / seconds
            found.cpu[self._slots] = rates[self._slots, 0] / 1e6
            found.network[self._slots] = rates[self._slots, 1]
            found.source[self._member.id] = "counted"
            return
        keys = found.keys[self._slots]
        shares = keys / keys.sum() if keys.sum() > 0 else np.full(len(self._slots), 1 / len(self._slots))
        found.cpu[self._slots] = shares * max(cpu - self._cpu, 0.0) / seconds
        found.source[self._member.id] = "estimated"

    async def _size(self, found: SlotDemand, chance: random.Random) -> float:
        """The mean size of a sample of keys, one each of slots drawn by how many keys they have."""
        keys = found.keys[self._slots]
        if not keys.sum() > 0:
            return 0.0
        drawn = chance.choices(self._slots, weights=keys.tolist(), k=SAMPLE)
        answers = await self._node.pipeline([("CLUSTER", "GETKEYSINSLOT", s, 1) for s in drawn], step="demand")
        sample = [answer[0] for answer in answers if isinstance(answer, list) and answer]
        sizes = await self._node.pipeline([("MEMORY", "USAGE", key) for key in sample], step="demand") if sample else []
        known = [size for size in sizes if isinstance(size, int)]
        return sum(known) / len(known) if known else 0.0

    async def _counters(self) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]] | None, float]:
        """Per slot CPU microseconds and network bytes, where the node counts them; and CPU seconds of the node."""
        stats = await slot_counters(self._node, "demand")
        info = await self._node.text("INFO", "cpu", step="demand")
        return stats, cpu_seconds(info)


async def slot_counters(node: Node, step: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    """``slot_stats`` of all slots of a node, some at a time, so that it does not keep its clients waiting for long."""
    found = np.zeros((SLOTS, 2))
    for begin in range(0, SLOTS, AT_ONCE):
        (answer,) = await node.pipeline(
            [("CLUSTER", "SLOT-STATS", "SLOTSRANGE", begin, begin + AT_ONCE - 1)], step=step
        )
        some = slot_stats(answer)
        if some is None and answer != []:
            return None  # it does not count, or not that
        found += 0.0 if some is None else some
    return found


def slot_stats(answer: Answer) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    """float64[16384, 2] of ``CLUSTER SLOT-STATS``: CPU microseconds, network bytes; None where CPU is not counted."""
    if isinstance(answer, Refusal) or not isinstance(answer, list):
        return None
    found = np.zeros((SLOTS, 2))
    counts = False
    for entry in answer:
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], list):
            return None
        slot, words = entry
        figures = {
            bytes(name): value for name, value in zip(words[::2], words[1::2], strict=False) if isinstance(name, bytes)
        }
        counts = counts or b"cpu-usec" in figures
        if isinstance(slot, int) and 0 <= slot < SLOTS:
            network = figures.get(b"network-bytes-in", 0) + figures.get(b"network-bytes-out", 0)
            found[slot] = figures.get(b"cpu-usec", 0), network
    return found if counts else None


def cpu_seconds(info: str) -> float:
    """User and system CPU of the node in ``INFO cpu``, without its children."""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    try:
        return float(fields.get("used_cpu_user", 0)) + float(fields.get("used_cpu_sys", 0))
    except ValueError:
        return 0.0
