"""Requests about what shards may use."""

from __future__ import annotations

from msgspec import Struct


class ProposeResize(Struct, frozen=True, tag="propose-resize"):
    """An operator's own resize (docs/systemd.md). Answered by PlanView; still needs approval.

    Cores, bytes of memory, and bytes a second at the shard's disk; 0 is no limit, and -1 leaves one as it is.
    """

    shard: str
    cpu: float = -1.0
    memory: int = -1
    read: int = -1
    write: int = -1
    reason: str = ""
