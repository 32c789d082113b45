"""What tests of a real Redis Cluster share: keys in a few slots, a view, a move, and a check of every key."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.redis_client import Client  # noqa: E402
from scripts.rediscluster import PATH, Cluster, running  # noqa: E402
from sidestep.backends.redis_cluster.access import Access  # noqa: E402
from sidestep.backends.redis_cluster.client import Nodes  # noqa: E402
from sidestep.backends.redis_cluster.job import Job, Ledger  # noqa: E402
from sidestep.backends.redis_cluster.look import agreed  # noqa: E402
from sidestep.backends.redis_cluster.mover import Done, Mover  # noqa: E402
from sidestep.backends.redis_cluster.pace import Pace  # noqa: E402
from sidestep.backends.redis_cluster.ranges import slot_of  # noqa: E402
from sidestep.backends.redis_cluster.topology import View  # noqa: E402

__all__ = ["PATH", "Client", "Cluster", "check", "run", "running", "seeds", "seen", "written"]
#: slots that are moved, and keys in each
SLOTS, EACH = 6, 5


def seeds(cluster: Cluster) -> list[tuple[str, int]]:
    return [("127.0.0.1", server.port) for server in cluster.servers]


def seen(cluster: Cluster) -> View:
    async def run() -> View:
        nodes = Nodes(Access())
        try:
            return await agreed(nodes, seeds(cluster))
        finally:
            await nodes.aclose()

    return asyncio.run(run())


def written(cluster: Cluster, tag: str, value: str = "1") -> dict[bytes, bytes]:
    """Some keys in a few slots of the first master, written by a client."""
    client, names = Client(cluster.servers[0].port), (f"{tag}{index}".encode() for index in itertools.count())
    tags = itertools.islice((name for name in names if slot_of(name) < 1024), SLOTS)
    keys = [b"%d{%s}" % (index, tag) for tag in tags for index in range(EACH)]
    for key in keys:
        client.ask(b"SET", key, value.encode())
    return dict.fromkeys(keys, value.encode())


def check(cluster: Cluster, values: dict[bytes, bytes], target: str, slots: set[int], port: int) -> None:
    """Every key once, with its value, at the target; nothing half moved; all nodes agree."""
    now = seen(cluster)
    assert now.ok and not now.halves and not now.disputed
    assert {getattr(now.owner(slot), "id", None) for slot in slots} == {target}
    client = Client(port)
    assert {key: client.ask(b"GET", key) for key in values} == values
    ports = {server.port: at for at, server in enumerate(cluster.servers)}
    found = [key for one in now.masters if one.alive for key in cluster.ask(ports[one.port], "KEYS", "*")]
    assert sorted(key for key in found if key in values) == sorted(values)


async def run(cluster: Cluster, made: Job, folder: Path, **options: Any) -> Done:
    nodes = Nodes(Access())
    ledger = Ledger(folder, made)
    try:
        return await Mover(nodes, seeds(cluster), before=0.0, pace=Pace(slots=4), **options).run(made, ledger)
    finally:
        ledger.close()
        await nodes.aclose()
