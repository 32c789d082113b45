"""Shards of a block's loops at other workers of the same cluster, straight from worker to worker.

The block's own host takes part. Whatever goes wrong is one answer, an error; the block then runs
its loop where it is, so that a lost worker costs time and never a result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from sidestep.backends.functions import blocks

#: seconds between two looks whether the workers are still there
_LOOK: Final = 1.0


class Peers:
    """The workers that a block may use: addresses, and the cores that are free there."""

    def __init__(self, peers: Sequence[tuple[str, float]]) -> None:
        self._peers = peers

    def run(self, payloads: Sequence[bytes]) -> blocks.ShardsDone:
        """Run payloads side by side, the first of them here; results in order, or an error."""
        try:
            return blocks.ShardsDone(results=tuple(self._run(payloads)))
        except Exception as error:  # noqa: BLE001 - the block goes on by itself whatever it was
            return blocks.ShardsDone(error=f"{type(error).__name__}: {error}"[:500])

    def _run(self, payloads: Sequence[bytes]) -> list[bytes]:
        from distributed import get_client, get_worker  # noqa: PLC0415 - in a worker's task only

        from sidestep.backends.functions.tasks import shard, task  # noqa: PLC0415 - tasks needs Peers

        client: Any = get_client()
        here: str = get_worker().address
        alive = client.nthreads()
        near: list[str] = [here, *(address for address, _ in self._peers if address in alive and address != here)]
        places = [near[index % len(near)] for index in range(len(payloads))]
        futures: dict[int, Any] = {}
        for index, (payload, place) in enumerate(zip(payloads, places, strict=True)):
            if place != here:
                body = msgspec.msgpack.encode(("shard", payload))
                there = client.scatter(body, workers=[place], direct=True, hash=False)
                futures[index] = client.submit(task, there, workers=[place], allow_other_workers=False, pure=False)
        with ThreadPoolExecutor(max_workers=len(payloads)) as pool:
            mine = {i: pool.submit(shard, payloads[i]) for i, place in enumerate(places) if place == here}
            results = {index: job.result() for index, job in mine.items()}
        for index, future in futures.items():
            results[index] = _opened(_waited(client, future, places[index]))
        return [results[index] for index in range(len(payloads))]


def _waited(client: Any, future: Any, place: str) -> bytes:
    looked = time.monotonic()
    while not future.done():
        if time.monotonic() - looked > _LOOK:
            looked = time.monotonic()
            if place not in client.nthreads():
                raise ConnectionError(f"worker {place} is lost")
        time.sleep(0.001)
    result: bytes = future.result()
    return result


def _opened(answer: bytes) -> bytes:
    said = msgspec.msgpack.decode(answer)
    if "error" in said:
        raise RuntimeError(said["error"])
    result: bytes = said["ok"]
    return result
