"""Orders of people about hosts, as the journal keeps them: who is closed to new shards, who is emptied, until when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from msgspec import Struct

from sidestep.autopilot.journal_audit import AuditLedger
from sidestep.fleet.labels import Label, scrub

Wish = Literal["cordon", "drain"]


class HostOrder(Struct, frozen=True, kw_only=True):
    """One order about one host. Times are unix times; ``until`` 0 is until somebody lifts it."""

    host: Label
    wish: Wish
    since: float
    until: float
    by: Label
    reason: Label


class HostLedger(AuditLedger):
    """Every method that writes is durable when it returns, and raises JournalError. A host has one order at most."""

    def host_orders(self) -> tuple[HostOrder, ...]:
        """Orders that stand, by host."""
        return tuple(
            HostOrder(
                host=row["host"], wish=row["wish"], since=row["since"], until=row["until"], by=row["said_by"],
                reason=row["reason"],
            )
            for row in self._rows("SELECT * FROM host_order ORDER BY host")
        )  # fmt: skip

    def order_hosts(
        self, hosts: Collection[str], wish: Wish, *, actor: str, reason: str, until: float
    ) -> tuple[Label, ...]:
        """All of these hosts are closed, or emptied, at once or none is; returns those for which that is news.

        The newest order counts; one that says the same again changes nothing and keeps who gave it, and when.
        """
        standing = {order.host: order for order in self.host_orders()}
        why, news = scrub(reason, 500), list[Label]()
        with self._transaction() as db:
            for host in map(scrub, sorted(set(hosts))):
                old = standing.get(host)
                if old is not None and (old.wish, old.until, old.reason) == (wish, until, why):
                    continue
                db.execute(
                    "INSERT OR REPLACE INTO host_order (host, wish, since, until, said_by, reason)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (host, wish, self._clock(), until, scrub(actor), why),
                )
                said = f"{host}: {'to be emptied' if wish == 'drain' else 'accepts no new shards'}"
                said += f" for {max(0.0, until - self._clock()):.0f} s" if until else ""
                self.record_act(
                    "host", f"{said}: {why}" if why else said, act=wish, actor=actor, subject=host, reason=why
                )
                news.append(host)
        return tuple(news)

    def lift_hosts(self, hosts: Collection[str], *, actor: str, reason: str) -> tuple[Label, ...]:
        """These hosts accept shards again; returns those about which there was an order."""
        standing, why = {order.host for order in self.host_orders()}, scrub(reason, 500)
        gone = tuple(sorted({scrub(host) for host in hosts} & standing))
        with self._transaction() as db:
            for host in gone:
                db.execute("DELETE FROM host_order WHERE host = ?", (host,))
                said = f"{host}: accepts shards again" + (f": {why}" if why else "")
                self.record_act("host", said, act="uncordon", actor=actor, subject=host, reason=why)
        return gone
