"""Actions and steps: the write-ahead record of what is being done to the world."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from sidestep.autopilot.journal_log import TEXT, About
from sidestep.autopilot.journal_plans import PlanLedger, body_of
from sidestep.backends.base import StepResult
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ACTION, STEP, ActionState, StepName, StepState, advance
from sidestep.fleet.placement import PlacementConflict
from sidestep.fleet.plans import Action, Plan, PlanStatus

_LOUD: Final = frozenset({ActionState.FAILED_NEEDS_HUMAN, ActionState.ABORTED})
#: what is said of actions in the audit log; users may wait for a commit, so its line reaches audit.log later
_AUDITED: Final = {
    ActionState.RUNNING: "begin",
    ActionState.COMMITTED: "commit",
    ActionState.DONE: "done",
    ActionState.ABORTED: "abort",
    ActionState.CANCELLED: "cancel-action",
    ActionState.SKIPPED: "skip-action",
    ActionState.FAILED_NEEDS_HUMAN: "needs-human",
}
EXECUTOR: Final = Label("executor")


class StepLedger(PlanLedger):
    """Each row is durable before the world is touched, and closed with what came of it."""

    def begin_action(self, digest: str, action: int) -> int:
        """The action starts: returns the token its destination will own, newer than any that ever was.

        It is promised to this action alone and for good, whatever becomes of it, so that moves may run
        side by side. Raises KeyError and IllegalTransition.
        """
        with self._transaction() as db:
            highest = "SELECT max(generation, token) FROM placement JOIN promised USING (id)"
            token = int(self._rows(highest)[0][0]) + 1
            db.execute("UPDATE promised SET token = ?", (token,))
            self.set_action(digest, action, ActionState.RUNNING)
            db.execute("UPDATE action SET token = ? WHERE digest = ? AND id = ?", (token, digest, action))
        return token

    def set_action(self, digest: str, action: int, new: ActionState, *, note: str = "") -> PlanStatus:
        """Change an action's state by its machine's table. Raises KeyError and IllegalTransition."""
        with self._transaction() as db:
            row = self._action_row(digest, action)
            state = advance(ACTION, ActionState(row["state"]), new)
            db.execute(
                "UPDATE action SET state = ?, note = ? WHERE digest = ? AND id = ?",
                (state, scrub(note, TEXT) if note else row["note"], digest, action),
            )
            why = note or (row["note"] if new in _LOUD else "")
            said = f"action {action} ({row['shard']}) {new}" + (f": {why}" if why else "")
            self._touch(digest, said, error=new in _LOUD, action=action, state=new)
            if new in _AUDITED:
                self._act(digest, action, _AUDITED[new], detail=note or row["note"])
        return self._status(digest)

    def token(self, digest: str, action: int) -> int:
        """The token promised to the action's destination; 0 before it began. Raises KeyError."""
        return int(self._action_row(digest, action)["token"])

    def begin_step(self, digest: str, action: int, step: StepName) -> PlanStatus:
        """The intent to do ``step``, durable when this returns. Raises KeyError and IllegalTransition."""
        with self._transaction() as db:
            self._action_row(digest, action)
            advance(STEP, self.step_state(digest, action, step), StepState.RUNNING)
            db.execute(
                "INSERT INTO step (digest, action, name, state, begun) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (digest, action, name) DO UPDATE SET state = excluded.state, detail = ''",
                (digest, action, step, StepState.RUNNING, self._clock()),
            )
            self._touch(digest)
        return self._status(digest)

    def end_step(
        self, digest: str, action: int, step: StepName, result: StepResult | None = None, *, error: str = "", ms: float
    ) -> PlanStatus:
        """What came of a step: its result, or an error. ``ms`` is how long it took.

        Raises KeyError and IllegalTransition.
        """
        with self._transaction() as db:
            new = StepState.FAILED if result is None else StepState.DONE
            advance(STEP, self.step_state(digest, action, step), new)
            detail = scrub(error if result is None else result.detail, TEXT)
            here = (digest, action, step)
            db.execute(
                "UPDATE step SET state = ?, ms = ?, detail = ? WHERE digest = ? AND action = ? AND name = ?",
                (new, ms, detail, *here),
            )
            if result is not None:
                db.execute(
                    "UPDATE step SET bytes = ?, notes = ? WHERE digest = ? AND action = ? AND name = ?",
                    (result.bytes, msgspec.json.encode(result.notes).decode(), *here),
                )
            said = f"action {action}: {step} {new} in {ms:.0f} ms" + (f": {detail}" if detail else "")
            self._touch(digest, said, error=result is None, action=action, step=step, state=new)
        return self._status(digest)

    def set_freeze(self, digest: str, action: int, ms: float) -> PlanStatus:
        """How long the shard's requests waited, measured."""
        with self._transaction() as db:
            db.execute("UPDATE action SET freeze_ms = ? WHERE digest = ? AND id = ?", (ms, digest, action))
            self._touch(digest)
        return self._status(digest)

    def undo_step(self, digest: str, action: int, step: StepName) -> PlanStatus:
        """A step was taken back. Raises KeyError and IllegalTransition."""
        with self._transaction() as db:
            new = advance(STEP, self.step_state(digest, action, step), StepState.UNDONE)
            db.execute(
                "UPDATE step SET state = ? WHERE digest = ? AND action = ? AND name = ?", (new, digest, action, step)
            )
            self._touch(digest, f"action {action}: {step} taken back", action=action, step=step, state=new)
        return self._status(digest)

    def notes(self, digest: str, action: int) -> dict[str, str]:
        """What the steps so far noted for the following ones, and for taking them back; later steps win."""
        rows = self._rows("SELECT name, notes FROM step WHERE digest = ? AND action = ?", digest, action)
        found = {row["name"]: msgspec.json.decode(row["notes"], type=dict[str, str]) for row in rows}
        return {key: value for name in StepName for key, value in found.get(name, {}).items()}

    def begun(self, digest: str, action: int, step: StepName) -> float | None:
        """Unix time at which the step was first begun; None if it never was."""
        rows = self._rows("SELECT begun FROM step WHERE digest = ? AND action = ? AND name = ?", digest, action, step)
        return float(rows[0][0]) if rows else None

    def committed(self, digest: str, action: int) -> bool:
        """Whether the action is past its commit point."""
        return self.step_state(digest, action, StepName.COMMIT) is StepState.DONE

    def abandoned(self, shard: str, token: int) -> bool:
        """Whether the token was promised to a move of the shard that ended without a commit: it owns nothing."""
        rows = self._rows(
            "SELECT digest, id FROM action WHERE shard = ? AND token = ? AND state IN (?, ?)",
            *(shard, token, ActionState.ABORTED, ActionState.FAILED_NEEDS_HUMAN),
        )
        return bool(rows) and not any(self.committed(row["digest"], row["id"]) for row in rows)

    def half_taken_back(self) -> list[tuple[str, int]]:
        """Aborted actions of which steps are still to be taken back, oldest first: digest and number."""
        rows = self._rows(
            "SELECT DISTINCT action.digest, action.id FROM action JOIN step"
            " ON step.digest = action.digest AND step.action = action.id"
            " WHERE action.state = ? AND step.state IN (?, ?, ?) ORDER BY action.rowid",
            *(ActionState.ABORTED, StepState.RUNNING, StepState.DONE, StepState.FAILED),
        )
        return [(row["digest"], row["id"]) for row in rows]

    def unresumed(self, shard: str, token: int) -> tuple[str, int] | None:
        """The ended action that gave the shard this token by its commit, and never brought it up; None mostly."""
        rows = self._rows(
            "SELECT digest, id FROM action WHERE shard = ? AND token = ? AND state = ?",
            *(shard, token, ActionState.FAILED_NEEDS_HUMAN),
        )
        for digest, action in rows:
            resumed = self.step_state(digest, action, StepName.RESUME) is StepState.DONE
            if self.committed(digest, action) and not resumed:
                return digest, action
        return None

    def set_way_back(self, digest: str, action: int, way: Action, problem: str) -> None:
        """What takes the action back, and why it could not now, or "": written before the commit."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO way_back (digest, action, body, checked, problem) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (digest, action) DO UPDATE SET body = excluded.body, checked = excluded.checked,"
                " problem = excluded.problem",
                (digest, action, msgspec.json.encode(way), self._clock(), scrub(problem, TEXT)),
            )
            number = self._plan_row(digest)["number"]
            if problem:
                self.record("step", f"plan {number} action {action}: no way back: {problem}", plan=number)

    def ways_back(self, digest: str) -> dict[int, tuple[Action, str]]:
        """What takes each action back, and what was in its way before its commit; by action."""
        rows = self._rows("SELECT action, body, problem FROM way_back WHERE digest = ? ORDER BY action", digest)
        return {r["action"]: (msgspec.json.decode(r["body"], type=Action), r["problem"]) for r in rows}

    def add_reversal(self, plan: Plan, undoes: str) -> PlanStatus:
        """Propose a plan that undoes another one. Raises as ``add`` does."""
        with self._transaction() as db:
            status = self.add(plan)
            db.execute("INSERT OR IGNORE INTO reversal (digest, undoes) VALUES (?, ?)", (status.digest, undoes))
        return status

    def undone_by(self, digest: str) -> str:
        """The digest of the plan that this one undoes, or ""."""
        rows = self._rows("SELECT undoes FROM reversal WHERE digest = ?", digest)
        return str(rows[0][0]) if rows else ""

    def step_state(self, digest: str, action: int, step: StepName) -> StepState:
        """How far the step is; PENDING if it never began."""
        rows = self._rows("SELECT state FROM step WHERE digest = ? AND action = ? AND name = ?", digest, action, step)
        return StepState(rows[0][0]) if rows else StepState.PENDING

    def _touch(
        self, digest: str, said: str = "", *, error: bool = False, action: int = 0, step: str = "", state: str = ""
    ) -> None:
        """Something of the plan changed; part of the caller's transaction."""
        with self._transaction() as db:
            db.execute("UPDATE plan SET updated = ? WHERE digest = ?", (self._clock(), digest))
            if said:
                number = self._plan_row(digest)["number"]
                about = self._about(digest, action, step, state)
                self.record("error" if error else "step", f"plan {number} {said}", plan=number, about=about)

    def _about(self, digest: str, action: int, step: str, state: str) -> About:
        row = self._plan_row(digest)
        planned = next(a for a in body_of(row["number"], digest, row["body"]).actions if a.id == action)
        return About(
            digest=digest,
            action=action,
            shard=planned.shard,
            source=planned.source,
            destination=planned.destination,
            step=step,
            state=state,
        )

    def _act(self, digest: str, action: int, act: str, *, detail: str) -> None:
        about = self._about(digest, action, "", "")
        number = self._plan_row(digest)["number"]
        move = f"{about.shard} from {about.source or 'the queue'} to {about.destination or 'the queue'}"
        said = f"{move}: {detail}" if detail else move
        subject = f"plan {number} action {action}"
        later = act in ("begin", "commit", "done")
        self.act(act, actor=EXECUTOR, subject=subject, plan=digest, detail=said, later=later)

    def _action_row(self, digest: str, action: int) -> sqlite3.Row:
        rows = self._rows("SELECT * FROM action WHERE digest = ? AND id = ?", digest, action)
        if not rows:
            raise KeyError((digest, action))
        return rows[0]

    def _committing(self, digest: str, action: int) -> sqlite3.Row:
        """The action's row, if it may commit. Raises PlacementConflict: it is being taken back, or was never begun."""
        row = self._action_row(digest, action)
        if row["state"] != ActionState.RUNNING:
            raise PlacementConflict(f"action {action} is {row['state']}: it cannot commit")
        return row
