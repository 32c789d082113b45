"""Keys by the command's id, as people like them: ``[keys]`` of ``console.toml`` (see ``settings``).

What cannot be used is an error that names the line, before the console is opened: a key that
does something else than one believes is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from sidestep.console import commands
from sidestep.console.commands import COMMANDS, Command
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.labels import scrub
from sidestep.fleet.nearest import near
from sidestep.fleet.toml_lines import line_of

_KEY: Final = re.compile(r"(?:(?:ctrl|shift|alt)\+)*(?:[a-z_]+\d*|[A-Za-z0-9]|f\d{1,2})")
#: keys of dialogs, which stay: nothing else leads out of them
_FIXED: Final = frozenset({"confirm", "cancel"})


class Keymap(Struct, frozen=True):
    """The keys that differ from the registry's, by the command's id."""

    changed: Mapping[str, tuple[str, ...]] = {}

    def keys(self, command: Command) -> tuple[str, ...]:
        """The keys of a command; none if it was taken off the keyboard."""
        return self.changed.get(command.id, command.keys)

    def shown(self, command: Command) -> str:
        """The first key as people write it, or ""."""
        return commands.show_key(keys[0]) if (keys := self.keys(command)) else ""


def parse(table: Any, file: str, lines: dict[tuple[str, ...], int]) -> Keymap:
    """A keymap from the ``[keys]`` of a file. Raises ConfigError, which names the line, the value and the remedy."""
    if not isinstance(table, dict):
        raise ConfigError(file, line_of(lines, ("keys",)), "keys", table, "not a table", hint="write [keys]")
    changed = {id: _keys(file, line_of(lines, ("keys", id)), id, value) for id, value in table.items()}
    _check_clashes(file, lines, changed)
    return Keymap(changed)


def _keys(file: str, line: int, id: str, value: Any) -> tuple[str, ...]:
    known = {command.id for command in COMMANDS if command.id not in _FIXED}
    shown = scrub(id)
    if id not in known:
        raise ConfigError(file, line, f"keys.{shown}", None, "no command has that id", hint=near(id, known))
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(key, str) for key in listed):
        raise ConfigError(file, line, f"keys.{shown}", value, "not a key or a list of keys", hint='such as "A" or []')
    found = tuple(commands.named_key(key) for key in listed if key)
    for key in found:
        if not _KEY.fullmatch(key):
            raise ConfigError(
                file, line, f"keys.{shown}", scrub(key), "not a key", hint="such as a, A, ctrl-p, f5, slash, space"
            )
    return found


def _check_clashes(file: str, lines: dict[tuple[str, ...], int], changed: Mapping[str, tuple[str, ...]]) -> None:
    keymap = Keymap(changed)
    for scope in (*commands.SCREENS, *commands.PAGES):
        taken: dict[str, str] = {}
        for command in commands.on_screen(scope):
            for key in keymap.keys(command):
                other = taken.setdefault(key, command.id)
                if other == command.id:
                    continue
                own, free = (command.id, other) if command.id in changed else (other, command.id)
                raise ConfigError(
                    file, line_of(lines, ("keys", own)), f"keys.{own}", commands.show_key(key),
                    f"already the key of {free} on the {scope} screen", hint=f"give {free} another key too",
                )  # fmt: skip
