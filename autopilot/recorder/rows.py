"""Rows of a recording: a picture of the fleet less what the row before already said. Pure.

Every ``KEY_EVERY``th row is a key: it says everything, so that a reader may begin there. Numbers of
use are kept to three digits, which makes them a third as long when they are compressed; recent use
(``past``) stands in keys only, since the rows themselves are the past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from sidestep.autopilot.protocol import PlanView, SnapshotFrame
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.events import Event
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import scrub

#: version of what is in a row; a reader refuses what is newer
VERSION: Final = 1
KEY_EVERY: Final = 60
#: columns of bytes, as in docs/protocol.md
COLUMNS: Final = (
    "allocatable", "shard_priority", "host_state", "use", "age", "shard_state", "shard_host", "shard_use",
    "shard_bytes", "past", "future", "risk", "quality", "trust",
)  # fmt: skip
_WORDS: Final = ("hosts", "shards", "reasons", "contention", "accounts")
_EMPTY: Final[Mapping[str, Any]] = {
    **dict.fromkeys(COLUMNS, b""), "hosts": (), "shards": (), "reasons": {}, "contention": (), "accounts": (),
}  # fmt: skip
#: columns that are kept to three digits: f4 with the last bits of the mantissa cleared
_ROUNDED: Final = {"use": 12, "shard_use": 12, "age": 14}
#: longest text of a recording that is shown
_LONGEST: Final = 2000
_DEEPEST: Final = 30


class BadRow(SidestepError):
    """A row of a recording cannot be understood."""


class Row(Struct, frozen=True, kw_only=True):
    """``frame`` without what is in ``same`` (as in the row before) and with plans that are news only.

    ``shown`` are the digests of all plans of the picture, newest first; ``policy`` is news likewise.
    """

    frame: SnapshotFrame
    key: bool
    same: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    policy: Policy | None = None
    version: int = VERSION


class Rows:
    """Makes rows of one segment; a new one begins with a key."""

    def __init__(self) -> None:
        self._before: SnapshotFrame | None = None
        self._policy: Policy | None = None
        self._since = 0
        self._known: dict[str, PlanView] = {}

    def row(self, frame: SnapshotFrame, policy: Policy | None = None) -> Row:
        """The next row."""
        frame = rounded(frame)
        before = None if self._since % KEY_EVERY == 0 else self._before
        key = before is None
        same = () if before is None else tuple(n for n in _EMPTY if n != "past" and _same(frame, before, n))
        left = {name: _EMPTY[name] for name in (*same, *(() if key else ("past",)))}
        news = tuple(item for item in frame.plans if key or self._known.get(item.digest) != item)
        row = Row(
            frame=msgspec.structs.replace(frame, **left, plans=news),
            key=key,
            same=same,
            shown=tuple(item.digest for item in frame.plans),
            policy=policy if key or policy != self._policy else None,
        )
        self._before, self._policy, self._since = frame, policy, self._since + 1
        self._known = {item.digest: item for item in frame.plans}
        return row


class Frames:
    """Makes whole pictures of rows again; ``past`` stays as it came, see ``recording``."""

    def __init__(self) -> None:
        self._before: SnapshotFrame | None = None
        self._known: dict[str, PlanView] = {}
        self.policy: Policy | None = None

    def frame(self, row: Row) -> SnapshotFrame:
        """The picture of the next row. Raises BadRow when a row before it is missing."""
        if row.key:
            self._known = {}
        elif self._before is None:
            raise BadRow("the recording begins in the middle")
        before = self._before
        if before is not None and not row.key:
            kept = {name: getattr(before, name) for name in row.same if name in _EMPTY}
            frame = msgspec.structs.replace(row.frame, **kept)
        else:
            frame = row.frame
        self._known.update({item.digest: item for item in row.frame.plans})
        plans = tuple(self._known[digest] for digest in row.shown if digest in self._known)
        self._known = {item.digest: item for item in plans}
        frame = msgspec.structs.replace(frame, plans=plans)
        self._before = frame
        self.policy = row.policy or self.policy
        return frame


def rounded(frame: SnapshotFrame) -> SnapshotFrame:
    """The frame with numbers of use to three digits."""
    given: dict[str, bytes] = {}
    for name, bits in _ROUNDED.items():
        values = np.frombuffer(getattr(frame, name), "<u4")
        half = np.uint32(1 << (bits - 1))
        mask = np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
        # all of the exponent set: NaN or infinite, whose bits stay
        odd = (values & np.uint32(0x7F800000)) == np.uint32(0x7F800000)
        given[name] = np.where(odd, values, (values + half) & mask).astype("<u4").tobytes()
    return msgspec.structs.replace(frame, **given)


def packed(row: Row) -> bytes:
    """The row as msgpack."""
    return msgspec.msgpack.encode(row)


def unpacked(data: bytes, columns: Mapping[str, bytes] = {}) -> Row:
    """A row of somebody's recording, every string of it scrubbed. Raises BadRow."""
    try:
        tree = harmless(msgspec.msgpack.decode(data))
        if tree["version"] > VERSION:
            raise BadRow(f"the recording is of version {tree['version']}, this program reads {VERSION}")
        tree["frame"].update(columns)
        return msgspec.convert(tree, Row)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BadRow(f"the recording holds what is no picture: {scrub(str(error))}") from error


def packed_events(events: Sequence[Event]) -> bytes:
    """Rows of the log as JSON."""
    return msgspec.json.encode(events)


def unpacked_events(data: bytes) -> tuple[Event, ...]:
    """Rows of somebody's log, every string of them scrubbed. Raises BadRow."""
    try:
        return msgspec.convert(harmless(msgspec.json.decode(data)), tuple[Event, ...])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadRow(f"the recording holds what is no log: {scrub(str(error))}") from error


def harmless(value: Any, depth: int = 0) -> Any:
    """Plain values with every string scrubbed, keys too. Raises BadRow when they are nested too deep."""
    if depth > _DEEPEST:
        raise BadRow("the recording is nested too deep")
    if isinstance(value, str):
        return scrub(value, _LONGEST)
    if isinstance(value, list):
        return [harmless(each, depth + 1) for each in value]
    if isinstance(value, dict):
        return {harmless(key, depth + 1): harmless(each, depth + 1) for key, each in value.items()}
    return value


def _same(frame: SnapshotFrame, before: SnapshotFrame, name: str) -> bool:
    one, other = getattr(frame, name), getattr(before, name)
    return one is other or bool(one == other)
