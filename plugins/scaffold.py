"""A package to begin with: a backend that keeps the contract, its test against the kit, and how to publish it."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from sidestep.fleet.errors import UsageError

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
#: where each template goes
_FILES: Final = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "readme.md.tmpl": "README.md",
    "backend.py.tmpl": "src/sidestep_$name/__init__.py",
    "test_contract.py.tmpl": "tests/test_contract.py",
}


def write(name: str, into: Path) -> tuple[Path, ...]:
    """Write the package ``sidestep-NAME`` into a new folder below ``into``; returns its files.

    Raises UsageError for a name that is none, and for a folder that exists: nothing is ever overwritten.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot name a plugin",
            hint="small letters, digits and single underscores, such as `lxc` or `my_app`",
        )
    folder = into / f"sidestep-{name.replace('_', '-')}"
    if folder.exists():
        raise UsageError(f"{folder} is there already", hint="choose another name, or --into another folder")
    words = {"name": name, "dashed": name.replace("_", "-"), "Name": "".join(w.title() for w in name.split("_"))}
    written = []
    for template, place in _FILES.items():
        path = folder / Template(place).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        said = files("sidestep.plugins").joinpath("templates", template).read_text(encoding="utf-8")
        path.write_text(Template(said).substitute(words), encoding="utf-8")
        written.append(path)
    return tuple(written)
