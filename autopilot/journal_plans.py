"""Plans and their states: the immutable body beside everything that changes while it lives."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from sidestep.autopilot.journal_audit import AuditLedger
from sidestep.autopilot.journal_log import TEXT, About
from sidestep.autopilot.journal_store import JournalError
from sidestep.fleet.errors import UsageError
from sidestep.fleet.events import Kind
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import PLAN, ActionState, PlanState, StepName, StepState, advance, steps_of
from sidestep.fleet.plans import PLANNER, ActionStatus, Measured, Plan, PlanStatus, StepStatus

#: shortest digest prefix that names a plan
PREFIX: Final = 6
_SAID: Final[dict[PlanState, Kind]] = {PlanState.APPROVED: "approve", PlanState.REJECTED: "approve"}
#: what bringing a plan into a state is called in the audit log, where it is not the state's own name
ACTS: Final[dict[PlanState, str]] = {
    PlanState.APPROVED: "approve",
    PlanState.REJECTED: "reject",
    PlanState.SUPERSEDED: "supersede",
    PlanState.EXPIRED: "expire",
    PlanState.SCHEDULED: "schedule",
    PlanState.RUNNING: "run",
    PlanState.PAUSED: "pause",
    PlanState.CANCELLING: "cancel",
    PlanState.UNDOING: "undo",
}


class PlanLedger(AuditLedger):
    """Every plan that was ever proposed, and what became of it."""

    def next_number(self) -> int:
        """The number for the next plan; it is taken once that plan is added."""
        return int(self._rows("SELECT coalesce(max(number), 0) + 1 FROM plan")[0][0])

    def add(self, plan: Plan) -> PlanStatus:
        """Take a proposal; older ones that it replaces become SUPERSEDED.

        The planner's newest proposal replaces all of its own; a person's replaces that person's
        older ones for the same shards, since two moves of different shards may both be wanted.

        Adding a plan again changes nothing. Raises JournalError if its number is taken by another
        plan, or if it would not read back as itself (NaN, or an integer where a float belongs).
        """
        digest = plan.digest()
        body = plan.canonical()
        body_of(plan.number, digest, body)
        with self._transaction() as db:
            if self._rows("SELECT 1 FROM plan WHERE digest = ?", digest):
                return self._status(digest)
            if self._rows("SELECT 1 FROM plan WHERE number = ?", plan.number):
                raise JournalError(f"plan number {plan.number} is taken", hint="number a plan with next_number()")
            for older in self._replaced(plan):
                reason = f"superseded by plan {plan.number}"
                self.set_state(older, PlanState.SUPERSEDED, actor=plan.author, note=reason)
            state = advance(PLAN, PlanState.DRAFT, PlanState.PROPOSED)
            db.execute(
                "INSERT INTO plan (digest, number, author, body, state, updated) VALUES (?, ?, ?, ?, ?, ?)",
                (digest, plan.number, plan.author, body, state, self._clock()),
            )
            db.executemany(
                "INSERT INTO action (digest, id, shard, state, kind) VALUES (?, ?, ?, ?, ?)",
                [(digest, a.id, a.shard, ActionState.PENDING, a.kind) for a in plan.actions],
            )
            said = f"plan {plan.number} proposed: {plan.summary}"
            about = About(digest=digest, state=state)
            self.record("plan", said, actor=plan.author, plan=plan.number, about=about)
            self.act("propose", actor=plan.author, subject=f"plan {plan.number}", plan=digest, detail=plan.summary)
        return self._status(digest)

    def _replaced(self, plan: Plan) -> list[str]:
        """Digests of the proposals that ``plan`` takes the place of."""
        query = "SELECT DISTINCT digest, shard FROM plan JOIN action USING (digest) WHERE plan.state = ? AND author = ?"
        shards = {action.shard for action in plan.actions}
        rows = self._rows(query, PlanState.PROPOSED, plan.author)
        return sorted({row["digest"] for row in rows if plan.author == PLANNER or row["shard"] in shards})

    def plan(self, digest: str) -> tuple[Plan, PlanStatus]:
        """The plan of that whole digest. Raises KeyError."""
        row = self._plan_row(digest)
        return body_of(row["number"], digest, row["body"]), self._status(digest, row)

    def status(self, digest: str) -> PlanStatus:
        """What has become of that plan. Raises KeyError."""
        return self._status(digest)

    def state_of(self, digest: str) -> PlanState:
        """The state of that plan alone. Raises KeyError."""
        rows = self._rows("SELECT state FROM plan WHERE digest = ?", digest)
        if not rows:
            raise KeyError(digest)
        return PlanState(rows[0][0])

    def find(self, ref: str) -> tuple[Plan, PlanStatus]:
        """The plan of that number or unambiguous digest prefix. Raises UsageError."""
        hint = f"give its number, or at least {PREFIX} digits of its digest; see: sidestep plan list"
        if ref.isascii() and ref.isdigit() and len(ref) < 16:
            rows = self._rows("SELECT digest FROM plan WHERE number = ?", int(ref))
            if rows:
                return self.plan(rows[0]["digest"])
        prefix = ref.lower()
        if len(prefix) < PREFIX or not set(prefix) <= set("0123456789abcdef"):
            raise UsageError(f"no plan {ref}", hint=hint)
        rows = self._rows("SELECT digest, number FROM plan WHERE substr(digest, 1, ?) = ?", len(prefix), prefix)
        if len(rows) > 1:
            numbers = ", ".join(str(row["number"]) for row in rows)
            raise UsageError(f"{ref} is ambiguous: plans {numbers}", hint=hint)
        if not rows:
            raise UsageError(f"no plan {ref}", hint=hint)
        return self.plan(rows[0]["digest"])

    def plans(self, limit: int = 50) -> tuple[tuple[Plan, PlanStatus], ...]:
        """The newest ``limit`` plans, newest first."""
        rows = self._rows("SELECT digest FROM plan ORDER BY number DESC LIMIT ?", limit)
        return tuple(self.plan(row["digest"]) for row in rows)

    def plan_counts(self) -> dict[str, int]:
        """How many plans there are in each state; a state that no plan is in is left out."""
        rows = self._rows("SELECT state, count(*) AS plans FROM plan GROUP BY state")
        return {row["state"]: row["plans"] for row in rows}

    def plan_transitions(self, since: int) -> tuple[int, dict[str, int]]:
        """How often plans came into each state after row ``since`` of the log, and the newest row looked at."""
        query = "SELECT state, count(*) AS plans, max(seq) AS newest FROM event_about WHERE seq > ? AND action = 0"
        rows = self._rows(f"{query} AND state <> '' GROUP BY state", since)
        return max((row["newest"] for row in rows), default=since), {row["state"]: row["plans"] for row in rows}

    def plans_in(self, *states: PlanState) -> tuple[tuple[Plan, PlanStatus], ...]:
        """Every plan in one of these states, oldest first."""
        marks = ", ".join("?" * len(states))
        rows = self._rows(f"SELECT digest FROM plan WHERE state IN ({marks}) ORDER BY number", *states)  # noqa: S608 - only question marks
        return tuple(self.plan(row["digest"]) for row in rows)

    def set_state(self, digest: str, new: PlanState, *, actor: Label, reason: str = "", note: str = "") -> PlanStatus:
        """Change a plan's state by its machine's table, and say so in the log.

        Raises IllegalTransition and KeyError.
        """
        with self._transaction() as db:
            row = self._plan_row(digest)
            state = advance(PLAN, PlanState(row["state"]), new)
            db.execute(
                "UPDATE plan SET state = ?, note = ?, updated = ? WHERE digest = ?",
                (state, scrub(note, TEXT) if note else row["note"], self._clock(), digest),
            )
            if reason:
                db.execute("UPDATE plan SET reason = ? WHERE digest = ?", (scrub(reason, TEXT), digest))
            if new is PlanState.APPROVED:
                db.execute("UPDATE plan SET approved_by = ? WHERE digest = ?", (scrub(actor), digest))
            said = "; ".join(filter(None, (f"plan {row['number']} {new}", reason, note)))
            about = About(digest=digest, state=state)
            self.record(_SAID.get(new, "plan"), said, actor=actor, plan=row["number"], about=about)
            self.act(
                ACTS.get(new, new.lower()),
                actor=actor,
                subject=f"plan {row['number']}",
                plan=digest,
                reason=reason,
                detail=note,
            )
        return self._status(digest)

    def set_outcome(self, digest: str, outcome: tuple[Measured, ...]) -> PlanStatus:
        """Put what was measured beside what was predicted. Raises KeyError."""
        with self._transaction() as db:
            row = self._plan_row(digest)
            db.execute(
                "UPDATE plan SET outcome = ?, updated = ? WHERE digest = ?",
                (msgspec.msgpack.encode(outcome), self._clock(), digest),  # JSON has no NaN
            )
            said = "; ".join(
                f"{m.host} {m.dimension}: {m.measured:.0%} measured, {m.predicted_with:.0%} predicted,"
                f" {m.predicted_without:.0%} without the plan"
                for m in outcome
            )
            text = f"plan {row['number']}: {said or 'nothing to measure'}"
            self.record("outcome", text, plan=row["number"], about=About(digest=digest, state=row["state"]))
        return self._status(digest)

    def _plan_row(self, digest: str) -> sqlite3.Row:
        rows = self._rows("SELECT * FROM plan WHERE digest = ?", digest)
        if not rows:
            raise KeyError(digest)
        return rows[0]

    def _status(self, digest: str, row: sqlite3.Row | None = None) -> PlanStatus:
        row = row or self._plan_row(digest)
        steps: dict[int, list[sqlite3.Row]] = {}
        for step in self._rows("SELECT * FROM step WHERE digest = ?", digest):
            steps.setdefault(step["action"], []).append(step)
        actions = self._rows("SELECT * FROM action WHERE digest = ? ORDER BY rowid", digest)
        return PlanStatus(
            digest=digest,
            state=PlanState(row["state"]),
            actions=tuple(_action(a, steps.get(a["id"], [])) for a in actions),
            approved_by=row["approved_by"],
            reason=row["reason"],
            note=row["note"],
            updated=row["updated"],
            outcome=msgspec.msgpack.decode(row["outcome"], type=tuple[Measured, ...]),
        )


@lru_cache(maxsize=256)  # every picture for the screens shows the newest plans again
def body_of(number: int, digest: str, body: bytes) -> Plan:
    """The plan that these bytes are, if the digest names it."""
    try:
        plan = msgspec.json.decode(body, type=Plan)
    except msgspec.DecodeError as error:
        raise JournalError(f"plan {number} cannot be read back: {error}") from error
    if plan.digest() != digest:
        raise JournalError(
            f"plan {number} does not read back as itself: its digest is {plan.digest()[:12]}, not {digest[:12]}",
            hint="an integer stands where a float belongs, or another program changed the journal",
        )
    return plan


def _action(row: sqlite3.Row, steps: Sequence[sqlite3.Row]) -> ActionStatus:
    known = {
        step["name"]: StepStatus(
            name=StepName(step["name"]), state=StepState(step["state"]), ms=step["ms"], detail=step["detail"]
        )
        for step in steps
    }
    return ActionStatus(
        id=row["id"],
        state=ActionState(row["state"]),
        steps=tuple(known.get(name, StepStatus(name=name)) for name in steps_of(row["kind"])),
        bytes=sum(step["bytes"] for step in steps),
        freeze_ms=row["freeze_ms"],
        note=row["note"],
    )
