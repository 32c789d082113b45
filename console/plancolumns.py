"""The columns of the list of plans; "no plan" is a row too, since it is an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from sidestep.autopilot.protocol import PlanView
from sidestep.console.plantext import plan_when
from sidestep.console.query import Words
from sidestep.console.sheet import Column, Sheet
from sidestep.console.text import Glyphs, Span, fit, plan_glyph, span, until
from sidestep.fleet.plans import NoPlan
from sidestep.fleet.resources import show_size

NO_PLAN: Final = "no plan"
Cells = tuple[Span, ...]


class PlanRows(Struct, frozen=True):
    """Plans as they are now; names are their digests."""

    plans: Sequence[PlanView]
    no_plan: NoPlan | None
    now: float

    @property
    def names(self) -> tuple[str, ...]:
        """The rows' identities."""
        return (*(item.digest for item in self.plans), *((NO_PLAN,) if self.no_plan is not None else ()))

    def item(self, row: int) -> PlanView | None:
        """The plan of a row; None for "no plan"."""
        return self.plans[row] if row < len(self.plans) else None


def _number(rows: PlanRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    item = rows.item(row)
    if item is None:
        return (Span(f" {glyphs.none} ", "muted"), Span(fit(NO_PLAN, width, glyphs), "muted"))
    mark = plan_glyph(item.status.state, glyphs)
    return (Span(f" {mark.text} ", mark.style), Span(fit(f"#{item.plan.number}", width, glyphs), mark.style))


def _state(rows: PlanRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    item = rows.item(row)
    if item is None:
        return (Span(fit("", width, glyphs)),)
    return (Span(fit(item.status.state, width - 1, glyphs) + " ", plan_glyph(item.status.state, glyphs).style),)


def _when(rows: PlanRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    item = rows.item(row)
    created = rows.no_plan.created if rows.no_plan is not None else rows.now
    text = plan_when(item, rows.now) if item is not None else until(min(0.0, created - rows.now))
    return (Span(fit(text, width - 1, glyphs) + " ", "muted"),)


def _actions(rows: PlanRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    item = rows.item(row)
    return (Span(fit(str(len(item.plan.actions)) if item else "", width - 1, glyphs, right=True) + " "),)


def _bytes(rows: PlanRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    item = rows.item(row)
    text = show_size(sum(action.bytes for action in item.plan.actions)) if item else ""
    return (Span(fit(text, width - 1, glyphs, right=True) + " ", "muted"),)


def _why(rows: PlanRows, row: int, width: int, glyphs: Glyphs) -> Cells:
    return (Span(fit(span(_summary(rows, row)).text, width, glyphs)),)


def _summary(rows: PlanRows, row: int) -> str:
    item = rows.item(row)
    if item is not None:
        return item.plan.summary
    reasons = rows.no_plan.reasons if rows.no_plan is not None else ()
    return reasons[0].text if reasons else "nothing to do"


def _each(value: Any, otherwise: float = -1.0) -> Any:
    """A column of one number a plan."""

    def read(rows: PlanRows) -> Any:
        import numpy as np  # noqa: PLC0415 - not before the first paint

        return np.array([value(p) for p in rows.plans] + [otherwise] * (rows.no_plan is not None), dtype=float)

    return read


def _states(rows: PlanRows) -> Words:
    return Words((*(item.status.state.lower() for item in rows.plans), *((NO_PLAN,) if rows.no_plan else ())))


def _summaries(rows: PlanRows) -> Words:
    return Words(tuple(_summary(rows, row) for row in range(len(rows.names))))


PLANS: Final[Sheet[PlanRows]] = Sheet(
    columns=(
        Column(id="plan", title="PLAN", width=0, cells=_number, key=_each(lambda p: p.plan.number)),
        Column(id="state", title="STATE", width=12, cells=_state, key=_states, high=False),
        Column(id="when", title="WHEN", width=11, cells=_when, key=_each(lambda p: p.status.updated)),
        Column(
            id="actions", title="ACTIONS", width=8, cells=_actions, right=True, least=100,
            key=_each(lambda p: len(p.plan.actions)),
        ),
        Column(
            id="bytes", title="BYTES", width=8, cells=_bytes, right=True, least=110,
            key=_each(lambda p: sum(a.bytes for a in p.plan.actions)),
        ),
        Column(id="why", title="WHY", width=0, cells=_why, key=_summaries, high=False),
    ),
    names=lambda rows: rows.names,
    widest=8,
    first="plan",
    more={"name": _summaries},
)  # fmt: skip
