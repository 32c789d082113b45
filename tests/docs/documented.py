"""What the documentation tells people to type, found in its pages and resolved against the real command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer.main

from sidestep.console.commandline import app

ROOT = Path(__file__).resolve().parents[2]
#: made from the commands themselves, or nothing that people type
MADE = {"cli.md", "traceability.md", "performance.md", "dependencies.md"}
_BLOCK = re.compile(r"^```(?:sh|console|bash)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(.*)$", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`(sidestep [^`\n]*)`(?!`)")
_COMMAND = re.compile(r"(?:^|\$\(|&& |/bin/)(sidestep(?: .*)?)$")
_OPTION = re.compile(r"^\[?(--[a-z][a-z-]*)")


class Told(NamedTuple):
    """A line of a page, the command that it comes to, and what follows."""

    page: str
    line: str
    path: tuple[str, ...]
    rest: tuple[str, ...]
    command: Any

    @property
    def handed_on(self) -> bool:
        """Whether another program of ours reads the rest."""
        return bool(self.command.context_settings.get("allow_extra_args"))

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(found[1] for word in self.rest for found in _OPTION.finditer(word))


def pages() -> list[Path]:
    """Everything that people read."""
    examples = (ROOT / "plugins" / "examples").glob("*/README.md")
    docs = (path for path in (ROOT / "docs").glob("*.md") if path.name not in MADE)
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(docs), *sorted(examples)]


def told() -> Iterator[Told]:
    """Every command of ours on every page. Raises ValueError for a line that no shell could read."""
    program = typer.main.get_command(app)
    for page in pages():
        text = page.read_text(encoding="utf-8")
        lines = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
        lines += [line.strip() for line in _INDENTED.findall(text)] + _INLINE.findall(text)
        for line in dict.fromkeys(lines):
            if (found := _COMMAND.search(line)) and not line.startswith(("useradd ", "ln ")):
                yield _resolved(page.name, line, found[1], program)


def _resolved(page: str, line: str, text: str, program: Any) -> Told:
    words, command, path = shlex.split(text, comments=True)[1:], program, []
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    return Told(page, line, tuple(path), tuple(words), command)


def known_options(command: Any) -> set[str]:
    """Its options; those of what a group shows by itself as well."""
    commands = [command, *getattr(command, "commands", {}).values()]
    return {word for each in commands for one in each.params for word in (*one.opts, *one.secondary_opts)} | {"--help"}
