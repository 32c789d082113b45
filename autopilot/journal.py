"""The journal: what is placed where, which plans there are, and what was done about them.

It is the one source of truth about moves: a restarted daemon learns from it, and from
nothing else, whether a move is past its commit point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sidestep.autopilot.actions.ledger import ActionLedger
from sidestep.autopilot.capsules.catalogue import CapsuleLedger
from sidestep.autopilot.failover.ledger import LossLedger
from sidestep.autopilot.journal_hosts import HostLedger
from sidestep.autopilot.journal_leases import LeaseLedger
from sidestep.autopilot.journal_locks import LockLedger
from sidestep.autopilot.pool.ledger import PoolLedger
from sidestep.autopilot.queue.ledger import QueueLedger
from sidestep.autopilot.reshard.ledger import ReshardLedger
from sidestep.backends.base import StepResult
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, StepName
from sidestep.fleet.placement import Owner, Placement, PlacementConflict


class Owned(Protocol):
    """Where a shard was found or declared, and under which token."""

    @property
    def host(self) -> Label:
        """The owner."""
        ...

    @property
    def token(self) -> int:
        """Its token."""
        ...


class Journal(
    QueueLedger, ReshardLedger, ActionLedger, LeaseLedger, LockLedger, LossLedger, HostLedger, CapsuleLedger, PoolLedger
):
    """One SQLite file per fleet: placement, plans, steps and the audit log.

    Every method that writes is durable when it returns. Not safe for several threads.
    """

    #: the placement that was read last, and the state of the file then
    _placed: tuple[tuple[int, int], Placement] | None = None

    def placement(self) -> Placement:
        """Who owns what; generation 0 and empty at first. Cheap while nothing is written."""
        # what this connection has written so far, and whether another one has written
        ours = self._db.total_changes - self.lock_changes - self.capsule_changes
        version = ours, int(self._rows("PRAGMA data_version")[0][0])
        if self._placed is not None and self._placed[0] == version and not self._db.in_transaction:
            return self._placed[1]
        owners = {row["shard"]: Owner(row["host"], row["token"]) for row in self._rows("SELECT * FROM owner")}
        queued = {row["shard"]: row["token"] for row in self._rows("SELECT shard, token FROM queued")}
        placement = Placement(int(self._rows("SELECT generation FROM placement")[0][0]), owners, queued)
        if not self._db.in_transaction:  # what is rolled back was never so
            self._placed = version, placement
        return placement

    def adopt(self, owners: Mapping[Label, Owned], actor: Label) -> Placement:
        """Take shards that have no owner yet into the placement, as found or declared.

        Shards that are placed exactly so already are left alone; the generation rises, if
        anything is new, to at least the highest token. Raises PlacementConflict for a shard that
        is owned differently: only a move changes an owner.
        """
        with self._transaction() as db:
            before = self.placement()
            new = {shard: owner for shard, owner in owners.items() if shard not in before.owners}
            if waiting := sorted(new.keys() & before.queued.keys()):
                raise PlacementConflict(f"shard {waiting[0]} waits in the queue: only a place gives it an owner")
            for shard, owner in sorted(owners.items()):
                known = before.owners.get(shard)
                if known is not None and (known.host, known.token) != (owner.host, owner.token):
                    raise PlacementConflict(
                        f"shard {shard} is owned by {known.host} (token {known.token}), not by {owner.host}"
                        f" (token {owner.token})",
                        hint="stop the copy that is not the owner's",
                    )
            if not new:
                return before
            generation = max(before.generation + 1, *(owner.token for owner in new.values()))
            db.executemany(
                "INSERT INTO owner (shard, host, token) VALUES (?, ?, ?)",
                [(shard, owner.host, owner.token) for shard, owner in new.items()],
            )
            db.execute("UPDATE placement SET generation = ?", (generation,))
            where = ", ".join(f"{shard} on {owner.host}" for shard, owner in sorted(new.items()))
            said = f"{len(new)} shards adopted in generation {generation}: {where}"
            self.record("daemon", said, actor=actor)
            self.act("adopt", actor=actor, subject=f"generation {generation}", detail=said)
        return self.placement()

    def commit_move(self, *, digest: str, action: int, shard: Label, to: Label, expected_token: int) -> Placement:
        """The commit point: owner, endpoint, generation and the commit step's row in one transaction.

        The owner gets the token that the action was promised. Other shards may have moved since, and
        hold newer ones. Doing it again for the same action returns the placement and changes nothing.
        Raises PlacementConflict if the shard's token is not ``expected_token`` any more, if no newer one
        was promised, or if the action is being taken back.
        """
        with self._transaction() as db:
            if self.committed(digest, action):
                return self.placement()
            row = self._committing(digest, action)
            token = int(row["token"])
            if row["shard"] != shard or not token:
                raise PlacementConflict(f"action {action} has no token for shard {shard}")
            after = self.placement().move(shard, to, expected_token=expected_token, token=token)
            db.execute("UPDATE owner SET host = ?, token = ? WHERE shard = ?", (to, token, shard))
            db.execute("UPDATE placement SET generation = ?", (after.generation,))
            notes = self.notes(digest, action)
            if notes.get("address") and int(notes.get("port") or 0):  # 0: it listens nowhere
                self.set_endpoint(shard, notes["address"], int(notes["port"]))
            self.begin_step(digest, action, StepName.COMMIT)
            self.set_action(digest, action, ActionState.COMMITTED)
            detail = scrub(f"{shard} belongs to {to}, token {token}, generation {after.generation}")
            self.end_step(digest, action, StepName.COMMIT, StepResult(detail=detail), ms=0.0)
        return after

    def endpoint(self, shard: str) -> tuple[str, int] | None:
        """Address and port where the shard's owner listens; None if that is not known."""
        rows = self._rows("SELECT address, port FROM endpoint WHERE shard = ?", shard)
        return (rows[0]["address"], rows[0]["port"]) if rows else None

    def endpoints(self) -> dict[Label, tuple[str, int]]:
        """Every known endpoint."""
        return {row["shard"]: (row["address"], row["port"]) for row in self._rows("SELECT * FROM endpoint")}

    def set_endpoint(self, shard: str, address: str, port: int) -> None:
        """Note where the shard's owner listens. Raises JournalError for an impossible port."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO endpoint (shard, address, port) VALUES (?, ?, ?)"
                " ON CONFLICT (shard) DO UPDATE SET address = excluded.address, port = excluded.port",
                (shard, address, port),
            )
