"""What of a picture seldom changes, and is sent only when it does; part of ``protocol``. Needs msgspec only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sidestep.autopilot.protocol import SnapshotFrame

#: what seldom changes, and what stands for it on a subscription while it does not
TABLES: Final[Mapping[str, Any]] = {"hosts": (), "shards": (), "allocatable": b"", "shard_priority": b""}


def without_tables(frame: SnapshotFrame) -> SnapshotFrame:
    """The frame for a peer that has its tables."""
    return msgspec.structs.replace(frame, **TABLES)


def with_tables(frame: SnapshotFrame, known: SnapshotFrame | None) -> SnapshotFrame:
    """The frame with its tables: its own, or those of ``known`` if they have the same number."""
    if known is None or known.tables != frame.tables:
        return frame
    return msgspec.structs.replace(frame, **{name: getattr(known, name) for name in TABLES})
