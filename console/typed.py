"""What is typed: the command line, the filter, the palette and the help, all from the registry."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Final, Literal

from textual.app import App

from sidestep import themes
from sidestep.console import commands
from sidestep.console.commands import Command
from sidestep.console.levelling import LEVELS
from sidestep.console.panels.command import PromptPanel
from sidestep.console.panels.palette import PalettePanel
from sidestep.console.plugged import pages
from sidestep.console.screens.help import HelpPanel

if TYPE_CHECKING:
    from sidestep.console.context import Context
    from sidestep.console.screens.base import ConsoleScreen

_HISTORY: Final = 100
#: names of each kind that the command line completes
_OFFERED: Final = 2000


class Typing(App[int]):
    """The part of the application that reads lines."""

    given: Context
    _typed_before: list[str]

    if TYPE_CHECKING:  # what the application has

        @property
        def place(self) -> ConsoleScreen:
            """The screen under any dialog."""

        def tell(self, text: str) -> None:
            """A note in the corner."""

        def choose(self, name: str) -> None:
            """Load and use a theme from now on."""

        def export(self, name: str) -> None:
            """Write what is shown to a file."""

        def open_page(self, kind: str, name: str = "") -> None:
            """Open the page of something."""

        def order(self, verb: str, hosts: tuple[str, ...]) -> None:
            """Ask whether to close, empty or open hosts."""

        def set_level(self, text: str) -> None:
            """Ask whether to set a level."""

        def announce(self, text: str) -> None:
            """Ask whether to announce an event."""

        def drill(self, name: str) -> None:
            """Ask whether to begin a fire drill."""

        def divide(self, verb: Literal["split", "merge"], text: str) -> None:
            """Have a split or merge proposed."""

        def what_if(self, changes: str) -> None:
            """Ask what would happen."""

    def do_help(self) -> None:
        """The keys of this screen."""
        self.push_screen(HelpPanel(self.given, self.place.SCOPE, self.size.width))

    def do_filter(self) -> None:
        """Type a filter; the rows follow every keystroke, and what is wrong stands beside it."""
        place, before = self.place, self.place.pattern

        def done(typed: str | None) -> None:
            if problem := place.filter_by(before if typed is None else typed):
                self.tell(f"filter: {problem}")

        self.push_screen(PromptPanel("/", before, changed=place.filter_by), done)

    def do_command(self) -> None:
        """Type a command."""
        self.type_line("")

    def type_line(self, begun: str) -> None:
        """Type a command of which something stands there already."""
        choices = self._choices()
        panel = PromptPanel(
            ":", begun, complete=lambda text: commands.completions(text, choices), history=self._history()
        )
        self.push_screen(panel, self.run_line)

    def _history(self) -> list[str]:
        if not hasattr(self, "_typed_before"):
            self._typed_before = []
        return self._typed_before

    def _choices(self) -> dict[commands.Takes, tuple[str, ...]]:
        view = self.given.feed.view
        plans = tuple(str(item.plan.number) for item in self.given.feed.plans)
        choices: dict[commands.Takes, tuple[str, ...]] = {
            "theme": themes.available(), "column": self.place.sort_columns(), "plan": plans,
            "pool": self.place.pool_names(), "page": pages(),
        }  # fmt: skip
        if view is not None:
            choices["host"] = tuple(sorted(view.host_names[:_OFFERED]))
            choices["shard"] = tuple(sorted(view.shard_names[:_OFFERED]))
            choices["app"] = tuple(view.apps)
            zones = sorted({host.zone for host in view.hosts if host.zone})
            choices["change"] = ("load=+30%", *(f"lose=zone:{zone}" for zone in zones))
            for form in ("drain={}", "lose={}", "add=1:like:{}"):
                choices["change"] += tuple(form.format(host) for host in choices["host"])
            choices["level"] = (*LEVELS, *(f"{level} app {app}" for level in LEVELS for app in choices["app"]))
        return choices

    def run_line(self, text: str | None) -> None:
        """Run a line of the command line, and remember it."""
        if not text or not text.strip():
            return
        history = self._history()
        if history[-1:] != [text]:
            history.append(text)
            del history[:-_HISTORY]
        parsed = commands.parse(text)
        if isinstance(parsed, str):
            self.tell(parsed)
        else:
            self.run_command(*parsed)

    def run_command(self, command: Command, argument: str) -> None:
        """Run a command of the registry with what was typed after it."""
        if command.mutates and command.takes:
            self._order(command, argument)
            return
        match command.takes:
            case "":
                self.call_later(self.run_action, f"command('{command.id}')")
            case "change":
                self.what_if(argument)
            case "theme":
                try:
                    self.choose(argument)
                except themes.ThemeError as error:
                    self.tell(str(error))
            case "file":
                self.export(argument)
            case "column":
                self.place.sort_by(argument)
            case "text":
                if problem := self.place.filter_by(argument):
                    self.tell(f"filter: {problem}")
            case kind:
                self._open(kind, argument)

    def _order(self, command: Command, argument: str) -> None:
        """Ask about something that acts: of what was typed, or what is meant where one is."""
        match command.takes:
            case "host":
                self.order(command.id, tuple(argument.split()) or self.place.hosts_meant())
            case "shard":
                self.divide("merge" if command.id == "merge" else "split", argument)
            case "pool":
                self.drill(argument)
            case "level":
                self.set_level(argument)
            case _:
                self.announce(argument)

    def _open(self, kind: str, name: str) -> None:
        view = self.given.feed.view
        known: dict[str, Container[str]] = {}
        if view is not None:
            known = {"host": view.rows, "shard": view.shard_rows, "app": view.apps}
        if kind == "page":
            known = {"page": pages()}
        if kind in known and name not in known[kind]:
            there = f"; there are: {', '.join(pages()) or 'none'}" if kind == "page" else ""
            self.tell(f"no {kind} is called {name}{there}")
        else:
            self.open_page(kind, name)

    def do_palette(self) -> None:
        """Find a command by what it does."""

        def chosen(id: str | None) -> None:
            if not id:
                return
            command = commands.BY_ID[id]
            if not command.takes:
                self.run_command(command, "")
                return
            self.type_line(f"{command.word} ")

        self.push_screen(PalettePanel(self.given, self.place.SCOPE), chosen)
