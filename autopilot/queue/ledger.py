"""The queue as the journal keeps it: who waits, what is known of it, and the two commits that lead in and out.

A shard has an owner or a row here, never both: what takes the one away writes the other in the same
transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sidestep.autopilot.journal_owners import OwnerLedger
from sidestep.backends.base import StepResult
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, StepName
from sidestep.fleet.placement import Placement, PlacementConflict
from sidestep.fleet.plans import Limits
from sidestep.fleet.questions import HostRefusal
from sidestep.fleet.queue import Cause, Look, Waiting

_REASONS: Final = tuple[HostRefusal, ...]
#: with the hosts that have a good copy of the capsule that a shard waits with, which is its newest
_QUEUE: Final = (
    "SELECT queued.*, (SELECT group_concat(capsule_copy.host, ' ') FROM capsule JOIN capsule_copy USING (shard, seq)"
    " WHERE capsule.shard = queued.shard AND capsule.token = queued.token AND capsule.digest = queued.digest"
    " AND capsule.complete AND capsule_copy.state = 'good') AS copies FROM queued"
)


class QueueLedger(OwnerLedger):
    """Every method that writes is durable when it returns."""

    def queue(self) -> tuple[Waiting, ...]:
        """Everybody who waits, by name."""
        return tuple(_waiting(row) for row in self._rows(f"{_QUEUE} ORDER BY shard"))

    def waiting(self, shard: str) -> Waiting | None:
        """The shard's place in the queue; None if it has none."""
        rows = self._rows(f"{_QUEUE} WHERE queued.shard = ?", shard)
        return _waiting(rows[0]) if rows else None

    def submit(
        self, shards: Mapping[Label, str], actor: Label, cause: Cause = "declared"
    ) -> tuple[tuple[Label, str], ...]:
        """Put shards, each with the id of its deployment, into the queue; says of each what became of it.

        "queued", or for an id that is known already "known": nothing is changed then, whatever has become
        of the shard since (S5.20). Raises SidestepError for an id that is another shard's, and for a shard
        that has an owner or waits already; nothing is changed then.
        """
        with self._transaction() as db:
            said: list[tuple[Label, str]] = []
            placement = self.placement()
            for shard, deployment in sorted(shards.items()):
                id_ = scrub(deployment, 200)
                known = self._rows("SELECT shard FROM deployment WHERE id = ?", id_)
                if known and known[0]["shard"] != shard:
                    hint = "give every deployment an id of its own"
                    raise SidestepError(
                        f"deployment {id_} is that of shard {known[0]['shard']}, not {shard}", hint=hint
                    )
                if known:
                    said.append((shard, "known"))
                    continue
                if (owner := placement.owners.get(shard)) is not None:
                    raise SidestepError(f"shard {shard} is not queued: it runs on {owner.host}")
                if shard in placement.queued:
                    raise SidestepError(f"shard {shard} waits already", hint="see: sidestep queue")
                now = self._clock()
                db.execute("INSERT INTO deployment VALUES (?, ?, ?, ?)", (id_, shard, now, actor))
                db.execute(
                    "INSERT INTO queued (shard, since, cause, deployment) VALUES (?, ?, ?, ?)",
                    (shard, now, cause, id_),
                )
                detail = f"{shard} waits for a host, deployment {id_}"
                self.record("daemon", detail, actor=actor)
                self.act("submit", actor=actor, subject=f"shard {shard}", detail=detail)
                said.append((shard, "queued"))
        return tuple(said)

    def looked(self, looks: Sequence[Look], when: float) -> None:
        """What the planner found for shards that still wait; written only where the codes have changed."""
        known = {one.shard: one for one in self.queue()}
        new = [
            look for look in looks
            if look.shard in known and (_codes(look.reasons) != _codes(known[look.shard].reasons))
        ]  # fmt: skip
        if not new:
            return
        with self._transaction() as db:
            db.executemany(
                "UPDATE queued SET reasons = ?, looked = ? WHERE shard = ?",
                [(msgspec.json.encode(look.reasons).decode(), when, look.shard) for look in new],
            )

    def commit_preempt(
        self, *, digest: str, action: int, shard: Label, source: Label, expected_token: int
    ) -> Placement:
        """The commit point of ``preempt``: the owner goes and the row of the queue comes, in one transaction.

        The row has the promised token: whatever is older is fenced. Doing it again for the same action
        changes nothing. Raises PlacementConflict as ``commit_move`` does.
        """
        with self._transaction() as db:
            if self.committed(digest, action):
                return self.placement()
            token, notes = self._promised(digest, action, shard), self.notes(digest, action)
            after = self.placement().enqueue(shard, expected_token=expected_token, token=token)
            need = self._need(digest, action)
            size = self._rows("SELECT bytes FROM step WHERE digest = ? AND action = ? AND name = ?",
                              digest, action, StepName.CAPTURE)  # fmt: skip
            db.execute("DELETE FROM owner WHERE shard = ?", (shard,))
            db.execute("DELETE FROM endpoint WHERE shard = ?", (shard,))
            db.execute(
                "INSERT INTO queued (shard, since, cause, token, host, path, digest, files, bytes, cpu, memory)"
                " VALUES (?, ?, 'preempted', ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    shard, self._clock(), token, source, notes.get("parked", ""), notes.get("digest", ""),
                    notes.get("files", ""), int(size[0]["bytes"]) if size else 0, need.cpu, need.memory,
                ),
            )  # fmt: skip
            detail = f"{shard} left {source} and waits, token {token}, generation {after.generation}"
            self._commit(db, digest, action, after, detail)
        return after

    def commit_place(self, *, digest: str, action: int, shard: Label, to: Label, expected_token: int) -> Placement:
        """The commit point of ``place``: the row of the queue goes and the owner comes, in one transaction.

        As ``commit_preempt`` otherwise.
        """
        with self._transaction() as db:
            if self.committed(digest, action):
                return self.placement()
            token, notes = self._promised(digest, action, shard), self.notes(digest, action)
            after = self.placement().place(shard, to, expected_token=expected_token, token=token)
            db.execute("DELETE FROM queued WHERE shard = ?", (shard,))
            db.execute("INSERT INTO owner (shard, host, token) VALUES (?, ?, ?)", (shard, to, token))
            if notes.get("address") and int(notes.get("port", "0")):
                db.execute(
                    "INSERT INTO endpoint (shard, address, port) VALUES (?, ?, ?) ON CONFLICT (shard)"
                    " DO UPDATE SET address = excluded.address, port = excluded.port",
                    (shard, notes["address"], int(notes["port"])),
                )
            detail = f"{shard} left the queue and belongs to {to}, token {token}, generation {after.generation}"
            self._commit(db, digest, action, after, detail)
        return after

    def take_in(self, shard: Label, host: Label, token: int, actor: Label) -> Placement:
        """A shard that waits was found running under a newer token than its fence: that host owns it.

        Raises PlacementConflict if it does not wait, or the token is not newer.
        """
        with self._transaction() as db:
            before = self.placement()
            after = before.place(shard, host, expected_token=before.queued.get(shard, -1), token=token)
            db.execute("DELETE FROM queued WHERE shard = ?", (shard,))
            db.execute("INSERT INTO owner (shard, host, token) VALUES (?, ?, ?)", (shard, host, token))
            db.execute("UPDATE placement SET generation = ?", (after.generation,))
            detail = f"{shard} left the queue: it was found on {host}, token {token}"
            self.record("daemon", detail, actor=actor)
            self.act("adopt", actor=actor, subject=f"generation {after.generation}", detail=detail)
        return after

    # -- inside

    def _promised(self, digest: str, action: int, shard: Label) -> int:
        row = self._committing(digest, action)
        if row["shard"] != shard or not row["token"]:
            raise PlacementConflict(f"action {action} has no token for shard {shard}")
        return int(row["token"])

    def _need(self, digest: str, action: int) -> Limits:
        plan, _ = self.plan(digest)
        found = next(one.limits for one in plan.actions if one.id == action)
        return found or Limits(cpu=0.0, memory=0)

    def _commit(self, db: sqlite3.Connection, digest: str, action: int, after: Placement, detail: str) -> None:
        db.execute("UPDATE placement SET generation = ?", (after.generation,))
        self.begin_step(digest, action, StepName.COMMIT)
        self.set_action(digest, action, ActionState.COMMITTED)
        self.end_step(digest, action, StepName.COMMIT, StepResult(detail=scrub(detail)), ms=0.0)


def _codes(reasons: Sequence[HostRefusal]) -> list[tuple[str, str]]:
    return [(one.host, one.reason.code) for one in reasons]


def _waiting(row: sqlite3.Row) -> Waiting:
    values = {name: row[name] for name in row.keys() if name not in ("reasons", "copies")}  # noqa: SIM118
    copies = tuple(Label(host) for host in sorted((row["copies"] or "").split()))
    return Waiting(**values, copies=copies, reasons=msgspec.json.decode(row["reasons"], type=_REASONS))
