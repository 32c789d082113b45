"""Themes as TOML files, and the checks that keep them legible.

A theme is looked for by name: first in the user's folder, then among those shipped. What
is loaded has passed the checks of ``schema``; a theme that cannot be read well is an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sidestep.themes.schema import Theme, ThemeError, parse

__all__ = ["DEFAULT", "Theme", "ThemeError", "available", "load", "parse", "user_dir"]

DEFAULT: Final = "dusk"
SHIPPED: Final = Path(__file__).resolve().parent


def user_dir() -> Path:
    """Where people put their own themes: ``$XDG_CONFIG_HOME/sidestep/themes``."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "sidestep", "themes")


def available() -> tuple[str, ...]:
    """The names that ``load`` knows, sorted; a user's theme hides a shipped one of its name."""
    found = {path.stem for folder in (SHIPPED, user_dir()) if folder.is_dir() for path in folder.glob("*.toml")}
    return tuple(sorted(found))


def load(name: str = DEFAULT) -> Theme:
    """The theme of that name, checked. Raises ThemeError, which names the file and the key."""
    names = available()
    if name not in names:
        raise ThemeError(str(user_dir()), "", f"no theme is called {name!r}; there are: {', '.join(names)}")
    for folder in (user_dir(), SHIPPED):
        path = folder / f"{name}.toml"
        if path.is_file():
            return parse(path.read_bytes(), str(path))
    raise ThemeError(str(user_dir()), "", f"theme {name!r} has just been removed")
