"""A line that is wider than its pane says that there is more of it."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from sidestep.console.text import Span
from sidestep.console.widgets.lines import LinePane


class Narrow(App[None]):
    """A pane of ten columns."""

    CSS = "LinePane { width: 10; height: 3; }"
    cut_sign = "~"

    def compose(self) -> ComposeResult:
        yield LinePane()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict.fromkeys(("muted", "ok", "warn", "error", "accent"), "#808080")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0123456789", "0123456789"),
        ("0123456789a", "012345678~"),
        ("01234567     ", "01234567  "),
        ("語語語語語語", "語語語語 ~"),
        ("語語語語語", "語語語語語"),
    ],
)
async def test_what_is_cut_ends_in_a_sign_and_blanks_are_not_missed(text: str, shown: str) -> None:
    async with Narrow().run_test(size=(20, 5)) as pilot:
        pane = pilot.app.query_one(LinePane)
        pane.show_lines([(Span(text[:4], "muted"), Span(text[4:]))])
        await pilot.pause()
        assert pane.render_line(0).text == shown
