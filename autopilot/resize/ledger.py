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


class ResizeLedger(OwnerLedger):
    """Every method that writes is durable when it returns.

    A row holds as long as the fleet file declares what it declared then: who changes the file has the last word.
    """

    def sizes(self, shard: ShardSpec) -> Sizes | None:
        """What the shard was resized to; None if it was not, or if its declaration has changed since."""
        found = self._rows("SELECT * FROM shard_size WHERE shard = ?", shard.name)
        declared = (shard.limit_cpu, shard.limit_memory)
        if not found or (found[0]["declared_cpu"], found[0]["declared_memory"]) != declared:
            return None
        return Sizes(cpu=found[0]["cpu"], memory=found[0]["memory"])

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
            row = self._action_row(digest, action)
            if row["state"] != ActionState.RUNNING:
                raise PlacementConflict(f"action {action} is {row['state']}: it cannot commit")
            owner = self.placement().owners.get(shard.name)
            if row["shard"] != shard.name or owner is None or owner.token != expected_token:
                raise PlacementConflict(f"{shard.name} has another owner than when its action began")
            db.execute(
                "INSERT OR REPLACE INTO shard_size VALUES (?, ?, ?, ?, ?)",
                (shard.name, sizes.cpu, sizes.memory, shard.limit_cpu, shard.limit_memory),
            )
            self.begin_step(digest, action, StepName.COMMIT)
            self.set_action(digest, action, ActionState.COMMITTED)
            detail = scrub(f"{shard.name} on {owner.host}: {in_words(sizes)}")
            self.end_step(digest, action, StepName.COMMIT, StepResult(detail=detail), ms=0.0)


def _now(shard: ShardSpec, rows: Mapping[str, Any]) -> ShardSpec:
    row = rows.get(shard.name)
    if row is None or (row["declared_cpu"], row["declared_memory"]) != (shard.limit_cpu, shard.limit_memory):
        return shard
    return replace(shard, limit_cpu=float(row["cpu"]), limit_memory=int(row["memory"]))


def in_words(sizes: Sizes) -> Label:
    """Limits for people."""
    cpu = f"{sizes.cpu:g} cores" if sizes.cpu else "cores without limit"
    memory = f"{sizes.memory / (1 << 20):.0f} MiB" if sizes.memory else "memory without limit"
    return scrub(f"{cpu}, {memory}")


class JournalSizing:
    """Implements ``Sizing`` for backends by the journal."""

    def __init__(self, journal: ResizeLedger) -> None:
        self._journal = journal

    def sizes_of(self, shard: ShardSpec) -> Sizes:
        """What it was resized to, else what is declared."""
        return self._journal.sizes(shard) or Sizes(cpu=shard.limit_cpu, memory=shard.limit_memory)
