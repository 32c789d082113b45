"""Folders of themes that plugins bring, each looked up by the path of a module beside which the TOML files lie.

Nothing of a theme is code: the module itself is not imported (the packages that it is in are, as Python has it).
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Final

GROUP: Final = "sidestep.themes"


@cache
def folders() -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The folders in the order of their plugins' names, and a line for each plugin that has none.

    Looked up once: what is installed while a program runs is there when it is started again.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - asked for by the few who name another's theme

    found, broken = [], []
    for entry in sorted(entry_points(group=GROUP), key=lambda each: str(each.name)):
        try:
            spec = importlib.util.find_spec(entry.module)
            origin = spec.origin if spec is not None else None
            if origin is None:
                raise ModuleNotFoundError(f"no file of {entry.module} can be found")  # noqa: TRY301
            found.append(Path(origin).resolve().parent)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            broken.append(f"{entry.name!r}: {type(error).__name__}: {str(error)!r}")
    return tuple(found), tuple(broken)
