"""The console: screens over one feed, one beat that hands them the newest picture.

It holds no state of the fleet and opens no connection; what acts is asked for on the Plans
screen and done by the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec
from textual.app import App
from textual.filter import LineFilter

from sidestep import themes
from sidestep.console import commands
from sidestep.console.context import Context, Picture, picture
from sidestep.console.feed import Feed
from sidestep.console.guard import TerminalGuard
from sidestep.console.panels.command import PromptPanel
from sidestep.console.screens.base import ConsoleScreen
from sidestep.console.screens.fleet import FleetScreen
from sidestep.console.screens.help import HelpPanel
from sidestep.console.screens.log import LogScreen
from sidestep.console.screens.plans import PlansScreen
from sidestep.console.skin import skin, variables
from sidestep.console.text import ASCII, UNICODE, span

#: seconds between looks at the feed
BEAT: Final = 0.5
_STYLES: Final = Path(__file__).parent / "styles"


class ConsoleApp(App[int]):
    """The terminal application. The caller runs the feed beside it (see ``attend``)."""

    CSS_PATH = [_STYLES / f"{name}.tcss" for name in ("base", "fleet", "plans")]  # noqa: RUF012 - Textual's type
    ENABLE_COMMAND_PALETTE = False
    TITLE = "sidestep"

    def __init__(
        self,
        feed: Feed,
        *,
        theme: str = themes.DEFAULT,
        ascii_only: bool = False,
        read_only: bool = False,
        patterns: bool | None = None,
    ) -> None:
        self._guard = TerminalGuard(ascii_only=ascii_only)
        super().__init__()
        few = self.console.color_system in {None, "standard", "windows"}
        self.given = Context(
            feed=feed,
            glyphs=ASCII if ascii_only else UNICODE,
            read_only=read_only,
            patterns=self.no_color or few or ascii_only if patterns is None else patterns,
        )
        self._frozen: Picture | None = None
        self._wanted = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The variables of our style sheets, so that Textual's own themes work too."""
        return variables(themes.load())

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, and the last net under every string."""
        return [*super().get_line_filters(), self._guard]

    def on_mount(self) -> None:
        """Dress, show the Fleet screen, and start the beat."""
        self.wear(self._wanted)
        for screen in (FleetScreen(self.given), PlansScreen(self.given), LogScreen(self.given)):
            self.install_screen(screen, screen.SCOPE)
        self.push_screen("fleet")
        self.set_interval(BEAT, self.beat)
        self.call_after_refresh(self.beat)

    def wear(self, name: str) -> None:
        """Load and use a theme. Raises ThemeError."""
        theme = skin(themes.load(name))
        self.register_theme(theme)
        if self.theme == theme.name:
            self.theme = "textual-dark"
        self.theme = theme.name

    def beat(self) -> None:
        """Hand the newest picture (or the frozen one, with the line's present state) to the screen."""
        newest = picture(self.given)
        if self._frozen is not None:
            newest = msgspec.structs.replace(self._frozen, status=newest.status, age=newest.age)
        for screen in reversed(self.screen_stack):
            if isinstance(screen, ConsoleScreen):
                if screen.is_mounted and screen.query("#top"):
                    screen.show(newest)
                return

    @property
    def place(self) -> ConsoleScreen:
        """The screen under any dialog."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, ConsoleScreen))

    def action_command(self, name: str) -> None:
        """Run a command of the registry: the screen's own way first."""
        handler = getattr(self.place, f"do_{name}", None) or getattr(self, f"do_{name}")
        handler()

    def _go(self, name: str) -> None:
        if name != self.place.SCOPE:
            self.switch_screen(name)
            self.call_after_refresh(self.beat)

    def do_fleet(self) -> None:
        """To the Fleet screen."""
        self._go("fleet")

    def do_plans(self) -> None:
        """To the Plans screen."""
        self._go("plans")

    def do_log(self) -> None:
        """To the Log screen."""
        self._go("log")

    def do_back(self) -> None:
        """Leave what is open; then back to the Fleet screen."""
        if not self.place.leave():
            self._go("fleet")

    def do_next(self) -> None:
        """Move the focus."""
        self.place.focus_next()

    def do_quit(self) -> None:
        """Leave."""
        self.exit(0)

    def do_freeze(self) -> None:
        """Keep the picture still, or let it go on."""
        self._frozen = None if self._frozen else msgspec.structs.replace(picture(self.given), frozen=True)
        self.beat()

    def do_help(self) -> None:
        """The keys of this screen."""
        self.push_screen(HelpPanel(self.given, self.place.SCOPE))

    def do_filter(self) -> None:
        """Type a filter; the rows follow every keystroke."""
        place, before = self.place, self.place.pattern
        self.push_screen(
            PromptPanel("/", before, changed=place.filter_by),
            lambda typed: place.filter_by(before if typed is None else typed),
        )

    def do_command(self) -> None:
        """Type a command."""
        view = self.given.feed.view
        choices: dict[commands.Takes, tuple[str, ...]] = {
            "theme": themes.available(),
            "host": tuple(sorted(host.name for host in view.hosts)) if view is not None else (),
        }
        self.push_screen(PromptPanel(":", complete=lambda text: commands.completions(text, choices)), self._typed)

    def _typed(self, text: str | None) -> None:
        if not text:
            return
        parsed = commands.parse(text)
        if isinstance(parsed, str):
            self.tell(parsed)
            return
        command, argument = parsed
        if command.takes == "theme":
            self._theme(argument)
        elif command.takes == "host":
            self._host(argument)
        else:
            self.action_command(command.id)

    def _theme(self, name: str) -> None:
        try:
            self.wear(name)
        except themes.ThemeError as error:
            self.tell(str(error))

    def _host(self, name: str) -> None:
        self._go("fleet")
        fleet = cast(FleetScreen, self.get_screen("fleet"))

        def select() -> None:
            fleet.filter_by("")
            if not fleet.hosts.select(name):
                self.tell(f"no host is called {name}")

        self.call_after_refresh(select)

    def tell(self, text: str) -> None:
        """A note in the corner; never markup."""
        self.notify(span(text).text, markup=False)


async def attend(app: ConsoleApp, ending: Callable[[], None] = lambda: None) -> int:
    """Run the console and its feed until it is left; returns the exit code.

    ``ending`` is called when the terminal is free again and before what was started is ended.
    """
    life = asyncio.create_task(app.given.feed.run(), name="feed")
    try:
        code = await app.run_async()
    finally:
        ending()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
    return code or app.return_code or 0
