"""Which line of a TOML text says what, for errors that name the line.

The parser gives values without places, so a small scanner notes where each table and key
stands. It need not understand values: it only skips strings and brackets that span lines.
"""

from __future__ import annotations

import re
from typing import Final

Path = tuple[str, ...]

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_TABLE: Final = re.compile(rf"\s*\[{{1,2}}\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]{{1,2}}")
_SPLIT: Final = re.compile(_PART)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of every table and key, by its full path; the first one counts."""
    lines: dict[Path, int] = {}
    table: Path = ()
    fence, depth = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            fence = "" if fence in line else fence
            continue
        if depth == 0:
            if header := _TABLE.match(line):
                table = _parts(header[1])
                lines.setdefault(table, number)
            elif key := _KEY.match(line):
                lines.setdefault(table + _parts(key[1]), number)
        for mark in ('"""', "'''"):
            if line.count(mark) % 2:
                fence = mark
        bare = _STRING.sub("", line).split("#", 1)[0]
        if "=" in bare or depth:
            depth = max(0, depth + bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}"))
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of the nearest table above it; 0 if none is known."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 0


def _parts(dotted: str) -> Path:
    return tuple(p[1:-1] if p[0] in "\"'" else p for p in _SPLIT.findall(dotted))
