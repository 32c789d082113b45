"""The way to the first paint, and right after it: nothing is done before it that is not on it.

Python's collector finds nothing in that time and looks at everything again and again; style sheets of
other screens are read later; and the line to the daemon is opened once there is something on the screen,
since a large fleet's first picture is as much work as painting.
"""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from textual.app import App
from textual.timer import Timer

if TYPE_CHECKING:
    from sidestep.console.context import Context

STYLES: Final = Path(__file__).parent / "styles"
#: style sheets of the screen that is painted first
FIRST: Final[list[str | PurePath]] = [STYLES / f"{name}.tcss" for name in ("base", "fleet")]
#: of all others: read when one goes there, or so many seconds after the start
_LATER: Final = [STYLES / f"{name}.tcss" for name in ("screens", "plans")]
_LATER_IN: Final = 1.5
#: seconds between looks for the first picture
_EARLY: Final = 0.04


class Starting(App[int]):
    """The part of the application that gets it onto the screen."""

    given: Context
    _early: Timer | None = None

    def __init__(self) -> None:
        super().__init__()
        #: set once the first screen has been painted
        self.painted = asyncio.Event()

    if TYPE_CHECKING:  # what the application has

        def beat(self) -> None:
            """Hand the newest picture to the screen."""

    def first_painted(self) -> None:
        """The first screen is there: collect again, but never what was made until now, and look for a picture."""
        if self.painted.is_set():
            return
        self.painted.set()
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        self.set_timer(_LATER_IN, self.style_all)
        self._early = self.set_interval(_EARLY, self._look)

    def _look(self) -> None:
        """Show the first picture when it comes, not at the next beat."""
        feed = self.given.feed
        if self._early is not None and (feed.view is not None or feed.status.kind != "starting"):
            self._early.stop()
            self.beat()

    def style_all(self) -> None:
        """Read the style sheets of all screens, if they have not been read."""
        missing = [path for path in _LATER if not self.stylesheet.has_source(str(path))]
        if missing:
            self.stylesheet.read_all(missing)
            self.stylesheet.parse()
