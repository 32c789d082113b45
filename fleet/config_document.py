"""One file of a fleet: its TOML, the line of every key, and the files that it includes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import tomli

from sidestep.fleet.config_read import looks_secret, name_of
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.toml_lines import Path, key_lines, line_of, places


@dataclass(frozen=True, eq=False)
class Document:
    """A parsed file; ``source`` is its path as messages name it."""

    source: str
    tree: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)
    #: patterns of further files, relative to the folder of this one
    includes: tuple[str, ...] = ()

    @cached_property
    def lines(self) -> dict[Path, int]:
        """The line of every key, looked up only when there is something to say: a good file needs none."""
        return key_lines(self.text)

    def line(self, path: Path) -> int:
        """The line of a key, or of the nearest table above it; 0 if none is known."""
        return line_of(self.lines, path)


def read_document(text: str, source: str) -> Document:
    """The document that a TOML text is. Raises ConfigError for what is no TOML or no list of includes."""
    try:
        tree = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise _syntax(error, text, source) from None
    except RecursionError:
        raise ConfigError(source, 0, "", None, "is nested too deeply", hint="a fleet file needs three levels") from None
    includes = tree.pop("include", [])
    if not isinstance(includes, list) or not all(isinstance(i, str) and i.strip() and "\0" not in i for i in includes):
        raise ConfigError(
            source, line_of(key_lines(text), ("include",)), "include", includes,
            f"must be a list of file names, not {name_of(includes)}" if not isinstance(includes, list)
            else "must hold nothing but file names",
            hint='write include = ["hosts.d/*.toml"]',
        )  # fmt: skip
    return Document(source, tree, text, tuple(includes))


def _syntax(error: tomli.TOMLDecodeError, text: str, source: str) -> ConfigError:
    line = error.lineno
    path = max(((number, path) for number, path in places(text) if number <= line), default=(0, ()))[1]
    first = key_lines(text).get(path, line)
    if first < line and ("twice" in error.msg or "overwrite" in error.msg):
        return ConfigError(
            source, line, ".".join(path), None, f"is declared twice; the first is on line {first}",
            hint="delete one of the two, or give it another name",
        )  # fmt: skip
    lines = text.split("\n")
    shown = lines[line - 1].strip() if line <= len(lines) else ""
    # An unquoted password must not be read out.
    said = f": {shown!r}" if not looks_secret(shown) else ""
    return ConfigError(
        source, line, "", None, f"not TOML: {error.msg}{said}", hint="see https://toml.io for the syntax"
    )
