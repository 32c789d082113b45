"""Level shadow: what would have been approved, and what came of it since nobody did it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from sidestep.autopilot.loop_outcome import OutcomeWatch
from sidestep.autopilot.state_file import StateError, read_state, write_state
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import Measured, Plan
from sidestep.fleet.snapshot import Snapshot

#: what is remembered
MOST: Final = 200
NAME: Final = "shadow.json"
_ACTED: Final = frozenset(
    {PlanState.APPROVED, PlanState.RUNNING, PlanState.SUCCEEDED, PlanState.PARTIAL, PlanState.FAILED}
)


class Shade(Struct, frozen=True, kw_only=True):
    """One plan that level shadow looked at.

    ``against`` is why it would not have been approved, "" if it would have been. ``end`` is measured,
    acted (people approved it), lost (the daemon ended first), or "" while it is watched. ``came`` says whether
    a host went over the threshold that the plan was made for.
    """

    number: int
    digest: str
    at: float
    actions: int
    against: Label = Label("")
    end: Literal["", "measured", "acted", "lost"] = ""
    measured: tuple[Measured, ...] = ()
    came: bool | None = None


class Shades(Struct, frozen=True, kw_only=True):
    """The file, oldest first."""

    version: Literal[1] = 1
    rows: tuple[Shade, ...] = ()


class Shadow:
    """Notes and measures; ``say`` is told once of each, and of trouble with the file."""

    def __init__(self, say: Callable[[str], None], state: Callable[[str], PlanState]) -> None:
        self._say, self._state = say, state
        self._path: Path | None = None
        self._watches: dict[str, OutcomeWatch] = {}
        self.rows: tuple[Shade, ...] = ()

    def attach(self, folder: Path) -> None:
        """Go on from the file in that folder. What was watched when a daemon ended is lost."""
        self._path = folder / NAME
        try:
            known = read_state(self._path, Shades) or Shades()
        except StateError as error:
            self._say(f"shadow: {error}")
            return
        self.rows = tuple(row if row.end else replace(row, end="lost") for row in known.rows)

    def note(self, plan: Plan, digest: str, against: str, now: float) -> None:
        """A plan as it is proposed; the same again changes nothing."""
        if any(row.digest == digest for row in self.rows):
            return
        row = Shade(number=plan.number, digest=digest, at=now, actions=len(plan.actions), against=scrub(against))
        self._watches[digest] = OutcomeWatch(plan, digest, now)
        self.rows = (*self.rows, row)[-MOST:]
        kept = {each.digest for each in self.rows}
        self._watches = {name: watch for name, watch in self._watches.items() if name in kept}
        would = f"would have been left to people: {against}" if against else "would have been approved"
        self._say(f"shadow: plan {plan.number} {would}")
        self._keep()

    def observe(self, snapshot: Snapshot) -> None:
        """Take one picture; what has been watched long enough is written down."""
        for digest, watch in tuple(self._watches.items()):
            if self._state(digest) in _ACTED:
                self._end(digest, replace(self._row(digest), end="acted"))
            elif watch.observe(snapshot):
                measured = watch.outcome()
                limits = {(a.evidence.host, a.evidence.dimension): a.evidence.threshold
                          for a in watch.plan.actions if a.evidence is not None}  # fmt: skip
                hot = [m for m in measured if m.measured > limits.get((m.host, m.dimension), float("inf"))]
                self._end(digest, replace(self._row(digest), end="measured", measured=measured, came=bool(hot)))
                shown = "; ".join(
                    f"{m.host} {m.dimension} {m.measured:.0%} measured, {m.predicted_without:.0%} predicted,"
                    f" {m.predicted_with:.0%} with the plan"
                    for m in (hot or measured)
                )
                came = "came" if hot else "did not come"
                self._say(
                    f"shadow: plan {watch.plan.number} was not run; its contention {came}: {shown or 'not measured'}"
                )

    def _row(self, digest: str) -> Shade:
        return next(row for row in self.rows if row.digest == digest)

    def _end(self, digest: str, ended: Shade) -> None:
        del self._watches[digest]
        self.rows = tuple(ended if row.digest == digest else row for row in self.rows)
        self._keep()

    def _keep(self) -> None:
        if self._path is None:
            return
        try:
            write_state(self._path, Shades(rows=self.rows))
        except StateError as error:
            self._say(f"shadow: {error}")
