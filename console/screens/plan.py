"""The page of one plan: every action with its reason, evidence and cost; the hosts before, after and as measured."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from sidestep.autopilot.protocol import GetPlan, PlanView
from sidestep.console import timeline
from sidestep.console.context import Context, Picture
from sidestep.console.fandraw import Fan
from sidestep.console.hosttext import fan_of
from sidestep.console.planlive import Live, Watch, action_heading, action_row, left_over, progress_line
from sidestep.console.plantext import PREFIX, action_lines, decision_lines, host_lines, outcome_lines, plan_when
from sidestep.console.screens.acting import ActingScreen
from sidestep.console.screens.base import screen_bindings
from sidestep.console.text import Line, Span, clock, plan_glyph, span, wrap
from sidestep.console.view import FleetView
from sidestep.console.widgets.fan import FanChart
from sidestep.console.widgets.lines import LinePane, entitle
from sidestep.console.widgets.linetable import LineReader, LineTable
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import Action
from sidestep.fleet.resources import CPU, DIMENSIONS


class PlanPage(ActingScreen):
    """One plan by its digest or number; space leaves actions out, and says what then does not hold together."""

    SCOPE: ClassVar[str] = "plan"
    BINDINGS: ClassVar[list[BindingType]] = screen_bindings("plan")

    def __init__(self, context: Context, ref: str) -> None:
        super().__init__(context)
        self.ref = ref.lstrip("#")
        self._shown: PlanView | None = None
        self._skipped: frozenset[int] = frozenset()
        self._read = ""
        self._watch = Watch()
        self._live: Live = {}

    @property
    def shown(self) -> PlanView | None:
        """The plan of this page."""
        return self._shown

    @property
    def skipped(self) -> frozenset[int]:
        """Actions that are left out."""
        return self._skipped

    @property
    def digest(self) -> str:
        """The plan's digest, once it is known."""
        return self._shown.digest if self._shown is not None else self.ref

    def compose_body(self) -> ComposeResult:
        """What it is; its actions; about the one under the cursor; the hosts."""
        with Vertical(id="body", classes="body"):
            yield LinePane(id="head")
            yield LineTable(id="actions", classes=self.pane)
            with Horizontal(id="lower"):
                yield LineReader(id="detail", classes=self.pane)
                with Vertical(id="right"):
                    chart = FanChart(self.given, id="chart")
                    chart.add_class(*self.pane.split())
                    yield chart
                    yield LineReader(id="hosts", classes=self.pane)

    def on_mount(self) -> None:
        """Name the panes and put the keys on the actions."""
        titles = {"actions": "actions", "detail": "why", "chart": "evidence", "hosts": "hosts before and after"}
        for name, title in titles.items():
            entitle(self.query_one(f"#{name}"), title)
        self.query_one("#actions").focus()

    def crumbs(self) -> tuple[str, ...]:
        """The plan."""
        return ("plans", f"#{self._shown.plan.number}" if self._shown is not None else self.ref[:PREFIX])

    def show_body(self, picture: Picture) -> None:
        """Find the plan in the picture, or ask for it."""
        found = next(
            (p for p in picture.plans if p.digest.startswith(self.ref) or str(p.plan.number) == self.ref), None
        )
        if found is None:
            answer = self.ask(GetPlan(self.ref))
            found = answer if isinstance(answer, PlanView) else None
        self._shown = found
        if found is None:
            said = self.refusal(GetPlan(self.ref)) or "looking for the plan"
            self.query_one("#head", LinePane).show_lines([(span(f" {said}", "warn"),)])
            return
        self.ref = found.digest
        self._live = self._watch.look(found, picture.now)
        self._show_actions(found)
        self._show_head(found, picture.now)
        self._show_action(found, picture)

    def _show_head(self, item: PlanView, now: float) -> None:
        head, glyphs, plan = self.query_one("#head", LinePane), self.given.glyphs, item.plan
        width = max(20, (head.size.width or self.app.size.width) - 2)  # it has no size before it was laid out
        mark = plan_glyph(item.status.state, glyphs)
        touched = f"digest {item.digest[:PREFIX]}  by {plan.author} {clock(plan.created)}"
        state = f" {mark.text} plan #{plan.number} {item.status.state}"
        lines: list[Line] = [
            (Span(state, mark.style), Span(f"  {plan_when(item, now)}  "), span(touched, "muted")),
            *((span(f" {text}", "strong"),) for text in wrap(span(plan.summary).text, width)),
        ]
        lines += ((Span(" "), *line) for line in decision_lines(item, width))
        if bar := progress_line(item, width, glyphs, self._live):
            lines.append(bar)
        broken = left_over(plan, self._skipped)
        if self._skipped:
            count = f" {len(self._skipped)} of {len(plan.actions)} actions are left out"
            held = (Span(f": {glyphs.failed} {'; '.join(broken)}", "error"),)
            lines.append((Span(count, "warn"), *(held if broken else (Span("; the rest holds together", "ok"),))))
        head.show_lines(lines)
        head.styles.height = len(lines)

    def _show_actions(self, item: PlanView) -> None:
        table, glyphs = self.query_one("#actions", LineTable), self.given.glyphs
        actions = {str(action.id): action for action in item.plan.actions}
        done = {str(entry.id): entry for entry in item.status.actions}
        broken = {sentence.split()[1] for sentence in left_over(item.plan, self._skipped) if sentence[:7] == "action "}

        def row(key: str, width: int) -> Line:
            skipped = int(key) in self._skipped
            return action_row(
                actions[key], done.get(key), skipped, key in broken, width, glyphs, self._live.get(int(key))
            )

        table.show_rows(tuple(actions), lambda width: action_heading(width, glyphs), row)
        table.styles.height = min(len(actions) + 3, max(5, self.size.height // 3))

    def _action(self, item: PlanView) -> Action | None:
        cursor = self.query_one("#actions", LineTable).cursor
        return next((a for a in item.plan.actions if str(a.id) == cursor), None)

    def _show_action(self, item: PlanView, picture: Picture) -> None:
        glyphs, action = self.given.glyphs, self._action(item)
        detail, hosts = self.query_one("#detail", LineReader), self.query_one("#hosts", LineReader)
        wide = bool(hosts.region.area)
        width = max(20, detail.scrollable_content_region.width - 1)
        lines: list[Line] = []
        if action is not None:
            status = next((entry for entry in item.status.actions if entry.id == action.id), None)
            live = self._live.get(action.id)
            lines += action_lines(action, status, item.plan.created, width, glyphs, str(live) if live else "")
        curves: dict[tuple[str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {}
        present = picture.present
        if present is not None and item.status.state in {PlanState.PROPOSED, PlanState.APPROVED, PlanState.SCHEDULED}:
            with_it = self._with_plan(picture, item)
            for row in item.plan.outlook:
                before = timeline.curve(present, row.host, row.dimension)
                curves[row.host, row.dimension] = (before, timeline.curve(with_it, row.host, row.dimension))
        room = max(20, (hosts if wide else detail).scrollable_content_region.width - 1)
        below = [*host_lines(item, curves, room, glyphs), *outcome_lines(item, glyphs)]
        if item.plan.without_forecast:
            below += [(), *((span(text, "muted"),) for text in wrap(span(item.plan.without_forecast).text, room))]
        if wide:
            hosts.show_lines(below)
        else:
            lines += [(), *below]
        detail.show_lines(lines)
        self.query_one("#chart", FanChart).show(self._evidence(item, action) or self._where_to(item, action, picture))
        if str(action.id if action else "") != self._read:
            self._read = str(action.id if action else "")
            detail.scroll_to(y=0, animate=False)

    def _with_plan(self, picture: Picture, item: PlanView) -> FleetView:
        assert picture.present is not None
        return self.app.predicted(picture.present, 0.0, item)  # type: ignore[attr-defined,no-any-return]

    def _evidence(self, item: PlanView, action: Action | None) -> Fan | None:
        """The forecast that the action was decided on: the band without it, the line with it."""
        evidence = action.evidence if action is not None else None
        evidence = evidence or next((a.evidence for a in item.plan.actions if a.evidence is not None), None)
        if evidence is None or len(evidence.times) < 2:
            return None
        title = (
            f"{evidence.host} {evidence.dimension}: band without the plan, line {evidence.quantile * 100:.0f} % with it"
        )
        entitle(self.query_one("#chart"), span(title).text)
        return Fan(
            history=(evidence.median[0],),
            median=evidence.upper_after,
            bands=((evidence.median, evidence.upper),) * 3,
            threshold=evidence.threshold,
            future_step=evidence.times[1] - evidence.times[0],
        )

    def _where_to(self, item: PlanView, action: Action | None, picture: Picture) -> Fan | None:
        """Without evidence of its own (a drain), what is predicted of where the action leads, with the plan."""
        host = action.destination or action.source if action is not None else ""
        if picture.present is None or host not in picture.present.rows:
            return None
        waits = item.status.state in {PlanState.PROPOSED, PlanState.APPROVED, PlanState.SCHEDULED}
        view = self._with_plan(picture, item) if waits else picture.present
        title = f"{host} {DIMENSIONS[CPU]}, {'predicted with the plan' if waits else 'predicted now'}"
        entitle(self.query_one("#chart"), span(title).text)
        return fan_of(view, view.rows[host], CPU)

    @on(LineTable.Selected, "#actions")
    def _selected(self) -> None:
        self.again()

    def do_skip(self) -> None:
        """Leave the action under the cursor out, or take it in again; says what then does not hold together."""
        item = self._shown
        if item is None or item.status.state != PlanState.PROPOSED:
            self.tell(self.why_not("approve").replace("approve", "skip", 1))
            return
        if (action := self._action(item)) is not None:
            self._skipped ^= {action.id}
            self.again()

    def do_open(self) -> None:
        """The page of the shard that the action moves."""
        action = self._action(self._shown) if self._shown is not None else None
        if action is not None and action.shard:
            self.go("shard", action.shard)
