"""Dialogs about plans: exactly what will run, the digest it is bound to, and one deliberate act.

A plan that touches more than the settings leave free needs its number typed: muscle memory
gets through an enter, not through a number.
"""

from __future__ import annotations

from typing import ClassVar

from sidestep.autopilot.approval_rules import shut
from sidestep.autopilot.protocol import PlanView
from sidestep.autopilot.protocol_control import CancelView
from sidestep.console.context import Context
from sidestep.console.panels.decision import DecisionPanel, keys_line
from sidestep.console.planlive import reach, wants_number
from sidestep.console.plantext import PREFIX, approval_lines
from sidestep.console.text import Line, Span, StyleName, fit, span, wrap


def _shut(item: PlanView, now: float) -> str:
    """Why the plan's own policy lets nothing be approved at this time; "" also where its zone is not known here."""
    try:
        return shut((item.plan.policy,), now)
    except ValueError:
        return ""


class PlanPanel(DecisionPanel):
    """A dialog about one plan as it was shown."""

    def __init__(self, context: Context, item: PlanView, now: float, skip: tuple[int, ...] = ()) -> None:
        super().__init__(context)
        self.item, self._now, self._skip = item, now, skip

    def lines(self, width: int) -> list[Line]:
        """Exactly what the plan runs."""
        return approval_lines(self.item, self._now, width, self._glyphs, self._skip)


class ApprovePanel(PlanPanel):
    """Approve: returns the reason, or None; ``outside`` is why it cannot wait for a change window."""

    TITLE_TEXT: ClassVar[str] = "approve: this will run"

    def __init__(self, context: Context, item: PlanView, now: float, skip: tuple[int, ...] = ()) -> None:
        super().__init__(context, item, now, skip)
        #: why nothing may be approved at this time, or ""; the daemon decides
        self.shut = _shut(item, now)
        self.outside = ""

    @property
    def wants_number(self) -> bool:
        """Whether the plan touches so much that its number has to be typed."""
        settings = self.given.settings
        free = {"free_shards": settings.free_shards, "free_hosts": settings.free_hosts}
        return wants_number(self.item.plan, self._skip, **free)

    def asks(self) -> tuple[tuple[str, str], ...]:
        """The plan's number, for plans that touch a lot; and a reason."""
        touched = reach(self.item.plan, self._skip)
        wanted = f"{touched.shards} shards on {touched.hosts} hosts: type the plan's number, {self.item.plan.number}"
        needed = "needed by the policy" if self.item.plan.policy.reason_required else "for the log"
        why = ("why", f"reason, {needed}")
        late = (("outside", "say why it cannot wait"),) if self.shut else ()
        return ((("number", wanted),) if self.wants_number else ()) + late + (why,)

    def lines(self, width: int) -> list[Line]:
        """What runs, and that this is not the time for it."""
        found = super().lines(width)
        if self.shut:
            found += [(), *((span(text, "warn"),) for text in wrap(span(self.shut).text, width))]
        return found

    def how(self) -> Line:
        """Enter runs exactly this digest."""
        return keys_line(f"run exactly {self.item.digest[:PREFIX]}")

    def action_confirm(self) -> None:
        """Approve, unless the number is asked for and wrong, or a reason is needed and missing."""
        number = self.item.plan.number
        if self.wants_number and self.typed("number").lstrip("#") != str(number):
            self.hint((Span(f"not approved: type {number} and enter, or esc to leave it", "warn"),))
        elif self.item.plan.policy.reason_required and not self.typed("why"):
            self.hint((Span("not approved: the policy asks for a reason", "warn"),))
            self.query_one("#why").focus()
        elif self.shut and not self.typed("outside"):
            self.hint((Span("not approved: say why it cannot wait, or esc to leave it", "warn"),))
            self.query_one("#outside").focus()
        else:
            self.outside = self.typed("outside")
            self.dismiss(self.typed("why"))


class RejectPanel(PlanPanel):
    """Reject: returns the reason, which may be empty, or None."""

    TITLE_TEXT: ClassVar[str] = "reject this plan"

    def how(self) -> Line:
        """Enter rejects."""
        return keys_line("reject")


class ResumePanel(PlanPanel):
    """Go on with a paused plan: returns the reason, or None."""

    TITLE_TEXT: ClassVar[str] = "go on with this plan"

    def how(self) -> Line:
        """Enter goes on."""
        return keys_line("go on")


class CancelPanel(PlanPanel):
    """Cancel: what that does to each action, first; returns the reason, or None."""

    TITLE_TEXT: ClassVar[str] = "cancel: this is what happens"
    DANGER: ClassVar[bool] = True

    def __init__(self, context: Context, item: PlanView, now: float, effects: CancelView) -> None:
        super().__init__(context, item, now)
        self._effects = effects

    def lines(self, width: int) -> list[Line]:
        """Action by action, as the daemon said just now."""
        glyphs = self._glyphs
        found: list[Line] = [
            (Span(f"plan #{self._effects.number}", "strong"), span(f"  {self._effects.state}", "muted")),
            (),
            (Span(f"{'':4}{fit('SHARD', 16, glyphs)} {fit('STATE', 10, glyphs)} WHAT CANCELLING DOES", "muted"),),
        ]
        for effect in self._effects.effects:
            sign = {"cancelled": glyphs.pending, "back": glyphs.undone, "finished": glyphs.done}.get(effect.will, " ")
            style: StyleName = "warn" if effect.will == "back" else "text"
            found.append(
                (
                    Span(f"{effect.id:>2} {sign}", "accent"),
                    span(fit(span(effect.shard).text, 16, glyphs), "strong"),
                    span(f" {fit(effect.state.lower(), 10, glyphs)} "),
                    span(fit(span(effect.text).text, max(10, width - 33), glyphs).rstrip(), style),
                )
            )
        return found

    def how(self) -> Line:
        """Enter cancels."""
        return keys_line("cancel the plan", "let it go on")


class HoldPanel(DecisionPanel):
    """The hold: begin nothing new. Returns the reason, which may be empty, or None."""

    TITLE_TEXT: ClassVar[str] = "HOLD: nothing new begins"
    DANGER: ClassVar[bool] = True

    def lines(self, width: int) -> list[Line]:
        """What it does."""
        return [
            (Span(f" {self._glyphs.hold} HOLD ", "danger"), Span("  at once and for the whole fleet, until released")),
            (Span("steps that run go on to where their shard is safe; nothing is taken back", "muted"),),
        ]

    def how(self) -> Line:
        """Enter holds."""
        return keys_line("hold everything")


class ReleasePanel(DecisionPanel):
    """The end of a hold, which needs the word: it lets things begin. Returns the reason, or None."""

    TITLE_TEXT: ClassVar[str] = "release the hold: things begin again"

    def __init__(self, context: Context, held: str) -> None:
        super().__init__(context)
        self._held = held

    def lines(self, width: int) -> list[Line]:
        """Who holds, and why."""
        return [(Span(f" {self._glyphs.hold} HOLD ", "danger"), span(f"  {self._held}"))]

    def asks(self) -> tuple[tuple[str, str], ...]:
        """The word, and a reason."""
        return (("word", "type release"), ("why", "reason, for the log"))

    def how(self) -> Line:
        """Enter releases."""
        return keys_line("release", "stay held")

    def action_confirm(self) -> None:
        """Release, if the word was typed."""
        if self.typed("word").casefold() != "release":
            self.hint((Span("still held: type release and enter, or esc", "warn"),))
        else:
            self.dismiss(self.typed("why"))
