"""Printing for people and for programs: aligned plain text, or JSON with nothing raw in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from sidestep.console.text import Line, columns, plain, span


def say(text: str) -> None:
    """One line of text with nothing in it that a terminal acts on."""
    print(span(text).text)


def table(rows: Sequence[Sequence[str]], align: str = "") -> None:
    """Rows as aligned text; nothing when there are none."""
    for row in columns(rows, align):
        print(row)


def lines(content: Iterable[Line]) -> None:
    """Lines as plain text."""
    for line in content:
        say(plain(line).rstrip())


def done(answer: object, otherwise: str = "", *, as_json: bool) -> None:
    """What the daemon said that it did, or ``otherwise`` if it only did it; as JSON its whole answer."""
    if as_json:
        dump(answer)
    else:
        say(str(getattr(answer, "text", "") or otherwise))


def result(answer: object, *, as_json: bool) -> None:
    """As ``done``, but as JSON its words alone, under ``result``."""
    if as_json:
        dump({"result": str(getattr(answer, "text", ""))})
    else:
        done(answer, as_json=False)


def dump(value: Any) -> None:
    """A value as JSON: ASCII only, unknown numbers are null, keys in the order of the fields."""
    tree = msgspec.json.decode(msgspec.json.encode(value))
    json.dump(tree, sys.stdout, ensure_ascii=True, indent=2)
    print()
