"""What whoever runs shards has to know: a payload goes to any worker process, a result comes back, both bytes.

A worker calls ``run_shard(payload)`` and nothing else of ours; it needs this package and numpy. Payloads hold
the shard's own source (functions whose every call is on the allow-list; never the user's module) and live-ins
in the codec of ``sharding.codec``, which cannot carry code. Results hold no source at all. The coordinator
decides: it commits the shards' results in order, or runs the original loop when anything is not as it must be.
An executor may therefore run a payload twice, elsewhere, late or not at all: that costs time, never a result.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

#: changes when payloads of other versions cannot be understood
VERSION = 1
_HEAD = struct.Struct(">4sI")
_MAGIC = b"SdSh"
#: a header holds one function's source: far below this
_MAX_HEADER = 16 << 20


class BadPayload(ValueError):
    """These bytes are not a shard of this version."""


class ExecutorLost(Exception):
    """An executor could not run shards (a worker died, a deadline passed); the loop then runs where it is."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard of one loop: iterations ``first`` to ``last`` (not included) of a block.

    ``digest`` is the SHA-256 of ``source`` in hex: workers keep compiled sources by it. ``block`` is
    ``function:line`` of the loop. ``live`` is what the loop reads, encoded once for all shards of one loop.
    """

    digest: str
    source: str
    block: str
    live: bytes
    first: int
    last: int

    def payload(self) -> bytes:
        """The task as bytes; live-ins last and as they are, so they are copied once."""
        header = json.dumps(
            {"v": VERSION, "d": self.digest, "s": self.source, "b": self.block, "f": self.first, "l": self.last},
            separators=(",", ":"),
        ).encode()
        return b"".join((_HEAD.pack(_MAGIC, len(header)), header, self.live))

    @classmethod
    def of(cls, payload: bytes) -> ShardTask:
        """Read a payload; raises BadPayload for other bytes, versions, and sources that are not their digest's."""
        try:
            magic, size = _HEAD.unpack_from(payload)
            if magic != _MAGIC or size > _MAX_HEADER:
                raise BadPayload("not a shard's payload")
            said = json.loads(bytes(payload[_HEAD.size : _HEAD.size + size]))
            if said["v"] != VERSION:
                raise BadPayload(f"a shard's payload of version {said['v']}, not {VERSION}")
            task = cls(
                digest=str(said["d"]), source=str(said["s"]), block=str(said["b"]),
                live=payload[_HEAD.size + size :], first=int(said["f"]), last=int(said["l"]),
            )  # fmt: skip
        except (struct.error, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadPayload("not a shard's payload") from error
        if hashlib.sha256(task.source.encode()).hexdigest() != task.digest:
            raise BadPayload("the shard's source is not what its digest says")
        return task


def run_shard(payload: bytes) -> bytes:
    """Run one shard on a private copy of its live-ins and say what it wrote.

    What the shard's code raises is part of the result. Raises BadPayload for bytes that are no shard.
    """
    from sidestep.sharding.execute.worker import run_task  # noqa: PLC0415

    return run_task(ShardTask.of(payload))


@runtime_checkable
class Executor(Protocol):
    """Whatever runs payloads on some processes: local pipes, Dask workers, a test."""

    @property
    def workers(self) -> int:
        """How many payloads run at the same time."""

    def run(self, payloads: Sequence[bytes]) -> Sequence[bytes]:
        """Run all, answer in order; raises ExecutorLost when one of them cannot be run."""


@dataclass(frozen=True, slots=True)
class HostShare:
    """What a host has free for shards: ``cores`` as forecast (not nominal), ``speed`` relative to this machine."""

    name: str
    cores: float = 1.0
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Network:
    """What it costs to send: bytes a second, and seconds per round trip and shard."""

    bytes_per_s: float = 125e6
    latency_s: float = 1e-3


@dataclass(frozen=True, slots=True)
class ShardPolicy:
    """When to shard: predicted speed-up and unsharded seconds at least these; ``hysteresis`` is a share of both.

    What was sharded before stays sharded until it falls below ``(1 - hysteresis)`` of the limits.
    """

    min_speedup: float = 1.5
    min_seconds: float = 1.0
    hysteresis: float = 0.1


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a loop or a function is not sharded: a stable code (docs/sharding.md), the line, and a sentence."""

    code: str
    line: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call did: its result, loops that ran as shards, and why others ran where they are."""

    value: Any
    sharded: int = 0
    fallbacks: tuple[str, ...] = ()
    #: bytes sent and received
    sent: int = 0
    received: int = 0


class Plan(Protocol):
    """How a function would be sharded for given arguments and hosts; made by ``plan``, runs any number of times."""

    @property
    def function(self) -> str:
        """Its name."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks that would be sharded (``function:line``), none when it does not pay."""

    @property
    def score(self) -> float:
        """Shardability, 0 to 1."""

    @property
    def speedup(self) -> float:
        """Predicted; 1.0 when nothing is sharded."""

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What is not sharded and why."""

    def document(self) -> dict[str, Any]:
        """The plan as JSON values: the ShardGraph (sharding/graph.schema.json), score, cuts."""

    def run(self, executor: Executor, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Outcome:
        """Call the function with its chosen loops as shards; raises what the function raises."""


def plan(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    hosts: int | Sequence[HostShare] = 2,
    network: Network = Network(),
    policy: ShardPolicy = ShardPolicy(),
    profile: bool = True,
    force: bool = False,
) -> Plan:
    """Decide how to shard a function for arguments like these.

    ``profile`` runs it once on a copy of the arguments to measure. Without it, every loop begins where it is, and goes
    on as shards when its first turns and the sizes of what it reads say that this pays. ``force`` shards every loop
    that may be, whatever is predicted (tests, benchmarks).
    """
    from sidestep.sharding.execute.planned import make_plan  # noqa: PLC0415

    made: Plan = make_plan(
        function, args, dict(kwargs or {}), hosts=hosts, network=network, policy=policy, profile=profile, force=force
    )
    return made
