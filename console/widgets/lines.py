"""A pane of lines: scrolls, and repaints only the lines whose content changed.

Textual sends whatever is repainted, changed or not, so the comparison is made here. That
is what keeps a quiet fleet quiet on a slow SSH line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sidestep.console.text import Line, StyleName, width_of

#: the theme's variables for foreground and background, and whether it is bold. Not component classes:
#: Textual would work those out anew for every pane whenever any class on the screen changes.
_LOOKS: Final[dict[StyleName, tuple[str, str, bool]]] = {
    "text": ("foreground", "", False),
    "muted": ("muted", "", False),
    "strong": ("foreground", "", True),
    "accent": ("accent", "", False),
    "ok": ("ok", "", False),
    "warn": ("warn", "", True),
    "error": ("error", "", True),
    "bar": ("foreground", "panel", True),
    "alert": ("background", "warn", True),
}


class LinePane(ScrollView):
    """Shows lines that are plain data. Subclasses say what stands in a line, never how it is painted."""

    DEFAULT_CSS = "LinePane { scrollbar-size: 1 1; overflow-x: hidden; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: Sequence[Line] = ()
        self._styles: dict[tuple[StyleName, bool], Style] = {}
        self.painted = 0

    @property
    def lines(self) -> Sequence[Line]:
        """The lines as they were last shown."""
        return self._lines

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Take new lines; what differs from before is repainted, and nothing else."""
        old, self._lines = self._lines, lines
        if len(old) != len(lines):
            self.virtual_size = Size(0, len(lines))
        top = round(self.scroll_offset.y)
        for y in range(top, top + max(1, self.size.height)):
            before = old[y] if y < len(old) else ()
            if before != (lines[y] if y < len(lines) else ()):
                self.refresh_line(y)

    def is_marked(self, y: int) -> bool:
        """Whether line ``y`` lies under a cursor."""
        return False

    def render_line(self, y: int) -> Strip:
        """One line of the window, for Textual."""
        self.painted += 1
        return self.paint(y + round(self.scroll_offset.y))

    def paint(self, y: int) -> Strip:
        """Line ``y`` of the content as a strip as wide as the window."""
        width = self.scrollable_content_region.width
        if not 0 <= y < len(self._lines):
            return Strip.blank(width, self.look("text", False))
        marked = self.is_marked(y)
        segments = [Segment(part.text, self.look(part.style, marked)) for part in self._lines[y] if part.text]
        used = sum(width_of(part.text) for part in self._lines[y])
        return Strip(segments, used).adjust_cell_length(width, self.look("text", marked))

    def look(self, name: StyleName, marked: bool) -> Style:
        """The Rich style of a name, on the cursor's background if marked."""
        style = self._styles.get((name, marked))
        if style is None:
            theme = self.app.theme_variables
            front, back, bold = _LOOKS[name]
            behind = theme["panel" if marked else back] if marked or back else self.background_colors[1].hex6
            style = Style(color=theme[front], bgcolor=behind, bold=bold)
            self._styles[name, marked] = style
        return style

    def notify_style_update(self) -> None:
        """The theme changed: forget the styles that were made from it."""
        self._styles = {}
        super().notify_style_update()

    def on_resize(self, event: Any) -> None:
        """A new width means new lines; subclasses that make them by width override ``relay``."""
        self.relay()

    def relay(self) -> None:
        """Make the lines again for the present size."""
