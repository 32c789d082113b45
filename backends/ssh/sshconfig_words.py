"""Words, patterns and tokens of ssh_config, as ssh reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_DURATION: Final = re.compile(r"(\d+)([smhdwSMHDW]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TOKEN: Final = re.compile(r"%(.?)")
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


def keyword_of(line: str) -> tuple[str, str]:
    """The keyword in lower case and the rest; blanks or one ``=`` part them."""
    found = re.match(r'\s*"?([^\s"=]+)"?(?:\s*=\s*|\s+|$)(.*)$', line, re.DOTALL)
    return (found[1].lower(), found[2].strip()) if found else ("", line.strip())


def split(text: str) -> tuple[str, ...]:
    """Words, with quotes and backslashes, up to a comment. Raises ValueError when a quote stays open."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, at = _word(text, at)
        words.append(word)
    return tuple(words)


def _word(text: str, at: int) -> tuple[str, int]:
    word, quote = "", ""
    while at < len(text):
        char = text[at]
        following = text[at + 1] if at + 1 < len(text) else ""
        if char == "\\" and (following in ("'", '"', "\\") or (not quote and following == " ")):
            word, at = word + following, at + 2
            continue
        if not quote and char in " \t":
            break
        if not quote and char in "\"'":
            quote = char
        elif char == quote:
            quote = ""
        else:
            word += char
        at += 1
    if quote:
        raise ValueError("has a quote that is not closed")
    return word, at


def criteria(text: str) -> tuple[str, ...]:
    """The words of a Match line: parted by blanks or ``=``, double quotes hold together."""
    words: list[str] = []
    rest = text.strip()
    while rest and not rest.startswith("#"):
        if rest.startswith('"'):
            end = rest.find('"', 1)
            if end < 0:
                raise ValueError("has a quote that is not closed")
            word, rest = rest[1:end], rest[end + 1 :]
        else:
            found = re.match(r"[^\s=]*", rest)
            word = found[0] if found else ""
            rest = rest[len(word) :]
        words.append(word)
        rest = re.sub(r"^(\s*=\s*|\s+)", "", rest)
    return tuple(words)


@lru_cache(maxsize=65536)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in re.sub(r"\*+", "*", pattern))
    return re.compile("".join(parts), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern with ``*`` and ``?`` is about a name."""
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    return _compiled(pattern).fullmatch(name) is not None


def in_patterns(patterns: tuple[str, ...], name: str) -> bool:
    """Whether a list is about a name: one pattern matches, and none that begins with ``!`` does."""
    found = False
    for pattern in patterns:
        if pattern[:1] == "!":
            if matches(pattern[1:], name):
                return False
        elif not found and (pattern == name or (("*" in pattern or "?" in pattern) and matches(pattern, name))):
            found = True
    return found


def expand(text: str, tokens: Mapping[str, str]) -> str:
    """``%`` tokens replaced. Raises ValueError for one that is not in ``tokens``."""

    def put(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        if found[1] not in tokens or not found[1]:
            known = " ".join(f"%{t}" for t in sorted(tokens))
            raise ValueError(f"holds the token %{found[1]}; known here: {known} %%")
        return tokens[found[1]]

    return _TOKEN.sub(put, text)


def variables(text: str, environment: Mapping[str, str]) -> str:
    """``${NAME}`` replaced. Raises ValueError for a variable that is not set."""

    def put(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise ValueError(f"needs the environment variable {found[1]}, which is not set")
        return environment[found[1]]

    return _VARIABLE.sub(put, text)


def seconds(text: str) -> int:
    """A time such as ``90`` or ``1m30s``. Raises ValueError."""
    parts = _DURATION.findall(text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise ValueError("is not a time; write seconds or such as 1m30s")
    return sum(int(number) * _UNITS[unit.lower()] for number, unit in parts)
