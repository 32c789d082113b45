"""What every screen and widget is given: the feed, the signs, and what may be done here."""

from __future__ import annotations

from msgspec import Struct

from sidestep.autopilot.protocol import PlanView, Welcome
from sidestep.console.feed import Feed, Status
from sidestep.console.text import Glyphs
from sidestep.console.view import FleetView
from sidestep.fleet.plans import NoPlan


class Context(Struct, frozen=True, kw_only=True):
    """Fixed for the life of the console.

    ``patterns`` is set where colour cannot carry meaning (NO_COLOR, 16 colours, ASCII): then
    areas that differ only in colour are drawn with different characters as well.
    """

    feed: Feed
    glyphs: Glyphs
    read_only: bool = False
    patterns: bool = False


class Picture(Struct, frozen=True, kw_only=True):
    """What a screen shows in one beat."""

    status: Status
    age: float = 0.0
    view: FleetView | None = None
    plans: tuple[PlanView, ...] = ()
    no_plan: NoPlan | None = None
    welcome: Welcome | None = None
    note: str = ""
    frozen: bool = False
    read_only: bool = False

    @property
    def now(self) -> float:
        """The controller's time of the picture; 0 before there is one."""
        return self.view.time if self.view is not None else 0.0


def picture(context: Context) -> Picture:
    """The newest picture that the feed has."""
    feed = context.feed
    return Picture(
        status=feed.status,
        age=feed.age(),
        view=feed.view,
        plans=feed.plans,
        no_plan=feed.no_plan,
        welcome=feed.welcome,
        note=feed.session.note,
        read_only=context.read_only,
    )
