"""A target that dies when only it knows that it has slots, and comes back empty after its replica took its place."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from slotted import PATH, Client, Cluster, check, run, running, seen, written

import sidestep.backends.redis_cluster.mover as mover
from sidestep.backends.redis_cluster.client import Node
from sidestep.backends.redis_cluster.job import Leg, job, unfinished
from sidestep.backends.redis_cluster.mover import inherited
from sidestep.backends.redis_cluster.ranges import slot_of

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server", path=PATH) is None, reason="NOT CHECKED: redis-server is not installed"
)
#: the target and its replica among servers; what nodes answer each other and tell of themselves; no such thing
TARGET, REPLICA, PONG, NOTHING = 1, 4, 1, -1
DEADLINE = 20.0


def deaf(cluster: Cluster, packet: int) -> None:
    """No node but the target takes packets of that kind."""
    for at in range(len(cluster.servers)):
        if at != TARGET:
            assert cluster.text(at, "DEBUG", "DROP-CLUSTER-PACKET-FILTER", packet) == "OK"


def owned(cluster: Cluster, at: int, id: str) -> set[str]:
    """What a node says of the slots of another: words of ``CLUSTER NODES``."""
    line = next(line for line in cluster.text(at, "CLUSTER", "NODES").splitlines() if line.startswith(id))
    return set(line.split()[8:])


def back(cluster: Cluster) -> None:
    """Start the target once its replica has taken its place."""
    end = time.monotonic() + DEADLINE
    while "myself,master" not in cluster.text(REPLICA, "CLUSTER", "NODES") and time.monotonic() < end:
        pass
    cluster.servers[TARGET].start()


@pytest.mark.parametrize("shares", [(5461, 5462, 5461), (8192, 0, 8192)], ids=["among others", "its first slots"])
def test_slots_taken_unheard_by_a_master_that_dies_and_comes_back_empty_keep_their_keys(
    shares: Sequence[int], tmp_path: Path
) -> None:
    """Also the keys that the target had before; one without slots gets an empty one first, and is waited for."""
    with running(3, 1, timeout=1000, shares=shares, options=("--enable-debug-command", "yes")) as cluster:
        ids = [cluster.text(at, "CLUSTER", "MYID") for at in range(3)]
        values = written(cluster, "l")
        slots = {slot_of(key) for key in values}
        moved = {*slots, next(slot for slot in range(1024) if slot not in slots)}
        client, before = Client(cluster.servers[0].port), dict[bytes, bytes]()
        for key in (b"b%d" % index for index in range(300)):
            if slot_of(key) not in moved:
                before[key] = b"1"
                client.ask(b"SET", key, b"1")

        class Unheard(Node):
            thread: threading.Thread | None = None

            async def _write(self, commands: Any, step: str) -> Any:
                taken = {int(words[2]) for words in commands if "NODE" in words} if step == "commit" else set()
                if Unheard.thread or not taken & slots:
                    return await super()._write(commands, step)
                known = owned(cluster, REPLICA, ids[TARGET])
                deaf(cluster, PONG)
                answers = await super()._write(commands, step)
                cluster.servers[TARGET].kill()
                deaf(cluster, NOTHING)
                assert owned(cluster, REPLICA, ids[TARGET]) == known
                Unheard.thread = threading.Thread(target=back, args=(cluster,))
                Unheard.thread.start()
                return answers

        made = job(inherited([Leg(ids[0], ids[TARGET], tuple(sorted(moved)))], seen(cluster)), "test")
        node, mover.Node = mover.Node, Unheard  # type: ignore[misc]
        try:
            done = asyncio.run(run(cluster, made, tmp_path))
        finally:
            mover.Node = node  # type: ignore[misc]
            assert Unheard.thread is not None
            Unheard.thread.join()
        assert done.interrupted >= 1 and unfinished(tmp_path) == ()
        check(cluster, values, ids[TARGET], slots, cluster.servers[2].port)
        client = Client(cluster.servers[2].port)
        assert {key: client.ask(b"GET", key) for key in before} == before
