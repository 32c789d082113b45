"""What the journal knows of resharding: which keys shards have since, and which action is about which spare."""

from __future__ import annotations

from collections.abc import Mapping

from sidestep.autopilot.journal_owners import OwnerLedger
from sidestep.backends.base import StepResult
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, StepName, StepState
from sidestep.fleet.placement import Owner, Placement, PlacementConflict
from sidestep.fleet.plans import Part

Keys = tuple[int, int]


class ReshardLedger(OwnerLedger):
    """Ranges of keys that differ from those of the fleet file; each commit is one transaction."""

    def shard_keys(self) -> dict[Label, Keys]:
        """Ranges by shard, of shards that were split or that a split has given some."""
        return {Label(row["shard"]): (row["lo"], row["hi"]) for row in self._rows("SELECT * FROM shard_keys")}

    def begin_reshard(self, digest: str, action: int, spare: str) -> None:
        """The action is about this spare, too: what is left of it after a failure is known by that."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO reshard (digest, action, spare) VALUES (?, ?, ?)", (digest, action, spare)
            )

    def abandoned(self, shard: str, token: int) -> bool:
        """Whether the token was promised to an action of the shard that ended without a commit: it owns nothing."""
        if super().abandoned(shard, token):
            return True
        rows = self._rows(
            "SELECT a.digest, a.id FROM action a JOIN reshard r ON r.digest = a.digest AND r.action = a.id"
            " WHERE r.spare = ? AND a.token = ? AND a.state IN (?, ?)",
            *(shard, token, ActionState.ABORTED, ActionState.FAILED_NEEDS_HUMAN),
        )
        return bool(rows) and not any(self.committed(row["digest"], row["id"]) for row in rows)

    def unresumed(self, shard: str, token: int) -> tuple[str, int] | None:
        """The ended action that gave the shard this token by its commit, and never brought it up; None mostly."""
        if found := super().unresumed(shard, token):
            return found
        rows = self._rows(
            "SELECT a.digest, a.id FROM action a JOIN reshard r ON r.digest = a.digest AND r.action = a.id"
            " WHERE r.spare = ? AND a.token = ? AND a.state = ?",
            *(shard, token, ActionState.FAILED_NEEDS_HUMAN),
        )
        for digest, action in rows:
            resumed = self.step_state(digest, action, StepName.RESUME) is StepState.DONE
            if self.committed(digest, action) and not resumed:
                return digest, action
        return None

    def retired(self, spare: str, token: int) -> bool:
        """Whether a split gave the spare this token: once it owns nothing, nobody may serve under it."""
        rows = self._rows(
            "SELECT a.digest, a.id FROM action a JOIN reshard r ON r.digest = a.digest AND r.action = a.id"
            " WHERE r.spare = ? AND a.token = ?",
            *(spare, token),
        )
        return any(self.committed(row["digest"], row["id"]) for row in rows)

    def commit_split(
        self, *, digest: str, action: int, shard: Label, expected_token: int, keeps: Keys, part: Part
    ) -> Placement:
        """The commit point: the spare gets an owner, an endpoint and keys, its giver keeps the rest.

        Doing it again for the same action changes nothing. Raises PlacementConflict if the giver has another token,
        the spare an owner already, or the action is being taken back.
        """
        with self._transaction() as db:
            if self.committed(digest, action):
                return self.placement()
            before, token = self._may_commit(digest, action, shard, expected_token)
            if part.shard in before.owners or part.keys is None:
                raise PlacementConflict(f"shard {part.shard} is no idle spare any more")
            generation = max(before.generation + 1, token)
            db.execute("INSERT INTO owner (shard, host, token) VALUES (?, ?, ?)", (part.shard, part.destination, token))
            db.execute("UPDATE placement SET generation = ?", (generation,))
            notes = self.notes(digest, action)
            if notes.get("address") and int(notes.get("port") or 0):
                self.set_endpoint(part.shard, notes["address"], int(notes["port"]))
            self._keys({shard: keeps, part.shard: part.keys})
            said = f"{part.shard} on {part.destination} has keys {_range(part.keys)} of {shard}, token {token}"
            self._end_commit(digest, action, f"{said}, generation {generation}")
        return self.placement()

    def commit_merge(
        self, *, digest: str, action: int, shard: Label, expected_token: int, keeps: Keys, part: Part, spare_token: int
    ) -> Placement:
        """The commit point: the shard has the spare's keys besides its own, and the spare owns nothing any more."""
        with self._transaction() as db:
            if self.committed(digest, action):
                return self.placement()
            before, token = self._may_commit(digest, action, shard, expected_token)
            if before.owners.get(part.shard) != Owner(part.destination, spare_token):
                raise PlacementConflict(f"shard {part.shard} is not on {part.destination} with token {spare_token}")
            generation = max(before.generation + 1, token)
            db.execute("DELETE FROM owner WHERE shard = ?", (part.shard,))
            db.execute("DELETE FROM endpoint WHERE shard = ?", (part.shard,))
            db.execute("DELETE FROM shard_keys WHERE shard = ?", (part.shard,))
            db.execute("UPDATE placement SET generation = ?", (generation,))
            self._keys({shard: keeps})
            self._end_commit(digest, action, f"{shard} has keys {_range(keeps)}, generation {generation}")
        return self.placement()

    def _may_commit(self, digest: str, action: int, shard: Label, expected: int) -> tuple[Placement, int]:
        row = self._committing(digest, action)
        placement = self.placement()
        owner = placement.owners.get(shard)
        if owner is None or owner.token != expected:
            raise PlacementConflict(f"shard {shard} has not token {expected} any more")
        return placement, int(row["token"])

    def _keys(self, keys: Mapping[Label, Keys]) -> None:
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO shard_keys (shard, lo, hi) VALUES (?, ?, ?)"
                " ON CONFLICT (shard) DO UPDATE SET lo = excluded.lo, hi = excluded.hi",
                [(shard, *found) for shard, found in keys.items()],
            )

    def _end_commit(self, digest: str, action: int, said: str) -> None:
        self.begin_step(digest, action, StepName.COMMIT)
        self.set_action(digest, action, ActionState.COMMITTED)
        self.end_step(digest, action, StepName.COMMIT, StepResult(detail=scrub(said, 400)), ms=0.0)


def _range(keys: Keys) -> str:
    return f"{keys[0]}..{keys[1] - 1}"
