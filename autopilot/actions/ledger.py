"""Which actions of plugins are in force, as the journal keeps it: the commits of ``apply`` and ``lift``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from sidestep.autopilot.resize.ledger import ResizeLedger
from sidestep.backends.base import StepResult
from sidestep.fleet.actions import Applied, Standing
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, StepName
from sidestep.fleet.placement import PlacementConflict

#: that a line names
NAMED: Final = 3


class ActionLedger(ResizeLedger):
    """Every method that writes is durable when it returns.

    What is done to a shard lasts as long as its process does: a move gives it another token, and who starts it
    anew under the same one says so (``fell``).
    """

    def standing(self) -> tuple[Standing, ...]:
        """What is in force, by shard and name."""
        owners = self.placement().owners
        return tuple(
            Standing(
                shard=Label(row["shard"]), token=row["token"], since=row["since"],
                applied=msgspec.json.decode(row["body"], type=Applied),
            )
            for row in self._rows("SELECT * FROM standing ORDER BY shard, name")
            if (owner := owners.get(row["shard"])) is not None and owner.token == row["token"]
        )  # fmt: skip

    def sized(self, fleet: FleetSpec) -> FleetSpec:
        """The fleet with the limits that its shards have now, and what is in force of actions."""
        now, standing = super().sized(fleet), self.standing()
        return replace(now, standing=standing) if standing else now

    def fell(self, shard: str) -> tuple[str, ...]:
        """The shard is started anew: the names of what was in force, and no longer is."""
        names = tuple(str(row["name"]) for row in self._rows("SELECT name FROM standing WHERE shard = ?", shard))
        if names:  # else nothing is written, so that a full disk keeps no shard from being started
            with self._transaction() as db:
                db.execute("DELETE FROM standing WHERE shard = ?", (shard,))
        return names

    def commit_applied(
        self, *, digest: str, action: int, shard: Label, applied: Applied, lift: bool, expected_token: int
    ) -> None:
        """The commit point of ``apply`` and ``lift``: from now on it is in force, or no longer.

        Doing it again for the same action changes nothing. The owner keeps its token. Raises PlacementConflict
        if that is not ``expected_token`` any more, or if the action is being taken back.
        """
        with self._transaction() as db:
            if self.committed(digest, action):
                return
            row = self._committing(digest, action)
            owner = self.placement().owners.get(shard)
            if row["shard"] != shard or owner is None or owner.token != expected_token:
                raise PlacementConflict(f"{shard} has another owner than when its action began")
            if lift:
                db.execute("DELETE FROM standing WHERE shard = ? AND name = ?", (shard, applied.name))
            else:
                db.execute(
                    "INSERT OR REPLACE INTO standing VALUES (?, ?, ?, ?, ?)",
                    (shard, applied.name, expected_token, self._clock(), msgspec.json.encode(applied).decode()),
                )
            self.begin_step(digest, action, StepName.COMMIT)
            self.set_action(digest, action, ActionState.COMMITTED)
            said = "is no longer in force" if lift else f"is in force: {applied.says}"
            detail = scrub(f"{applied.name} on {shard}, {owner.host}: {said}")
            self.end_step(digest, action, StepName.COMMIT, StepResult(detail=detail), ms=0.0)


def in_force(standing: Sequence[Standing]) -> tuple[Label, ...]:
    """What every screen has to say of them: somebody has to take them back."""
    if not standing:
        return ()
    names = ", ".join(f"{one.applied.name} on {one.shard}" for one in standing[:NAMED])
    more = f" and {len(standing) - NAMED} more" if len(standing) > NAMED else ""
    return (scrub(f"in force: {names}{more}; to take one back: sidestep plan lift ACTION SHARD"),)
