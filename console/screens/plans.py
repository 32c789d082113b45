"""The Plans screen: what is proposed and why, and the only keys that act.

Approve binds to the plan that was on screen: the whole digest of what was shown is sent,
whatever arrived meanwhile.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from sidestep.autopilot.client import Refused
from sidestep.autopilot.protocol import Approve, Body, PlanView, Reject
from sidestep.console.commands import Scope
from sidestep.console.context import Context, Picture
from sidestep.console.panels.approve import ApprovePanel, RejectPanel, TellPanel
from sidestep.console.plantext import no_plan_lines, plan_heading, plan_line, plan_lines
from sidestep.console.screens.base import ConsoleScreen, screen_bindings
from sidestep.console.text import Line, Span, span, wrap
from sidestep.console.view import matches, merge_plans
from sidestep.console.widgets.linetable import LineReader, LineTable
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.machines import PlanState

NO_PLAN = "no plan"


class PlansScreen(ConsoleScreen):
    """The list of plans and everything about the one under the cursor."""

    SCOPE: ClassVar[Scope] = "plans"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("plans")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        #: the plan whose details are on screen; what ``a`` and ``x`` are about
        self.shown: PlanView | None = None

    def compose_body(self) -> ComposeResult:
        """The list, and the details beside or under it."""
        with Vertical(id="body", classes="body"):
            yield LineTable(id="list", classes=self.pane)
            yield LineReader(id="detail", classes=self.pane)

    def on_mount(self) -> None:
        """Name the panes and put the keys on the list."""
        self.query_one("#list").border_title = "plans"
        self.query_one("#detail").border_title = "what, why, and what came of it"
        self.plans.focus()

    @property
    def plans(self) -> LineTable:
        """The list of plans; its keys are whole digests."""
        return self.query_one("#list", LineTable)

    def crumbs(self) -> tuple[str, ...]:
        """The plan on screen."""
        return ("plans", f"#{self.shown.plan.number}") if self.shown else ("plans",)

    def show_body(self, picture: Picture) -> None:
        """Show the list; the cursor stays on its plan."""
        glyphs = self.given.glyphs
        by_digest = {item.digest: item for item in picture.plans if matches(item.plan.summary, self.pattern)}
        keys = list(by_digest)
        if picture.no_plan is not None and not self.pattern:
            keys.append(NO_PLAN)

        def row(key: str, width: int) -> Line:
            if key == NO_PLAN:
                reasons = "; ".join(reason.text for reason in (picture.no_plan.reasons if picture.no_plan else ()))
                return (Span(f" {glyphs.none} newest answer: no plan  ", "muted"), span(reasons, "muted"))
            return plan_line(by_digest[key], picture.now, width, glyphs)

        self.plans.show_rows(keys, lambda _: plan_heading(glyphs), row)
        self._show_detail(picture)

    @on(LineTable.Selected, "#list")
    def _plan_selected(self) -> None:
        if self.picture.view is not None:
            self.query_one("#detail", LineReader).scroll_to(y=0, animate=False)
            self.show(self.picture)

    def _show_detail(self, picture: Picture) -> None:
        detail, cursor = self.query_one("#detail", LineReader), self.plans.cursor
        width = max(30, detail.scrollable_content_region.width - 1)
        self.shown = next((item for item in picture.plans if item.digest == cursor), None)
        if self.shown is not None:
            detail.show_lines(plan_lines(self.shown, picture.now, width, self.given.glyphs))
        elif picture.no_plan is not None:
            detail.show_lines(no_plan_lines(picture.no_plan, width))
        else:
            detail.show_lines([(Span(" no plan yet: the first comes with the first forecast", "muted"),)])

    def why_not(self, verb: str) -> str:
        """Why an acting key does nothing now; "" when it acts."""
        if self.given.read_only:
            return f"{verb} is disabled: this console is read-only (--read-only)"
        if self.picture.status.kind != "live":
            return f"{verb} is disabled: the daemon is gone"
        if self.shown is None:
            return f"{verb} is disabled: no plan is selected"
        if self.shown.status.state != PlanState.PROPOSED:
            return f"{verb} is disabled: plan #{self.shown.plan.number} is {self.shown.status.state}, not PROPOSED"
        return ""

    def do_approve(self) -> None:
        """Ask with exactly what will run, then approve what was shown."""
        if reason := self.why_not("approve"):
            self.tell(reason)
            return
        shown = self.shown
        assert shown is not None

        def decided(yes: str | None) -> None:
            if yes:
                self.decide(Approve(shown.digest), f"plan #{shown.plan.number} approved")

        self.app.push_screen(ApprovePanel(self.given, shown, self.picture.now), decided)

    def do_reject(self) -> None:
        """Ask for a reason, then refuse what was shown."""
        if reason := self.why_not("reject"):
            self.tell(reason)
            return
        shown = self.shown
        assert shown is not None

        def decided(why: str | None) -> None:
            if why is not None:
                self.decide(Reject(shown.digest, why), f"plan #{shown.plan.number} rejected")

        self.app.push_screen(RejectPanel(self.given, shown, self.picture.now), decided)

    @work(exit_on_error=False)
    async def decide(self, body: Body, done: str) -> None:
        """Send a decision and say what the daemon made of it."""
        try:
            answer = await self.given.feed.call(body)
        except Refused as error:
            self._explain(error)
            return
        except SidestepError as error:
            self.tell(str(error), bad=True)
            return
        if isinstance(answer, PlanView):
            self.given.feed.plans = merge_plans(self.given.feed.plans, (answer,))
        self.tell(done)

    def tell(self, text: str, *, bad: bool = False) -> None:
        """A note in the corner; never markup."""
        self.app.notify(span(text).text, severity="error" if bad else "information", markup=False)

    def _explain(self, error: Refused) -> None:
        """A refusal with what is no longer as planned."""
        width = min(90, self.app.size.width * 9 // 10 - 6)
        lines: list[Line] = [(span(text),) for text in wrap(span(str(error.args[0])).text, width)]
        for difference in error.differences:
            rows = wrap(span(difference).text, width)
            lines += [(Span("    " if at else "  - ", "warn"), Span(text)) for at, text in enumerate(rows)]
        if error.hint:
            lines += [(), *((span(text, "muted"),) for text in wrap(error.hint, width))]
        self.app.push_screen(TellPanel(self.given, "it was refused", lines))
