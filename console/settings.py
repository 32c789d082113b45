"""What a person sets for the console: ``console.toml`` in the configuration folder.

[keys]                  # by the id of the command; `?` shows the keys, docs/console.md the ids
approve = "A"
filter = ["slash", "ctrl-f"]

[approve]               # a plan that touches more is confirmed by typing its number
free_shards = 3
free_hosts = 6

[look]
theme = "day"           # unless --theme says otherwise
ascii = false           # draw with ASCII characters only

[fleets]                # a theme of its own for a fleet, so that nobody takes one for the other
prod = "contrast"

[alerts]                # when there is a new alert, or contention is newly predicted
bell = true
notify = true           # a notification of the terminal (OSC 9), where it shows them
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from sidestep.console import keymap
from sidestep.console.keymap import Keymap
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.labels import scrub
from sidestep.fleet.nearest import near
from sidestep.fleet.toml_lines import key_lines, line_of

_LARGEST: Final = 1 << 16
_TABLES: Final = ("alerts", "approve", "fleets", "keys", "look")
_FREE: Final = ("free_hosts", "free_shards")
_HINTS: Final = {bool: "write true or false", str: 'such as "contrast"; sidestep --theme x lists them'}


class Settings(Struct, frozen=True, kw_only=True):
    """The file's values; without a file, these."""

    keymap: Keymap = Keymap()
    #: shards and hosts that a plan may touch and be approved with enter alone
    free_shards: int = 3
    free_hosts: int = 6
    #: a theme's name, "" is the default; and those of single fleets by name
    theme: str = ""
    fleets: Mapping[str, str] = {}
    ascii: bool = False
    #: what is done when there is a new alert
    bell: bool = False
    notify: bool = False


def path() -> Path:
    """Where they are looked for: ``$XDG_CONFIG_HOME/sidestep/console.toml``."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "sidestep", "console.toml")


def load() -> Settings:
    """The user's settings, or the defaults if there is no file. Raises ConfigError."""
    file = path()
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Settings()
    except OSError as error:
        raise ConfigError(str(file), 0, "", None, f"cannot be read: {error.strerror}", hint="or remove it") from error
    return parse(data, str(file))


def parse(data: bytes, file: str) -> Settings:
    """Settings from a file's bytes. Raises ConfigError, which names the line, the value and the remedy."""
    if len(data) > _LARGEST:
        raise ConfigError(file, 0, "", None, f"larger than {_LARGEST >> 10} KiB", hint="settings are a few lines")
    try:
        text = data.decode("utf-8")
        tree = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(file, 0, "", None, f"not TOML: {error}", hint='such as: [keys] approve = "A"') from error
    lines = key_lines(text)
    for name in tree:
        if name not in _TABLES:
            raise ConfigError(file, line_of(lines, (name,)), scrub(name), None, "unknown", hint=near(name, _TABLES))
    free = _free(tree.get("approve", {}), file, lines)
    look = _values(tree, "look", {"theme": str, "ascii": bool}, file, lines)
    alerts = _values(tree, "alerts", {"bell": bool, "notify": bool}, file, lines)
    fleets = _values(tree, "fleets", None, file, lines)
    chosen = keymap.parse(tree.get("keys", {}), file, lines)
    return Settings(keymap=chosen, fleets=fleets, **free, **look, **alerts)


def _values(
    tree: dict[str, Any], name: str, kinds: dict[str, type] | None, file: str, lines: dict[tuple[str, ...], int]
) -> dict[str, Any]:
    """A table's values, each of its kind; any keys with texts where there are no kinds. Raises ConfigError."""
    table = tree.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(file, line_of(lines, (name,)), name, table, "not a table", hint=f"write [{name}]")
    for key, value in table.items():
        line, shown = line_of(lines, (name, key)), f"{name}.{scrub(key)}"
        if kinds is not None and key not in kinds:
            raise ConfigError(file, line, shown, None, "unknown", hint=near(key, tuple(kinds)))
        wanted = kinds[key] if kinds is not None else str
        if type(value) is not wanted:
            what = "not true or false" if wanted is bool else "not the name of a theme"
            raise ConfigError(file, line, shown, value, what, hint=_HINTS[wanted])
    return table


def _free(table: Any, file: str, lines: dict[tuple[str, ...], int]) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(file, line_of(lines, ("approve",)), "approve", table, "not a table", hint="write [approve]")
    for name, value in table.items():
        line, key = line_of(lines, ("approve", name)), f"approve.{scrub(name)}"
        if name not in _FREE:
            raise ConfigError(file, line, key, None, "unknown", hint=near(name, _FREE))
        if type(value) is not int or value < 0:
            raise ConfigError(file, line, key, value, "not a whole number of at least 0", hint="0 always asks")
    return table
