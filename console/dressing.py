"""Which theme is worn: what was said, else the fleet's own, else the settings'; files that change are read again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from textual.app import App

from sidestep import themes
from sidestep.console.skin import skin

if TYPE_CHECKING:
    from sidestep.console.context import Context

_EVERY: Final = 1.0


class Dressing(App[int]):
    """The part of the application that wears themes."""

    given: Context
    #: the theme that the command line or a person named, "" for none
    said: str = ""
    _looked = 0.0
    _worn: tuple[str, tuple[int, int] | None] = ("", None)
    #: the variables that the style sheets were read with
    _styled: Mapping[str, str] = MappingProxyType({})

    if TYPE_CHECKING:  # what the application has

        def tell(self, text: str) -> None:
            """A note in the corner."""

    def wanted(self) -> str:
        """The name of the theme that is to be worn."""
        settings, welcome = self.given.settings, self.given.feed.welcome
        fleet = settings.fleets.get(welcome.fleet, "") if welcome is not None else ""
        return self.said or fleet or settings.theme or themes.DEFAULT

    def dress(self) -> None:
        """Wear what is to be worn, at most a look a second; a file that is wrong is told once and changes nothing.

        At the very first look it falls back to the default theme.
        """
        now, first = time.monotonic(), not self._worn[0]
        if not first and now - self._looked < _EVERY:
            return
        self._looked = now
        name = self.wanted()
        found = (name, themes.stamp(name))
        if found == self._worn:
            return
        self._worn = found
        try:
            self.wear(name)
        except (themes.ThemeError, OSError) as error:
            if first:
                self.wear(themes.DEFAULT)
            self.call_after_refresh(self.tell, f"theme: {error}")

    def dress_early(self) -> None:
        """Wear what is to be worn before anything is styled; what is wrong with it is told by the first ``dress``."""
        name = self.wanted()
        try:
            theme = skin(themes.load(name))
        except (themes.ThemeError, OSError):
            return
        self.register_theme(theme)
        self.set_reactive(App.theme, theme.name)
        self._worn, self._styled = (name, themes.stamp(name)), self.get_css_variables()
        self.stylesheet.set_variables(self._styled)

    def refresh_css(self, animate: bool = True) -> None:
        """Style everything anew; style sheets are read again only for other colours."""
        variables = self.get_css_variables()
        if variables == self._styled:
            self.stylesheet.update(self, animate=animate)
            return
        self._styled = variables
        super().refresh_css(animate)

    def choose(self, name: str) -> None:
        """Wear a theme from now on. Raises ThemeError."""
        self.wear(name)
        self.said, self._worn = name, (name, themes.stamp(name))

    def wear(self, name: str) -> None:
        """Load and use a theme. Raises ThemeError."""
        theme = skin(themes.load(name))
        self.register_theme(theme)
        if self.theme == theme.name:
            self.theme = "textual-dark"
        self.theme = theme.name
