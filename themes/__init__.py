"""Themes as TOML files, and the checks that keep them legible.

A theme is looked for by name: first in the user's folder, then among those shipped, then
among those of plugins. What is loaded has passed the checks of ``schema``; a theme that cannot
be read well is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sidestep.themes import plugged
from sidestep.themes.schema import Theme, ThemeError, parse

__all__ = ["DEFAULT", "Theme", "ThemeError", "available", "load", "parse", "stamp", "user_dir"]

DEFAULT: Final = "dusk"
SHIPPED: Final = Path(__file__).resolve().parent


def user_dir() -> Path:
    """Where people put their own themes: ``$XDG_CONFIG_HOME/sidestep/themes``."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "sidestep", "themes")


def available() -> tuple[str, ...]:
    """The names that ``load`` knows, sorted; a user's theme hides a shipped one of its name, and that a plugin's."""
    return _names((SHIPPED, user_dir(), *plugged.folders()[0]))


def load(name: str = DEFAULT) -> Theme:
    """The theme of that name, checked. Raises ThemeError, which names the file and the key."""
    found = _find(name)
    if found is None:
        broken = "".join(f"\n  no themes of plugin {line}" for line in plugged.folders()[1])
        raise ThemeError(
            str(user_dir()), "", f"no theme is called {name!r}; there are: {', '.join(available())}{broken}"
        )
    try:
        return parse(found[1].read_bytes(), str(found[1]))
    except FileNotFoundError:
        raise ThemeError(str(found[1]), "", f"theme {name!r} has just been removed") from None


def stamp(name: str) -> tuple[int, int] | None:
    """What changes when the theme's file does, or when another takes its place; None while there is none."""
    found = _find(name)
    try:
        return None if found is None else (found[0], found[1].stat().st_mtime_ns)
    except OSError:
        return None


def _find(name: str) -> tuple[int, Path] | None:
    """The file of a theme, and whose turn it was; plugins are looked at only for what nobody else has."""
    for at, folder in enumerate((user_dir(), SHIPPED)):
        if name in _names((folder,)):
            return at, folder / f"{name}.toml"
    for at, folder in enumerate(plugged.folders()[0], 2):
        if name in _names((folder,)):
            return at, folder / f"{name}.toml"
    return None


def _names(folders: Iterable[Path]) -> tuple[str, ...]:
    """A name comes from what a folder holds, so that none leads out of it; one that cannot be shown is no name."""
    found = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.toml")}
    return tuple(sorted(name for name in found if name.isprintable()))
