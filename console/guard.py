"""The last net under every string: nothing that a terminal acts on leaves the console.

Names are scrubbed where they enter; this filter sees every segment just before it is
written, also those of widgets that are not ours.
"""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from sidestep.console.text import width_of

_DRAWN: Final = {
    **dict.fromkeys("─━═╌┄╴╶▁▂▔▃▄▅▆▇▀", "-"),
    **dict.fromkeys("│┃║▌▐▎▊╎", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
    "█": "#",
    "…": "~",
    "—": "-",
    "→": ">",
}


class TerminalGuard(LineFilter):
    """Replaces unprintable characters by ``?`` and, in ASCII mode, every other character too."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self._ascii_only = ascii_only

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with harmless texts of the same width; styles are kept."""
        if all(self._clean(segment.text) or segment.control for segment in segments):
            return segments
        return [Segment(self.harmless(text), style, control) for text, style, control in segments]

    def harmless(self, text: str) -> str:
        """The text as it may be written."""
        if self._clean(text):
            return text
        return "".join(char if self._clean(char) else self._instead(char) for char in text)

    def _clean(self, text: str) -> bool:
        return text.isprintable() and (not self._ascii_only or text.isascii())

    def _instead(self, char: str) -> str:
        if not char.isprintable():
            return "?"
        return _DRAWN.get(char, "?" * width_of(char))
