"""Hosts that were lost, and shards that are suspected of it, as the journal keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from sidestep.autopilot.journal_audit import AuditLedger
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import StepName, StepState

_SHARDS: Final = dict[Label, float]


class HostLoss(Struct, frozen=True, kw_only=True):
    """One loss of one host; times are unix times, 0 is not yet. ``heard`` is when it was last heard of.

    ``shards`` are those that it held, with the time at which each came to it; 0 is long ago, or not known.
    """

    id: int
    host: Label
    heard: float
    lost: float
    back: float
    #: until then nothing new is placed there
    quarantined: float
    reason: Label
    shards: dict[Label, float]


class Poisoned(Struct, frozen=True, kw_only=True):
    """A shard that is started nowhere, since when, and why."""

    shard: Label
    since: float
    reason: Label


class LossLedger(AuditLedger):
    """Every method that writes is durable when it returns, and raises JournalError."""

    def losses(self, *, open_at: float | None = None) -> tuple[HostLoss, ...]:
        """Every loss, oldest first; with ``open_at`` those that at that unix time still have an effect."""
        if open_at is None:
            rows = self._rows("SELECT * FROM host_loss ORDER BY id")
        else:
            rows = self._rows("SELECT * FROM host_loss WHERE back = 0 OR quarantined > ? ORDER BY id", open_at)
        return tuple(map(_loss, rows))

    def last_loss(self, host: str) -> HostLoss | None:
        """The newest loss of that host."""
        rows = self._rows("SELECT * FROM host_loss WHERE host = ? ORDER BY id DESC LIMIT 1", host)
        return _loss(rows[0]) if rows else None

    def host_lost(
        self, host: str, *, heard: float, reason: str, shards: Mapping[Label, float], poisoned: Mapping[Label, str]
    ) -> HostLoss:
        """The host is given up, with these shards; those in ``poisoned`` (why) are started nowhere from now on."""
        held = f"; it held {len(shards)} shards" if shards else "; it held no shard"
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO host_loss (host, heard, lost, reason, shards) VALUES (?, ?, ?, ?, ?)",
                (scrub(host), heard, self._clock(), scrub(reason, 500), msgspec.json.encode(dict(shards)).decode()),
            )
            self.record_act("host", f"{host}: lost: {reason}{held}", act="host-lost", actor="daemon", subject=host)
            for shard, why in sorted(poisoned.items()):
                db.execute(
                    "INSERT INTO poisoned (shard, since, reason) VALUES (?, ?, ?) ON CONFLICT (shard) DO UPDATE"
                    " SET since = excluded.since, reason = excluded.reason, cleared = 0",
                    (shard, self._clock(), scrub(why, 500)),
                )
                text = f"{shard} is poisoned and starts nowhere: {why}"
                self.record_act("error", text, act="poison", actor="daemon", subject=shard, reason=why)
        return _loss(self._rows("SELECT * FROM host_loss WHERE id = ?", cursor.lastrowid)[0])

    def host_back(self, host: str, until: float, why: str) -> None:
        """The host is back, or was away again in quarantine: nothing new goes there before unix time ``until``."""
        with self._transaction() as db:
            now = self._clock()
            db.execute("UPDATE host_loss SET back = ? WHERE host = ? AND back = 0", (now, host))
            newest = "SELECT max(id) FROM host_loss WHERE host = ?"
            db.execute(f"UPDATE host_loss SET quarantined = ? WHERE id = ({newest})", (until, host))  # noqa: S608 - ours
            text = f"{host}: {why}; nothing new is placed there for {max(0.0, until - now):.0f} s"
            self.record_act("host", text, act="host-back", actor="daemon", subject=host)

    def arrivals(self, shards: Collection[str]) -> dict[Label, float]:
        """When each of these shards came to where it is: unix time of its newest commit, 0 if it never moved."""
        found: dict[Label, float] = {scrub(shard): 0.0 for shard in shards}
        rows = self._rows(
            "SELECT action.shard AS shard, max(step.begun) AS at FROM step"
            " JOIN action ON action.digest = step.digest AND action.id = step.action"
            " WHERE action.shard IN (SELECT value FROM json_each(?)) AND step.name = ? AND step.state = ?"
            " GROUP BY action.shard",
            *(msgspec.json.encode(sorted(found)).decode(), StepName.COMMIT, StepState.DONE),
        )
        return found | {row["shard"]: float(row["at"]) for row in rows}

    def poisoned(self) -> tuple[Poisoned, ...]:
        """Shards that are started nowhere, by name."""
        rows = self._rows("SELECT shard, since, reason FROM poisoned WHERE cleared = 0 ORDER BY shard")
        return tuple(Poisoned(shard=r["shard"], since=r["since"], reason=r["reason"]) for r in rows)

    def cleared(self) -> dict[Label, float]:
        """When shards were last cleared of suspicion (unix time)."""
        return {row["shard"]: row["cleared"] for row in self._rows("SELECT shard, cleared FROM poisoned")}

    def clear_poison(self, shard: str, *, actor: str, reason: str) -> None:
        """A person says that the shard may start again. Raises UsageError if it is not poisoned."""
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE poisoned SET cleared = ? WHERE shard = ? AND cleared = 0", (self._clock(), shard)
            )
            if not changed.rowcount:
                raise UsageError(
                    f"{scrub(shard)} is not poisoned", hint="poisoned shards are named in: sidestep status"
                )
            text = f"{shard} is no longer poisoned: {reason}"
            self.record_act("host", text, act="clear-poison", actor=actor, subject=shard, reason=reason)


def _loss(row: sqlite3.Row) -> HostLoss:
    return HostLoss(
        id=row["id"],
        host=row["host"],
        heard=row["heard"],
        lost=row["lost"],
        back=row["back"],
        quarantined=row["quarantined"],
        reason=row["reason"],
        shards=msgspec.json.decode(row["shards"], type=_SHARDS),
    )
