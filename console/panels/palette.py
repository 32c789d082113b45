"""The palette: every command by what it does, found by the letters that one remembers."""

from __future__ import annotations

import re
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from sidestep.console import commands
from sidestep.console.commands import COMMANDS, Command
from sidestep.console.context import Context
from sidestep.console.text import Line, Span, fit
from sidestep.console.widgets.lines import entitle
from sidestep.console.widgets.linetable import LineTable


def offered(scope: str) -> list[Command]:
    """What can be run from a screen: its own commands, and every word."""
    here = [c for c in commands.on_screen(scope) if "list" not in c.scopes and c.id != "palette"]
    return here + [c for c in COMMANDS if c.words and c not in here]


def found(typed: str, among: list[Command]) -> list[Command]:
    """The commands that hold these letters in this order: those whose title begins with them first."""
    wanted = re.compile(".*?".join(map(re.escape, typed.replace(" ", ""))), re.IGNORECASE)

    def rank(command: Command) -> tuple[int, int]:
        title = f"{command.title} {' '.join(command.words)}"
        hit, other = wanted.search(title), wanted.search(command.help)
        if hit is not None:
            return 0 if hit.start() == 0 else 1, hit.end() - hit.start()
        return (2, other.end() - other.start()) if other is not None else (9, 0)

    ranked = [(rank(command), at, command) for at, command in enumerate(among)]
    return [command for (group, _), _, command in sorted(ranked, key=lambda row: row[:2]) if group < 9]


class PalettePanel(ModalScreen[str]):
    """A line to type and what fits it; returns a command's id, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Back", show=False),
        Binding("down,ctrl+n,tab", "move('down')", "Down", show=False),
        Binding("up,ctrl+p,shift+tab", "move('up')", "Up", show=False),
    ]

    def __init__(self, context: Context, scope: str) -> None:
        super().__init__(classes="-ascii" if context.glyphs.ascii else "")
        self._given, self._all = context, offered(scope)
        self._read_only = context.read_only

    def compose(self) -> ComposeResult:
        """The line and the list."""
        with Vertical(classes="dialog" + (" -ascii" if self.has_class("-ascii") else "")) as box:
            entitle(box, "commands")
            yield Input(placeholder="letters of what it does")
            yield LineTable(id="offers")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(LineTable).can_focus = False
        self.query_one(LineTable).styles.height = min(len(self._all) + 1, max(6, self.app.size.height * 6 // 10))
        self._offer("")
        self.query_one(Input).focus()

    def _offer(self, typed: str) -> None:
        rows = {command.id: command for command in found(typed, self._all)}
        glyphs = self._given.glyphs

        def line(id: str, width: int) -> Line:
            command = rows[id]
            why = "  disabled: read-only" if command.mutates and self._read_only else ""
            word = f":{command.word}" if command.word else ""
            room = max(0, width - 36 - len(why))
            return (
                Span(f" {fit(self._given.key(command), 10, glyphs)} ", "accent"),
                Span(fit(command.title, 12, glyphs), "strong"),
                Span(fit(word, 11, glyphs), "muted"),
                Span(fit(command.help, room, glyphs)),
                Span(why, "warn"),
            )

        heading: Line = (Span(f" {fit('KEY', 11, glyphs)}{fit('COMMAND', 23, glyphs)}WHAT IT DOES", "muted"),)
        table = self.query_one(LineTable)
        table.show_rows(tuple(rows), lambda _: heading, line)
        table.select(next(iter(rows), ""))  # the best of what is typed now, not what was best before

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._offer(event.value)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.dismiss(self.query_one(LineTable).cursor or None)

    @on(LineTable.Opened)
    def _opened(self) -> None:
        self._submitted()

    def action_move(self, to: str) -> None:
        """Move through the list."""
        self.query_one(LineTable).action_move(to)

    def action_cancel(self) -> None:
        """Leave without a command."""
        self.dismiss(None)
