"""How far a forecast may be trusted, in the same words everywhere: a sign, a word and a colour. Pure.

*insufficient*: too little was seen yet. *fallback*: a simpler model than the configured one
is served. *reactive*: the series cannot be forecast, only what is measured counts.
*unproven*: its chances have not been better than its own long-run frequency yet.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sidestep.console.text import Glyphs, Line, Span, StyleName, span


class Mark(NamedTuple):
    """One thing to know about a forecast before acting on it."""

    word: str
    why: str
    style: StyleName


_INSUFFICIENT: Final = "too few valid windows yet; do nothing on account of these"
_REACTIVE: Final = "cannot be forecast; only what is measured counts"
_UNPROVEN: Final = "no better than its past yet; decides nothing"


def marks(*, confidence: str, model: str, fallback: str, reactive: bool, proven: bool) -> tuple[Mark, ...]:
    """What there is to know, worst first; empty for a forecast that may be acted on."""
    found = []
    if confidence == "insufficient":
        found.append(Mark("insufficient", _INSUFFICIENT, "warn"))
    if fallback:
        found.append(Mark("fallback", f"{model} is served: {fallback}" if model else fallback, "warn"))
    if reactive:
        found.append(Mark("reactive", _REACTIVE, "accent"))
    elif not proven:
        found.append(Mark("unproven", _UNPROVEN, "muted"))
    return tuple(found)


def sign(mark: Mark, glyphs: Glyphs) -> str:
    """The sign of a mark."""
    return glyphs.trust[mark.word]


def mark_spans(found: tuple[Mark, ...], glyphs: Glyphs) -> Line:
    """The marks as signs and words, one after the other."""
    parts: list[Span] = []
    for mark in found:
        parts += [span(f"{sign(mark, glyphs)} {mark.word}", mark.style), Span("  ")]
    return tuple(parts[:-1])


def reason_line(found: tuple[Mark, ...], glyphs: Glyphs) -> Line:
    """All marks, and why the worst of them."""
    return (*mark_spans(found, glyphs), span(f": {found[0].why}", "muted")) if found else ()
