"""Requests about the keys of shards."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ProposeReshard(Struct, frozen=True, tag="propose-reshard"):
    """An operator's own split or merge (docs/routing.md). Answered by PlanView; still needs approval.

    ``spare``, ``destination`` and ``at`` (first key that goes, -1 for the middle) may be left to sidestep.
    """

    kind: Literal["split", "merge"]
    shard: str
    spare: str = ""
    destination: str = ""
    at: int = -1
    reason: str = ""
