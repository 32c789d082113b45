"""What the journal knows of leases: what hosts hold under one, for how long, and which hosts are declared off."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from sidestep.autopilot.journal_audit import AuditLedger
from sidestep.fleet.labels import Label, scrub


class HostOff(Struct, frozen=True, kw_only=True):
    """A host that somebody, or its fencing command, says is off: since when (unix time), who, and how that is known."""

    host: Label
    since: float
    said_by: Label
    how: Label


class LeaseLedger(AuditLedger):
    """Written when it changes, which is seldom: a renewal costs the journal nothing."""

    def leased(self) -> dict[str, frozenset[str]]:
        """By host, the shards that it has acknowledged to hold under a lease."""
        found: dict[str, set[str]] = {}
        for row in self._rows("SELECT host, shard FROM leased"):
            found.setdefault(row["host"], set()).add(row["shard"])
        return {host: frozenset(shards) for host, shards in found.items()}

    def set_leased(self, changes: Mapping[str, Collection[str]]) -> None:
        """These hosts hold exactly these shards under leases. Raises JournalError."""
        with self._transaction() as db:
            for host, shards in changes.items():
                db.execute("DELETE FROM leased WHERE host = ?", (host,))
                db.executemany("INSERT INTO leased (host, shard) VALUES (?, ?)", [(host, s) for s in sorted(shards)])

    def lease_seconds(self) -> float:
        """The longest lease that a renewal which may still be on its way was made with; 0 is none."""
        return max((float(row["seconds"]) for row in self._rows("SELECT seconds FROM lease")), default=0.0)

    def set_lease_seconds(self, seconds: float) -> None:
        """Note it, before the first renewal of that length is sent. Raises JournalError."""
        with self._transaction() as db:
            db.execute("DELETE FROM lease")
            db.execute("INSERT INTO lease (seconds) VALUES (?)", (seconds,))

    def hosts_off(self) -> dict[str, HostOff]:
        """Hosts that are declared to be off."""
        return {
            row["host"]: HostOff(host=row["host"], since=row["since"], said_by=row["said_by"], how=row["how"])
            for row in self._rows("SELECT host, since, said_by, how FROM host_off")
        }

    def declare_off(self, host: str, *, actor: str, how: str) -> None:
        """The host is off, says ``actor``; in both logs. Raises JournalError."""
        text = f"{host} is off: {how}"
        with self._transaction() as db:
            db.execute(
                "INSERT INTO host_off (host, since, said_by, how) VALUES (?, ?, ?, ?) ON CONFLICT (host) DO UPDATE"
                " SET since = excluded.since, said_by = excluded.said_by, how = excluded.how",
                (scrub(host), self._clock(), scrub(actor), scrub(how, 500)),
            )
            self.record_act("host", text, act="host-off", actor=actor, subject=host, reason=how)

    def host_is_on(self, host: str, *, actor: str, why: str) -> bool:
        """Take that back; whether there was anything to take back. Raises JournalError."""
        with self._transaction() as db:
            if not db.execute("DELETE FROM host_off WHERE host = ?", (host,)).rowcount:
                return False
            self.record_act("host", f"{host} is not off: {why}", act="host-on", actor=actor, subject=host, reason=why)
        return True
