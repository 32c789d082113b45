"""Which capsules there are, and where their copies lie, as the journal keeps it.

A copy has its row before its first byte is written anywhere, and loses it after its last one is gone: whatever
a crash leaves on a host is in here, and the next round finishes it or removes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from sidestep.autopilot.journal_audit import AuditLedger
from sidestep.fleet.labels import Label

#: complete capsules that are kept of a shard
KEPT: Final = 2

#: being written (or never finished); read and right; read and wrong, or gone; on a host that is lost for now;
#: being removed
CopyState = Literal["coming", "good", "bad", "lost", "going"]


class Copy(Struct, frozen=True, kw_only=True):
    """One copy on one host; ``checked`` is the unix time at which it was last known to be as ``state`` says."""

    host: Label
    path: str
    state: CopyState
    checked: float


class Capsule(Struct, frozen=True, kw_only=True):
    """One capsule. ``complete`` once a quorum of copies was good; it stays so."""

    shard: Label
    seq: int
    token: int
    digest: str
    bytes: int
    taken: float
    complete: bool = False
    #: the process that it was taken of, and seconds that this stood still for it
    life: Label = Label("")
    paused: float = 0.0
    copies: tuple[Copy, ...] = ()

    def on(self, *states: CopyState) -> tuple[Label, ...]:
        """Hosts whose copy is in one of these states."""
        return tuple(copy.host for copy in self.copies if copy.state in states)

    def copy(self, host: str) -> Copy | None:
        """The copy on that host."""
        return next((copy for copy in self.copies if copy.host == host), None)

    @property
    def order(self) -> tuple[int, int]:
        """By which newer ones are told from older ones: a newer owner's is newer, whenever it was taken."""
        return self.token, self.seq


def retained(capsules: Iterable[Capsule]) -> tuple[Capsule, ...]:
    """Those of one shard's capsules that are kept, newest first; all others may go.

    The newest complete ones, and what was begun after them. And the newest of the process that served
    before this one: when a process was started anew with nothing, its predecessor's state is there.
    """
    every = sorted(capsules, key=lambda capsule: capsule.order, reverse=True)
    complete = [capsule for capsule in every if capsule.complete]
    keep = complete[:KEPT]
    before = [capsule for capsule in complete if capsule.life != complete[0].life]
    if before and before[0] not in keep:
        keep.append(before[0])
    begun = [capsule for capsule in every[:1] if not capsule.complete]
    return (*begun, *keep)


class CapsuleLedger(AuditLedger):
    """Every method that writes is durable when it returns, and raises JournalError. All may be repeated."""

    #: rows that were changed for capsules: they say nothing about who owns which shard
    capsule_changes = 0

    def capsules(self) -> tuple[Capsule, ...]:
        """Every capsule with its copies."""
        copies: dict[tuple[str, int], list[Copy]] = {}
        for row in self._rows("SELECT * FROM capsule_copy ORDER BY host"):
            fields = {name: row[name] for name in Copy.__struct_fields__}
            copies.setdefault((row["shard"], row["seq"]), []).append(msgspec.convert(fields, Copy))
        found = []
        for row in self._rows("SELECT * FROM capsule ORDER BY shard, seq"):
            fields = {name: row[name] for name in Capsule.__struct_fields__ if name != "copies"}
            fields["complete"] = bool(row["complete"])
            found.append(msgspec.convert(fields | {"copies": copies.get((row["shard"], row["seq"]), [])}, Capsule))
        return tuple(found)

    def put_capsules(self, capsules: Sequence[Capsule]) -> None:
        """Write these as they are now, with all their copies, in one transaction."""
        before = self._db.total_changes
        with self._transaction() as db:
            for capsule in capsules:
                fields = {name: getattr(capsule, name) for name in Capsule.__struct_fields__ if name != "copies"}
                changes = ", ".join(f"{name} = excluded.{name}" for name in fields if name not in ("shard", "seq"))
                db.execute(
                    f"INSERT INTO capsule ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})"  # noqa: S608 - our own names
                    f" ON CONFLICT (shard, seq) DO UPDATE SET {changes}",
                    tuple(fields.values()),
                )
                db.execute("DELETE FROM capsule_copy WHERE shard = ? AND seq = ?", (capsule.shard, capsule.seq))
                db.executemany(
                    "INSERT INTO capsule_copy (shard, seq, host, path, state, checked) VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (capsule.shard, capsule.seq, copy.host, copy.path, copy.state, copy.checked)
                        for copy in capsule.copies
                    ],
                )
        self.capsule_changes += self._db.total_changes - before

    def remove_capsules(self, shard: str, seqs: Collection[int]) -> None:
        """Forget these and their copies, which are gone."""
        before = self._db.total_changes
        with self._transaction() as db:
            for seq in seqs:
                db.execute("DELETE FROM capsule_copy WHERE shard = ? AND seq = ?", (shard, seq))
                db.execute("DELETE FROM capsule WHERE shard = ? AND seq = ?", (shard, seq))
        self.capsule_changes += self._db.total_changes - before
