"""What is asked about an app as one thing on the daemon's socket, and the answer; part of ``protocol``."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class GetInstance(Struct, frozen=True, tag="get-instance", kw_only=True):
    """One app over all of its shards. Answered by InstanceView."""

    app: str


class InstanceShard(Struct, frozen=True, kw_only=True):
    """One shard. Cores and bytes; None is not known, a limit of 0 is none; ``trouble`` is "" while all is well."""

    shard: Label
    host: Label
    state: str
    host_state: str
    endpoint: str
    keys: tuple[int, int] | None
    cpu: float | None
    memory: float | None
    limit_cpu: float
    limit_memory: int
    state_bytes: float | None
    trouble: Label


class InstanceView(Struct, frozen=True, tag="instance", kw_only=True):
    """The app: ``status`` is "whole", "partial" or "down"; totals are over the shards that are known."""

    app: Label
    status: str
    shards: tuple[InstanceShard, ...]
    running: int
    hosts: tuple[Label, ...]
    endpoints: tuple[str, ...]
    cpu: float
    memory: float
    #: sums over the shards; 0 if any has no limit
    limit_cpu: float
    limit_memory: int
    state_bytes: float
