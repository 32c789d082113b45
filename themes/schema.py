"""What a theme file may say, and what it must keep to.

A theme is refused when text on it has too little contrast, when ok, warn and error are too
alike for somebody who is colour-blind, or when the risk ramp does not rise in luminance
(it is read as grey under NO_COLOR). Every complaint of a file is reported at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import combinations, pairwise
from typing import Any, Final

from sidestep.themes.colour import DEFICIENCIES, contrast, distance, luminance, rgb

MIN_CONTRAST: Final = 4.5
MIN_DISTANCE: Final = 20.0
STOPS: Final = 5

#: text colours, each of which must be legible on each background
TEXT: Final = ("foreground", "muted", "ok", "warn", "error", "accent")
BACKGROUNDS: Final = ("background", "surface", "panel")
STATES: Final = ("ok", "warn", "error")


class ThemeError(ValueError):
    """A theme file that cannot be used: names the file, the key and the remedy."""

    def __init__(self, file: str, key: str, message: str) -> None:
        super().__init__(f"{file}: {key}: {message}" if key else f"{file}: {message}")
        self.file, self.key = file, key


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of the screens, each ``#rrggbb``; made only by ``parse``."""

    name: str
    dark: bool
    #: behind everything; behind panes; behind bars and the selected row
    background: str
    surface: str
    panel: str
    foreground: str
    #: words of second rank: headings, units, history
    muted: str
    #: keys, the median line, what can be done
    accent: str
    #: frames and the bands of the forecast
    primary: str
    ok: str
    warn: str
    error: str
    #: five stops from no risk to certain contention, rising (dark) or falling (light) in luminance
    ramp: tuple[str, ...]


_FIELDS: Final = {field.name for field in fields(Theme)}


def parse(data: bytes, file: str) -> Theme:
    """A theme from a file's bytes. Raises ThemeError with every complaint, one line each."""
    try:
        raw = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ThemeError(file, "", f"not TOML: {error}") from error
    for key in raw:
        if key not in _FIELDS:
            raise ThemeError(file, key, f"unknown key; a theme has: {', '.join(sorted(_FIELDS))}")
    for key in sorted(_FIELDS - raw.keys()):
        raise ThemeError(file, key, "missing")
    theme = Theme(**{key: _value(file, key, value) for key, value in raw.items()})
    complaints = tuple(check(theme))
    if complaints:
        rest = "".join(f"\n  {key}: {text}" for key, text in complaints[1:])
        raise ThemeError(file, complaints[0][0], complaints[0][1] + rest)
    return theme


def check(theme: Theme) -> Iterator[tuple[str, str]]:
    """Every rule that the theme breaks, as key and remedy; nothing when it is legible."""
    yield from _contrasts(theme)
    yield from _states(theme)
    light = [luminance(stop) for stop in theme.ramp]
    steps = list(pairwise(light))
    if not (all(a < b for a, b in steps) or all(a > b for a, b in steps)):
        yield "ramp", "luminance must rise (or fall) from stop to stop, or it cannot be read as grey"


def _value(file: str, key: str, value: object) -> Any:
    kind = next(field.type for field in fields(Theme) if field.name == key)
    if kind == "bool":
        if not isinstance(value, bool):
            raise ThemeError(file, key, f"{value!r} is neither true nor false")
        return value
    if key == "name":
        if not isinstance(value, str) or not value.isidentifier():
            raise ThemeError(file, key, f"{value!r} is not a name of letters, digits and _")
        return value
    if key == "ramp":
        if not isinstance(value, list) or len(value) != STOPS:
            raise ThemeError(file, key, f"must be a list of {STOPS} colours")
        return tuple(_colour(file, key, stop) for stop in value)
    return _colour(file, key, value)


def _colour(file: str, key: str, value: object) -> str:
    try:
        rgb(str(value))
    except ValueError as error:
        raise ThemeError(file, key, f"{value!r} is not a colour; write #rrggbb") from error
    return str(value).lower()


def _contrasts(theme: Theme) -> Iterator[tuple[str, str]]:
    for text in TEXT:
        for ground in BACKGROUNDS:
            ratio = contrast(getattr(theme, text), getattr(theme, ground))
            if ratio < MIN_CONTRAST:
                yield text, f"contrast with {ground} is {ratio:.1f}, less than {MIN_CONTRAST}"


def _states(theme: Theme) -> Iterator[tuple[str, str]]:
    for one, other in combinations(STATES, 2):
        for eyes in ("", *DEFICIENCIES):
            apart = distance(getattr(theme, one), getattr(theme, other), eyes)
            if apart < MIN_DISTANCE:
                seen = f" under {eyes}" if eyes else ""
                yield one, f"only {apart:.0f} from {other}{seen}; at least {MIN_DISTANCE:.0f} (CIE76) are needed"
