"""A package to begin with: a backend or an action that keeps its contract, its test, and how to publish it."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from sidestep.fleet.errors import UsageError

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_PACKAGE: Final = {"pyproject.toml.tmpl": "pyproject.toml"}
#: where each template goes, by what the package has
_FILES: Final = {
    "backend": {
        **_PACKAGE,
        "readme.md.tmpl": "README.md",
        "backend.py.tmpl": "src/sidestep_$name/__init__.py",
        "test_contract.py.tmpl": "tests/test_contract.py",
    },
    "action": {
        **_PACKAGE,
        "readme_action.md.tmpl": "README.md",
        "action.py.tmpl": "src/sidestep_$name/__init__.py",
        "test_action.py.tmpl": "tests/test_contract.py",
    },
}
#: what the package's own file says of it
_SAYS: Final = {"backend": "Shards of $name for sidestep.", "action": "The action $name for sidestep."}
KINDS: Final = tuple(_FILES)


def write(name: str, into: Path, kind: str = "backend") -> tuple[Path, ...]:
    """Write the package ``sidestep-NAME`` with a plugin of that kind into a new folder below ``into``; its files.

    Raises UsageError for a kind or a name that is none, and for a folder that exists: nothing is ever overwritten.
    """
    if kind not in _FILES:
        raise UsageError(f"there is nothing to begin a {kind} with", hint=f"kinds are {', '.join(KINDS)}")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot name a plugin",
            hint="small letters, digits and single underscores, such as `lxc` or `my_app`",
        )
    folder = into / f"sidestep-{name.replace('_', '-')}"
    if folder.exists():
        raise UsageError(f"{folder} is there already", hint="choose another name, or --into another folder")
    words = {"name": name, "dashed": name.replace("_", "-"), "Name": "".join(w.title() for w in name.split("_"))}
    words |= {"says": Template(_SAYS[kind]).substitute(words), "group": f"{kind}s"}
    words["target"] = f"{words['Name']}{'Backend' if kind == 'backend' else ''}"
    written = []
    for template, place in _FILES[kind].items():
        path = folder / Template(place).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        said = files("sidestep.plugins").joinpath("templates", template).read_text(encoding="utf-8")
        path.write_text(Template(said).substitute(words), encoding="utf-8")
        written.append(path)
    return tuple(written)
