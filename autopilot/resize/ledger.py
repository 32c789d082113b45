"""What shards were resized to, as the journal keeps it: the commit of ``resize``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from sidestep.autopilot.journal_owners import OwnerLedger
from sidestep.backends.base import Sizes, StepResult
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, StepName
from sidestep.fleet.placement import PlacementConflict
from sidestep.fleet.plans import Limits
from sidestep.fleet.resources import show_size


class ResizeLedger(OwnerLedger):
    """Every method that writes is durable when it returns.

    A row holds as long as the fleet file declares what it declared then: who changes the file has the last word.
    """

    def sizes(self, shard: ShardSpec) -> Sizes | None:
        """What the shard was resized to; None if it was not, or if its declaration has changed since."""
        found = self._rows("SELECT * FROM shard_size WHERE shard = ?", shard.name)
        if not found or not _holds(found[0], shard):
            return None
        row = found[0]
        return Sizes(cpu=row["cpu"], memory=row["memory"], read=row["read"], write=row["write"])

    def sized(self, fleet: FleetSpec) -> FleetSpec:
        """The fleet with the limits that its shards have now."""
        rows = {row["shard"]: row for row in self._rows("SELECT * FROM shard_size")}
        if not rows:
            return fleet
        return replace(fleet, shards=tuple(_now(shard, rows) for shard in fleet.shards))

    def commit_resize(self, *, digest: str, action: int, shard: ShardSpec, sizes: Sizes, expected_token: int) -> None:
        """The commit point of ``resize``: from now on the shard starts with these limits, wherever it is.

        Doing it again for the same action changes nothing. The owner keeps its token. Raises PlacementConflict
        if that is not ``expected_token`` any more, or if the action is being taken back.
        """
        with self._transaction() as db:
            if self.committed(digest, action):
                return
            row = self._committing(digest, action)
            owner = self.placement().owners.get(shard.name)
            if row["shard"] != shard.name or owner is None or owner.token != expected_token:
                raise PlacementConflict(f"{shard.name} has another owner than when its action began")
            before = self.sizes(shard) or Sizes()
            db.execute(
                "INSERT OR REPLACE INTO shard_size VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    shard.name, sizes.cpu, sizes.memory, shard.limit_cpu, shard.limit_memory,
                    before.read if sizes.read is None else sizes.read,
                    before.write if sizes.write is None else sizes.write,
                    shard.limit_read, shard.limit_write,
                ),
            )  # fmt: skip
            self.begin_step(digest, action, StepName.COMMIT)
            self.set_action(digest, action, ActionState.COMMITTED)
            detail = scrub(f"{shard.name} on {owner.host}: {in_words(sizes)}")
            self.end_step(digest, action, StepName.COMMIT, StepResult(detail=detail), ms=0.0)


def _now(shard: ShardSpec, rows: Mapping[str, Any]) -> ShardSpec:
    row = rows.get(shard.name)
    if row is None or not _holds(row, shard):
        return shard
    read, write = (row["read"], row["write"])
    return replace(
        shard, limit_cpu=float(row["cpu"]), limit_memory=int(row["memory"]),
        limit_read=shard.limit_read if read is None else int(read),
        limit_write=shard.limit_write if write is None else int(write),
    )  # fmt: skip


def _holds(row: Any, shard: ShardSpec) -> bool:
    """Whether what it was resized to still counts; rows of before know nothing of its disk."""
    return (
        (row["declared_cpu"], row["declared_memory"]) == (shard.limit_cpu, shard.limit_memory)
        and row["declared_read"] in (None, shard.limit_read)
        and row["declared_write"] in (None, shard.limit_write)
    )


def sizes_of(limits: Limits) -> Sizes:
    """What a backend is told of these: what stays as it was at the disk, is left alone."""
    return Sizes(
        cpu=limits.cpu,
        memory=limits.memory,
        read=limits.read if limits.read != limits.read_before else None,
        write=limits.write if limits.write != limits.write_before else None,
    )


def in_words(sizes: Sizes) -> Label:
    """Limits for people."""
    cpu = f"{sizes.cpu:g} cores" if sizes.cpu else "cores without limit"
    memory = f"{sizes.memory / (1 << 20):.0f} MiB" if sizes.memory else "memory without limit"
    disk = [
        f", {what} at {show_size(amount)}/s" if amount else f", {what} without limit"
        for what, amount in (("reads", sizes.read), ("writes", sizes.write))
        if amount is not None
    ]
    return scrub(f"{cpu}, {memory}{''.join(disk)}")


class JournalSizing:
    """Implements ``Sizing`` for backends by the journal."""

    def __init__(self, journal: ResizeLedger) -> None:
        self._journal = journal

    def sizes_of(self, shard: ShardSpec) -> Sizes:
        """What it was resized to, else what is declared."""
        return self._journal.sizes(shard) or Sizes(cpu=shard.limit_cpu, memory=shard.limit_memory)
