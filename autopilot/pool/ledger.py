"""Pools as the journal keeps them: every instance that may be somewhere, drills, guesses, and states to hand over.

The upper bound of a pool is kept here, in the transaction that would break it: so whoever wants an instance,
a tick, a drill or a daemon that has just begun again, no pool ever has more.
"""

from __future__ import annotations

import sqlite3

from msgspec import Struct

from sidestep.autopilot.journal_audit import AuditLedger
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.instances import RUNNING, InstanceState, advance
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.pools import PoolSpec
from sidestep.planning.pool.speculative import Guess, Tally

_MARKS = ", ".join(f"'{state}'" for state in sorted(RUNNING))


class PoolFull(SidestepError):
    """A pool has as many instances as it may have, or no port is left on that host."""


class PoolInstance(Struct, frozen=True, kw_only=True):
    """One instance; ``app`` is its tenant once it is ACTIVATING, ``since`` when it came into its state (unix time)."""

    id: int
    pool: Label
    host: Label
    state: InstanceState
    port: int
    app: Label
    pid: int
    since: float
    checked: float

    @property
    def name(self) -> str:
        """What its host calls it."""
        return f"i{self.id}"


class Drill(Struct, frozen=True, kw_only=True):
    """One fire drill; ``seconds`` from cold to ready."""

    pool: Label
    instance: int
    began: float
    ended: float
    ok: bool
    seconds: float
    detail: Label


class Handover(Struct, frozen=True, kw_only=True):
    """What an instance has saved at its end, for the next one of its app."""

    instance: int
    pool: Label
    app: Label
    host: Label
    path: str
    digest: str
    bytes: int


class PoolLedger(AuditLedger):
    """Every method that writes is durable when it returns. All raise JournalError."""

    def pool_epoch(self) -> int:
        """A number for this daemon, higher than that of every one before it; what these were drilling has failed."""
        with self._transaction() as db:
            db.execute(
                "UPDATE pool_drill SET ended = ?, detail = 'the daemon ended meanwhile' WHERE ended = 0",
                (self._clock(),),
            )
            db.execute("UPDATE pool_epoch SET value = value + 1")
            return int(self._rows("SELECT value FROM pool_epoch")[0]["value"])

    def pool_instances(self) -> tuple[PoolInstance, ...]:
        """All instances, oldest first."""
        return tuple(_instance(row) for row in self._rows("SELECT * FROM pool_instance ORDER BY id"))

    def pool_open(self, pool: PoolSpec, host: str, state: InstanceState) -> PoolInstance:
        """A new instance, WARMING or COLD, with a port of its own on that host. Raises PoolFull."""
        with self._transaction() as db:
            if state in RUNNING:
                self._room(pool)
            elif (
                len(self._rows("SELECT 1 FROM pool_instance WHERE pool = ? AND state = 'COLD'", pool.name)) >= pool.cold
            ):
                raise PoolFull(f"pool {pool.name} has {pool.cold} cold instances already")
            taken = {row["port"] for row in self._rows("SELECT port FROM pool_instance WHERE host = ?", host)}
            port = next((p for p in range(pool.ports[0], pool.ports[1] + 1) if p not in taken), 0)
            if not port:
                raise PoolFull(f"pool {pool.name}: no port is left on {host}", hint="widen its ports")
            made = db.execute(
                "INSERT INTO pool_instance (pool, host, state, port, since) VALUES (?, ?, ?, ?, ?)",
                (pool.name, host, state, port, self._clock()),
            )
            return _instance(self._rows("SELECT * FROM pool_instance WHERE id = ?", made.lastrowid)[0])

    def pool_move(
        self,
        one: PoolInstance,
        new: InstanceState,
        pool: PoolSpec,
        *,
        app: str = "",
        pid: int = 0,
        checked: bool = False,
    ) -> PoolInstance:
        """The instance comes into a state; DEAD removes its row. Raises IllegalTransition, and PoolFull for a wake."""
        with self._transaction() as db:
            rows = self._rows("SELECT * FROM pool_instance WHERE id = ?", one.id)
            if not rows:
                raise SidestepError(f"pool {one.pool}: instance {one.name} is gone")
            now = _instance(rows[0])
            advance(now.state, new)
            if new in RUNNING and now.state not in RUNNING:
                self._room(pool)
            if new is InstanceState.DEAD:
                db.execute("DELETE FROM pool_instance WHERE id = ?", (one.id,))
                return now
            db.execute(
                "UPDATE pool_instance SET state = ?, app = ?, pid = ?, since = ?, checked = ? WHERE id = ?",
                (new, app or ("" if new in _OWNED_BY_NOBODY else now.app), pid or now.pid, self._clock(),
                 self._clock() if checked else now.checked, one.id),
            )  # fmt: skip
            return _instance(self._rows("SELECT * FROM pool_instance WHERE id = ?", one.id)[0])

    def _room(self, pool: PoolSpec) -> None:
        query = f"SELECT count(*) AS n FROM pool_instance WHERE pool = ? AND state IN ({_MARKS})"  # noqa: S608
        if self._rows(query, pool.name)[0]["n"] >= pool.max:
            raise PoolFull(f"pool {pool.name} has max = {pool.max} instances already")

    # -- drills

    def drill_begin(self, pool: str, instance: int) -> int:
        """A drill begins; its number."""
        with self._transaction() as db:
            made = db.execute(
                "INSERT INTO pool_drill (pool, instance, began) VALUES (?, ?, ?)", (pool, instance, self._clock())
            )
            return int(made.lastrowid or 0)

    def drill_end(self, number: int, *, ok: bool, seconds: float, detail: str) -> None:
        """It has ended; in the log, as an error if it failed."""
        with self._transaction() as db:
            db.execute(
                "UPDATE pool_drill SET ended = ?, ok = ?, seconds = ?, detail = ? WHERE id = ?",
                (self._clock(), ok, seconds, scrub(detail, 500), number),
            )
            row = self._rows("SELECT pool, instance FROM pool_drill WHERE id = ?", number)[0]
            said = f"pool {row['pool']}: cold instance i{row['instance']}"
            if ok:
                self.record("daemon", f"{said} woke within {seconds:.1f} s in a fire drill")
            else:
                self.record("error", f"{said} failed its fire drill: {detail}")

    def drills(self) -> dict[str, Drill]:
        """The newest drill of each pool."""
        query = "SELECT * FROM pool_drill WHERE id IN (SELECT max(id) FROM pool_drill GROUP BY pool)"
        return {
            row["pool"]: Drill(
                pool=row["pool"], instance=row["instance"], began=row["began"], ended=row["ended"],
                ok=bool(row["ok"]), seconds=row["seconds"], detail=row["detail"],
            )
            for row in self._rows(query)
        }  # fmt: skip

    # -- guesses

    def guesses(self) -> tuple[Guess, ...]:
        """Those that are open."""
        names = Guess.__struct_fields__
        rows = self._rows("SELECT * FROM pool_guess WHERE outcome = '' ORDER BY since, name")
        return tuple(Guess(**{name: row[name] for name in names}) for row in rows)

    def guess(self, one: Guess) -> None:
        """Note a new one."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO pool_guess (name, pool, count, since, expires, chance, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (one.name, one.pool, one.count, one.since, one.expires, one.chance, one.reason),
            )
            said = f"pool {one.pool}: {one.count} instances for {one.name}, which is expected ({one.chance:.0%})"
            self.record("daemon", f"{said}: {one.reason}")

    def settle_guess(self, name: str, *, hit: bool) -> None:
        """What became of it."""
        with self._transaction() as db:
            outcome = "hit" if hit else "miss"
            db.execute("UPDATE pool_guess SET outcome = ? WHERE name = ? AND outcome = ''", (outcome, name))

    def tallies(self) -> dict[str, Tally]:
        """Of each pool that ever guessed, how often it was right."""
        found: dict[str, dict[str, int]] = {}
        for row in self._rows("SELECT pool, outcome, count(*) AS n FROM pool_guess GROUP BY pool, outcome"):
            found.setdefault(row["pool"], {})[row["outcome"]] = row["n"]
        return {
            pool: Tally(hits=each.get("hit", 0), misses=each.get("miss", 0), open=each.get("", 0))
            for pool, each in found.items()
        }

    # -- states that are handed over

    def hand_over(self, one: PoolInstance, path: str, digest: str, size: int) -> None:
        """Keep what it has saved, until an instance of its app has it."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO pool_handover VALUES (?, ?, ?, ?, ?, ?, ?)",
                (one.id, one.pool, one.app, one.host, path, digest, size),
            )

    def handovers(self) -> tuple[Handover, ...]:
        """All that wait, oldest first."""
        rows = self._rows("SELECT * FROM pool_handover ORDER BY instance")
        return tuple(Handover(**{name: row[name] for name in Handover.__struct_fields__}) for row in rows)

    def handed_over(self, instance: int) -> None:
        """Somebody has it."""
        with self._transaction() as db:
            db.execute("DELETE FROM pool_handover WHERE instance = ?", (instance,))


_OWNED_BY_NOBODY = frozenset({InstanceState.READY, InstanceState.COLD, InstanceState.WARMING})


def _instance(row: sqlite3.Row) -> PoolInstance:
    return PoolInstance(
        id=row["id"], pool=row["pool"], host=row["host"], state=InstanceState(row["state"]), port=row["port"],
        app=row["app"], pid=row["pid"], since=row["since"], checked=row["checked"],
    )  # fmt: skip
