"""Which line of a TOML text says what, for errors that name the line.

The parser gives values without places, so a small scanner notes where each table and key
stands. It need not understand values: comments and strings that span lines are blanked
first, and brackets that span lines are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

Path = tuple[str, ...]

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_TABLE: Final = re.compile(rf"\s*\[{{1,2}}\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]{{1,2}}")
_SPLIT: Final = re.compile(_PART)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_TOKEN: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"""+|'''  # a text over several lines
    r"""'''.*?'''+|"""  # and its literal form
    r""""(?:\\.|[^"\\\n])*"|'[^'\n]*'|"""
    r"""\#[^\n]*""",
    re.DOTALL,
)


def places(text: str) -> Iterator[tuple[int, Path]]:
    """The line (from 1) and the full path of every table and key, in the order of the text."""
    table: Path = ()
    depth = 0
    for number, line in enumerate(_TOKEN.sub(_blank, text).split("\n"), 1):
        if depth == 0:
            if header := _TABLE.match(line):
                table = _parts(header[1])
                yield number, table
                continue
            if key := _KEY.match(line):
                yield number, table + _parts(key[1])
        bare = _STRING.sub("", line)
        depth = max(0, depth + bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}"))


def key_lines(text: str) -> dict[Path, int]:
    """The line of every table and key, by its full path; the first one counts."""
    lines: dict[Path, int] = {}
    for number, path in places(text):
        lines.setdefault(path, number)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest table above it; 0 if none is known."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 0


def _blank(token: re.Match[str]) -> str:
    """Nothing for a comment, an empty text of as many lines for a long text; other texts may be keys."""
    if token[0].startswith("#"):
        return ""
    if token[0].startswith(('"""', "'''")):
        return '""' + "\n" * token[0].count("\n")
    return token[0]


def _parts(dotted: str) -> Path:
    return tuple(p[1:-1] if p[0] in "\"'" else p for p in _SPLIT.findall(dotted))
