"""What acts on plans: approve, reject, pause, resume, cancel and undo, as the daemon allows them.

Every verb is about the plan that was on screen: the whole digest of what was shown is sent,
whatever arrived meanwhile. A verb that cannot be used says why.
"""

from __future__ import annotations

from typing import Final

from textual import work

from sidestep.autopilot.client import Refused
from sidestep.autopilot.protocol import Approve, Body, Done, GetPlan, PlanView, Reject
from sidestep.autopilot.protocol_control import CancelPlan, CancelView, PausePlan, ResumePlan, UndoPlan
from sidestep.console.panels.approve import ApprovePanel, CancelPanel, RejectPanel, ResumePanel
from sidestep.console.panels.decision import TellPanel, tell_width
from sidestep.console.planlive import left_over
from sidestep.console.screens.asking import AskingScreen
from sidestep.console.text import Line, Span, span, wrap
from sidestep.console.view import merge_plans
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import PlanState

#: in which states of a plan a verb can be used
USABLE: Final[dict[str, frozenset[PlanState]]] = {
    "approve": frozenset({PlanState.PROPOSED}),
    "reject": frozenset({PlanState.PROPOSED}),
    "pause": frozenset({PlanState.RUNNING}),
    "resume": frozenset({PlanState.PAUSED}),
    "cancel": frozenset({PlanState.APPROVED, PlanState.SCHEDULED, PlanState.RUNNING, PlanState.PAUSED}),
    "undo": frozenset({PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED, PlanState.CANCELLED}),
}


class ActingScreen(AskingScreen):
    """A screen that shows one plan and may act on it."""

    @property
    def shown(self) -> PlanView | None:
        """The plan whose details are on screen; what the verbs are about."""
        return None

    @property
    def skipped(self) -> frozenset[int]:
        """Actions that are left out of an approval."""
        return frozenset()

    def why_not(self, verb: str) -> str:
        """Why a verb cannot be used now, or ""."""
        if why := self.given.looking:
            return f"{verb} is disabled: {why}"
        if self.picture.status.kind != "live":
            return f"{verb} is disabled: the daemon is gone"
        if self.shown is None:
            return f"{verb} is disabled: no plan is selected"
        state, usable = self.shown.status.state, USABLE[verb]
        if state not in usable:
            return f"{verb} is disabled: plan #{self.shown.plan.number} is {state}, not {' or '.join(sorted(usable))}"
        if verb == "approve" and (broken := left_over(self.shown.plan, self.skipped)):
            return f"{verb} is disabled: {broken[0]}"
        return ""

    def _usable(self, verb: str) -> PlanView | None:
        """The plan shown, or None after saying why the verb cannot be used."""
        if reason := self.why_not(verb):
            self.tell(reason)
            return None
        return self.shown

    def do_approve(self) -> None:
        """Ask with exactly what will run, then approve what was shown."""
        if (shown := self._usable("approve")) is None:
            return
        skip = tuple(sorted(self.skipped))

        def decided(reason: str | None) -> None:
            if reason is not None:
                body = Approve(shown.digest, reason, skip, panel.outside)
                self.decide(body, f"plan #{shown.plan.number} approved")

        panel = ApprovePanel(self.given, shown, self.picture.now, skip)
        self.app.push_screen(panel, decided)

    def do_reject(self) -> None:
        """Ask for a reason, then refuse what was shown."""
        if (shown := self._usable("reject")) is None:
            return

        def decided(why: str | None) -> None:
            if why is not None:
                self.decide(Reject(shown.digest, why), f"plan #{shown.plan.number} rejected")

        self.app.push_screen(RejectPanel(self.given, shown, self.picture.now), decided)

    def do_pause(self) -> None:
        """Begin nothing more of the plan, at once: it takes nothing back."""
        if (shown := self._usable("pause")) is not None:
            self.decide(PausePlan(shown.digest), f"plan #{shown.plan.number} pauses; what runs goes on to its end")

    def do_resume(self) -> None:
        """Ask, then go on with the plan."""
        if (shown := self._usable("resume")) is None:
            return

        def decided(why: str | None) -> None:
            if why is not None:
                self.decide(ResumePlan(shown.digest, why), f"plan #{shown.plan.number} goes on")

        self.app.push_screen(ResumePanel(self.given, shown, self.picture.now), decided)

    def do_cancel_plan(self) -> None:
        """Show what cancelling would do to each action, ask, then cancel."""
        if (shown := self._usable("cancel")) is not None:
            self._try_cancel(shown)

    @work(exit_on_error=False)
    async def _try_cancel(self, shown: PlanView) -> None:
        try:
            effects = await self.given.feed.call(CancelPlan(shown.digest, dry=True))
        except SidestepError as error:
            self._explain(error)
            return
        if not isinstance(effects, CancelView):
            return

        def decided(why: str | None) -> None:
            if why is not None:
                self.decide(CancelPlan(shown.digest, why), f"plan #{shown.plan.number} is being cancelled")

        self.app.push_screen(CancelPanel(self.given, shown, self.picture.now, effects), decided)

    def do_undo(self) -> None:
        """Have the way back proposed; it is approved like any other plan."""
        if (shown := self._usable("undo")) is not None:
            self.decide(UndoPlan(shown.digest), f"the way back of plan #{shown.plan.number} is proposed")

    @work(exit_on_error=False)
    async def decide(self, body: Body, done: str) -> None:
        """Send a decision and say what the daemon made of it."""
        try:
            answer = await self.given.feed.call(body)
        except SidestepError as error:
            self._explain(error)
            return
        if isinstance(answer, PlanView):
            self.given.feed.plans = merge_plans(self.given.feed.plans, (answer,))
            if isinstance(body, UndoPlan):
                done = f"{done} as #{answer.plan.number}; approve it to run it"
        self.tell((str(answer.text) if isinstance(answer, Done) else "") or done)
        await self._look(body)

    async def _look(self, body: Body) -> None:
        """Show what became of the plan now: the next picture may be late."""
        digest = getattr(body, "digest", "") or getattr(body, "ref", "")
        try:
            fresh = await self.given.feed.call(GetPlan(digest))
        except SidestepError:
            return
        if isinstance(fresh, PlanView):
            self.given.feed.plans = merge_plans(self.given.feed.plans, (fresh,))
            self.again()

    def _explain(self, error: SidestepError) -> None:
        """A refusal with what is no longer as planned; other errors as a note."""
        if not isinstance(error, Refused):
            self.tell(str(error), bad=True)
            return
        width = tell_width(self.app.size.width)
        lines: list[Line] = [(span(text),) for text in wrap(span(str(error.args[0])).text, width)]
        for difference in error.differences:
            rows = wrap(span(difference).text, width)
            lines += [(Span("    " if at else "  - ", "warn"), Span(text)) for at, text in enumerate(rows)]
        if error.hint:
            lines += [(), *((span(text, "muted"),) for text in wrap(error.hint, width))]
        self.app.push_screen(TellPanel(self.given, "it was refused", lines))
