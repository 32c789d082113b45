"""What every screen and widget is given: the feed, the signs, and what may be done here."""

from __future__ import annotations

from msgspec import Struct

from sidestep.autopilot.protocol import PlanView, Welcome
from sidestep.console.commands import Command
from sidestep.console.feed import Feed, Status
from sidestep.console.keymap import Keymap
from sidestep.console.settings import Settings
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
    settings: Settings = Settings()

    @property
    def keymap(self) -> Keymap:
        """The keys that are bound."""
        return self.settings.keymap

    @property
    def looking(self) -> str:
        """Why nothing may be done here, or ""."""
        if self.feed.told:
            return "this is a recording"
        return "this console is read-only (--read-only)" if self.read_only else ""

    def key(self, command: Command) -> str:
        """The first key of a command as people write it, or ""."""
        return self.keymap.shown(command)


class Picture(Struct, frozen=True, kw_only=True):
    """What a screen shows in one beat.

    ``view`` is what every screen draws: what was measured, or, with ``ahead`` above 0, what is
    predicted for so many seconds later; ``present`` is always what was measured.
    """

    status: Status
    age: float = 0.0
    view: FleetView | None = None
    present: FleetView | None = None
    ahead: float = 0.0
    #: the plan that the timeline and the maps are about, and whether its effect is shown
    chosen: PlanView | None = None
    with_plan: bool = False
    plans: tuple[PlanView, ...] = ()
    no_plan: NoPlan | None = None
    welcome: Welcome | None = None
    note: str = ""
    #: that this is a recording, and of when; "" for the present
    replay: str = ""
    #: what trust allows the autopilot, "" until the daemon has said it
    trust: str = ""
    frozen: bool = False
    #: whether a newer picture should have come long ago
    overdue: bool = False
    read_only: bool = False

    @property
    def now(self) -> float:
        """The controller's present time; 0 before there is a picture."""
        return self.present.time if self.present is not None else 0.0

    @property
    def held(self) -> str:
        """Why nothing new begins, or ""."""
        alerts = self.present.frame.alerts if self.present is not None else ()
        return next((alert for alert in alerts if alert.startswith("held")), "")


def picture(context: Context) -> Picture:
    """The newest picture that the feed has."""
    feed = context.feed
    return Picture(
        status=feed.status,
        age=feed.age(),
        view=feed.view,
        present=feed.view,
        plans=feed.plans,
        no_plan=feed.no_plan,
        welcome=feed.welcome,
        note=feed.session.note,
        read_only=context.read_only,
        replay=feed.told,
        overdue=feed.overdue(),
    )
