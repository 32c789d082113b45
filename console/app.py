"""The console: screens over one feed, one beat that hands them the newest picture.

It holds no state of the fleet and opens no connection; what acts is asked for where plans are
shown, and the hold everywhere, and done by the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from textual.app import App
from textual.filter import ANSIToTruecolor, LineFilter

from sidestep import themes
from sidestep.autopilot.protocol import PlanView
from sidestep.console import starting
from sidestep.console.alerting import Alerting
from sidestep.console.announcing import Announcing
from sidestep.console.clockwork import Clockwork
from sidestep.console.context import Context, Picture
from sidestep.console.dividing import Dividing
from sidestep.console.dressing import Dressing
from sidestep.console.drilling import Drilling
from sidestep.console.exporting import Exporting
from sidestep.console.feed import Feed
from sidestep.console.guard import TerminalGuard
from sidestep.console.holding import Holding
from sidestep.console.levelling import Levelling
from sidestep.console.screens.base import ConsoleScreen
from sidestep.console.screens.fleet import FleetScreen
from sidestep.console.screens.forecast import ForecastScreen
from sidestep.console.screens.functions import FunctionsPage
from sidestep.console.screens.log import LogScreen
from sidestep.console.screens.pages import AppPage, HostPage, ShardPage
from sidestep.console.screens.plan import PlanPage
from sidestep.console.screens.plans import PlansScreen
from sidestep.console.screens.plugged import PluggedPage
from sidestep.console.screens.pools import PoolsPage
from sidestep.console.screens.shards import ShardsScreen
from sidestep.console.screens.trust import TrustPage
from sidestep.console.screens.whatif import WhatIfPage
from sidestep.console.settings import Settings
from sidestep.console.skin import variables
from sidestep.console.starting import Starting
from sidestep.console.text import ASCII, UNICODE, span
from sidestep.console.typed import Typing
from sidestep.console.view import FleetView

#: seconds for which attaching waits for the first paint
_PATIENCE: Final = 2.0
#: seconds between looks at the feed
BEAT: Final = 0.5
_SCREENS: Final = (FleetScreen, ShardsScreen, ForecastScreen, PlansScreen, LogScreen)
_PAGES: Final = {
    "host": HostPage, "shard": ShardPage, "app": AppPage, "plan": PlanPage, "whatif": WhatIfPage, "page": PluggedPage,
}  # fmt: skip
#: pages of which there is one
_SINGLE: Final = {"trust": TrustPage, "pools": PoolsPage, "functions": FunctionsPage}


class ConsoleApp(
    Starting, Dressing, Exporting, Alerting, Levelling, Announcing, Drilling, Dividing, Typing, Holding, App[int],
):  # fmt: skip
    """The terminal application. The caller runs the feed beside it (see ``attend``)."""

    CSS_PATH = starting.FIRST  # the others are read later
    ENABLE_COMMAND_PALETTE = False
    TITLE = "sidestep"

    def __init__(
        self,
        feed: Feed,
        *,
        theme: str = "",
        ascii_only: bool = False,
        read_only: bool = False,
        patterns: bool | None = None,
        settings: Settings = Settings(),  # noqa: B008 - frozen
    ) -> None:
        self._guard = TerminalGuard(ascii_only=ascii_only)
        super().__init__()
        few = self.console.color_system in {None, "standard", "windows"}
        self.given = Context(
            feed=feed,
            glyphs=ASCII if ascii_only else UNICODE,
            read_only=read_only,
            patterns=self.no_color or few or ascii_only if patterns is None else patterns,
            settings=settings,
        )
        #: what stands at the end of a line that is wider than its pane
        self.cut_sign = self.given.glyphs.cut
        self.clockwork = Clockwork(self.given)
        self.said = theme
        self._before: tuple[str, str] = ("fleet", "")
        self.dress_early()
        if settings.keymap.changed:
            self.set_keymap({id: ",".join(keys) for id, keys in settings.keymap.changed.items()})

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The variables of our style sheets, so that Textual's own themes work too."""
        return variables(themes.load())

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, and the last net under every string.

        No style of ours names a terminal's own colours, so nothing has to look for them in every segment.
        """
        ours = [each for each in super().get_line_filters() if not isinstance(each, ANSIToTruecolor)]
        return [*ours, self._guard]

    def on_mount(self) -> None:
        """Dress, show the Fleet screen, and start the beat."""
        self.dress()
        for kind in _SCREENS:
            screen = kind(self.given)
            self.install_screen(screen, screen.SCOPE)
        self.push_screen("fleet")
        self.set_interval(BEAT, self.beat)
        self.call_after_refresh(self.beat)

    def beat(self) -> None:
        """Hand the newest picture (frozen or predicted, if that was asked for) to the screen."""
        place = self.place_or_none
        if place is not None and place.is_mounted and place.is_composed:
            shown = self.clockwork.picture()
            place.show(shown)
            self.alert(shown)
            if not self.painted.is_set():
                place.call_after_refresh(self.first_painted)
        self.dress()
        if self.clockwork.wants_trust():
            self.run_worker(self.clockwork.ask_trust(), exit_on_error=False)

    @property
    def place_or_none(self) -> ConsoleScreen | None:
        """The screen under any dialog, if there is one yet."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, ConsoleScreen)), None)

    @property
    def place(self) -> ConsoleScreen:
        """The screen under any dialog."""
        found = self.place_or_none
        assert found is not None
        return found

    def predicted(self, view: FleetView, ahead: float, item: PlanView | None) -> FleetView:
        """The fleet at a later time; the same question is answered once a picture."""
        return self.clockwork.predicted(view, ahead, item)

    def action_command(self, name: str) -> None:
        """Run a command of the registry: the screen's own way first."""
        handler = getattr(self.place, f"do_{name}", None) or getattr(self, f"do_{name}", None)
        if handler is None:
            self.tell(f"{name} does nothing on the {self.place.SCOPE} screen")
            return
        handler()

    # -- where one is

    def _leave_place(self) -> None:
        self.style_all()
        place = self.place
        self._before = (place.SCOPE, getattr(place, "name_of", "") or getattr(place, "digest", ""))
        if isinstance(place, PlanPage | PlansScreen) and place.shown is not None:
            self.clockwork.chosen = place.shown.digest

    def _go(self, name: str) -> None:
        """To one of the screens; pages that are open are left."""
        if name == self.place.SCOPE:
            return
        self._leave_place()
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if name != self.place.SCOPE:
            self.switch_screen(name)
        self.call_after_refresh(self.beat)

    def open_page(self, kind: str, name: str = "") -> None:
        """Open the page of something over what is shown; escape leads back."""
        self._leave_place()
        self.push_screen(_SINGLE[kind](self.given) if kind in _SINGLE else _PAGES[kind](self.given, name))
        self.call_after_refresh(self.beat)

    def do_fleet(self) -> None:
        """To the Fleet screen."""
        self._go("fleet")

    def do_shards(self) -> None:
        """To the Shards screen."""
        self._go("shards")

    def do_forecast(self) -> None:
        """To the Forecast screen."""
        self._go("forecast")

    def do_plans(self) -> None:
        """To the Plans screen."""
        self._go("plans")

    def do_log(self) -> None:
        """To the Log screen."""
        self._go("log")

    def do_to_trust(self) -> None:
        """To the trust account."""
        if not isinstance(self.place, TrustPage):
            self.open_page("trust")

    def do_to_pools(self) -> None:
        """To the pools of instances."""
        if not isinstance(self.place, PoolsPage):
            self.open_page("pools")

    def do_to_functions(self) -> None:
        """To the functions that run."""
        if not isinstance(self.place, FunctionsPage):
            self.open_page("functions")

    def do_what_if(self) -> None:
        """What would happen to the fleet; marked hosts stay marked."""
        self.what_if("")

    def what_if(self, changes: str) -> None:
        """Open the page of what-if, or ask for these changes too if it is open."""
        place = self.place
        if isinstance(place, WhatIfPage):
            place.add(changes)
            return
        marked = place.table.marked if place.table is not None and place.hosts_meant() else ()
        self._leave_place()
        self.push_screen(WhatIfPage(self.given, changes, sorted(marked)))
        self.call_after_refresh(self.beat)

    def do_back(self) -> None:
        """Leave what is open; then the page; then back to the Fleet screen."""
        if self.place.leave():
            return
        if len(self.screen_stack) > 2:
            self._leave_place()
            self.pop_screen()
            self.call_after_refresh(self.beat)
        else:
            self._go("fleet")

    def do_last(self) -> None:
        """To where one was before."""
        kind, name = self._before
        if kind in _PAGES or kind in _SINGLE:
            self.open_page(kind, name)
        else:
            self._go(kind)

    def do_next(self) -> None:
        """Move the focus."""
        self.place.focus_next()

    def do_quit(self) -> None:
        """Leave."""
        self.exit(0)

    # -- when one is

    def do_freeze(self) -> None:
        """Keep the picture still, or let it go on."""
        self.clockwork.freeze()
        self.beat()

    def do_later(self) -> None:
        """Move now into the forecast."""
        self._told(self.clockwork.step(1))

    def do_earlier(self) -> None:
        """Move back towards the present."""
        self._told(self.clockwork.step(-1))

    def do_present(self) -> None:
        """Back to the present."""
        self._told(self.clockwork.present())

    def do_with_plan(self) -> None:
        """The forecast with the selected plan, and without."""
        place = self.place
        if isinstance(place, PlanPage | PlansScreen) and place.shown is not None:
            self.clockwork.chosen = place.shown.digest
        self._told(self.clockwork.toggle_plan())

    def _told(self, problem: str) -> None:
        if problem:
            self.tell(problem)
        self.beat()

    def tell(self, text: str) -> None:
        """A note in the corner; never markup."""
        self.notify(span(" ".join(text.split())).text, markup=False)

    def newest(self) -> Picture:
        """The picture of this beat."""
        return self.clockwork.picture()


async def _feed(app: ConsoleApp) -> None:
    """Attach once there is something on the screen: a large fleet's first picture is as much work as painting."""
    with suppress(TimeoutError):
        await asyncio.wait_for(app.painted.wait(), _PATIENCE)
    await app.given.feed.run()


async def attend(app: ConsoleApp, ending: Callable[[], None] = lambda: None) -> int:
    """Run the console and its feed until it is left; returns the exit code.

    ``ending`` is called when the terminal is free again and before what was started is ended.
    """
    life = asyncio.create_task(_feed(app), name="feed")
    try:
        code = await app.run_async()
    finally:
        ending()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
    return code or app.return_code or 0
