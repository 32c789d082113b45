"""What is written on the screens can be read in every theme: measured on what would go to the terminal."""

from __future__ import annotations

from pathlib import Path

from conftest import Console, console_on
from frames import Daemon
from textual.geometry import Region

from sidestep import themes
from sidestep.themes.colour import contrast
from sidestep.themes.schema import MIN_CONTRAST

#: the keys, or the line, that lead to each screen from the one before
WAYS = ("1", "v", "4", "a", "escape", "H", "escape", ":", "escape", "i", "?")


def faint(console: Console) -> set[str]:
    """Words whose colour is too near to what is behind them; what a dialog has dimmed does not count."""
    screen, found = console.app.screen, set()
    dialogs = screen.query(".dialog, PromptPanel Horizontal")
    region = dialogs.first().region if screen.is_modal and dialogs else Region(0, 0, *console.app.size)
    for y, strip in enumerate(screen._compositor.render_strips()):
        x = 0
        for segment in strip:
            width = segment.cell_length
            inside = region.contains(x, y) and region.contains(x + width - 1, y)
            x += width
            style = segment.style
            if not inside or style is None or not any(char.isalnum() for char in segment.text):
                continue
            if (
                style.color is None
                or style.bgcolor is None
                or style.color.triplet is None
                or style.bgcolor.triplet is None
            ):
                continue
            ink, ground = (style.bgcolor, style.color) if style.reverse else (style.color, style.bgcolor)
            ratio = contrast(ink.triplet.hex, ground.triplet.hex)
            if ratio < MIN_CONTRAST:
                found.add(f"{segment.text.strip()!r} {ink.triplet.hex} on {ground.triplet.hex}: {ratio:.1f}")
    return found


async def test_everything_written_in_every_theme_has_contrast(daemon: Daemon, socket: Path) -> None:
    """S7: contrast of at least 4.5 for every theme, of tables, bars, maps, dialogs, prompts and notes."""
    wrong: dict[tuple[str, str], set[str]] = {}
    async with console_on(socket, (120, 40)) as console:
        for theme in themes.available():
            console.app.choose(theme)
            await console.until(lambda name=theme: console.app.theme == name)  # type: ignore[misc]
            for key in WAYS:
                await console.press("colon" if key == ":" else "question_mark" if key == "?" else key)
                if missed := faint(console):
                    wrong[theme, key] = missed
            await console.press("escape", "escape")
    assert not wrong, "\n".join(
        f"{theme} after {key}: {', '.join(sorted(said))}" for (theme, key), said in wrong.items()
    )
