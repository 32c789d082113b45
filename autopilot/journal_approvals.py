"""Approvals as the journal keeps them: who approved which plan, and which of its actions were left out."""

from __future__ import annotations

from collections.abc import Sequence

from sidestep.autopilot.journal_steps import StepLedger
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState
from sidestep.fleet.plans import PlanStatus


class ApprovalLedger(StepLedger):
    """Approval and what it leaves out, in one transaction."""

    def approve(
        self, digest: str, *, actor: Label, reason: str, skip: Sequence[int] = (), note: str = ""
    ) -> PlanStatus:
        """The plan is APPROVED and the actions in ``skip`` are SKIPPED, or nothing is changed.

        Raises KeyError, IllegalTransition and JournalError.
        """
        left_out = sorted(set(skip))
        said = f"without actions {', '.join(map(str, left_out))}" if left_out else ""
        with self._transaction():
            self.set_state(
                digest, PlanState.APPROVED, actor=actor, reason=reason, note="; ".join(filter(None, (said, note)))
            )
            for action in left_out:
                self.set_action(digest, action, ActionState.SKIPPED, note=f"left out by {actor}")
        return self.status(digest)
