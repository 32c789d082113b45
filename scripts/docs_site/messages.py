"""The page of messages, from the types of the daemon's protocol: tag, fields, types, defaults."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

from msgspec import NODEFAULT
from msgspec.structs import fields

from sidestep.autopilot.protocol import Answer, Body

_INTRO = """\
# Messages

Every request and answer with the types of its fields, made from the code. What they do, and how frames, versions and
errors work, is in [the protocol](protocol.md). A field without a default is required.

"""


def _type(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return re.sub(r"\b(?:[a-z_]+\.)+", "", text).replace("|", "\\|")


def _default(field: Any) -> str:
    if field.default is not NODEFAULT:
        return f"`{field.default!r}`"
    return f"`{field.default_factory()!r}`" if field.default_factory is not NODEFAULT else ""


def _message(kind: Any) -> list[str]:
    said = re.sub(r"``([^`]+)``", r"`\1`", inspect.cleandoc(kind.__doc__ or ""))
    lines = [f"### {kind.__struct_config__.tag}", "", said, ""]
    rows = [f"| `{each.name}` | `{_type(each.type)}` | {_default(each)} |" for each in fields(kind)]
    return [*lines, *(["| field | type | default |", "|---|---|---|", *rows, ""] if rows else [])]


def page() -> str:
    """The whole page."""
    asked = [line for kind in get_args(Body) for line in _message(kind)]
    told = [line for kind in get_args(Answer) for line in _message(kind)]
    return _INTRO + "\n".join(["## Requests", "", *asked, "## Answers", "", *told]) + "\n"
