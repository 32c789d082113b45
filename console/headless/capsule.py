"""``capsule show``: the header of one capsule's file. Nothing behind the header is read, and nothing is decoded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sidestep.console.headless import output
from sidestep.console.text import ASCII, size
from sidestep.fleet.capsules import Sealed, Unreadable, read
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub
from sidestep.fleet.resources import show_seconds

#: the ending of capsules' files
_FILES = "*.capsule"


def show(which: str, within: Path | None, *, as_json: bool) -> None:
    """Print it. Raises UsageError."""
    path = Path(which)
    sealed = read(path) if path.is_file() else _found(which, within or _state())
    if as_json:
        output.dump(_told(sealed))
        return
    header = sealed.header
    live = ", ".join(f"{scrub(one.name)} ({scrub(one.type)}, {size(one.bytes, ASCII)})" for one in header.live[:20])
    rows = [
        ("id", sealed.id.hex()),
        ("of", f"{scrub(header.shard)} ({scrub(header.kind)}), sequence {header.sequence}, token {header.token}"),
        (
            "made",
            f"{show_seconds(max(0.0, time.time() - header.made))} ago by {scrub(header.host)}; signature not checked",
        ),
        ("program", f"{header.program.hex() or '-'}"),
        ("stands", f"in {scrub(header.block)}, line {header.line}, called by {scrub(header.function)}"),
        ("follows", f"{header.parent.hex()} (link {header.depth})" if header.parent else "nothing: it is full"),
        ("state", f"{size(header.nbytes, ASCII)} in {len(header.names())} chunks"),
        ("in this file", f"{header.carried} chunks, {size(header.payload, ASCII)} packed ({scrub(header.packing)})"),
        (
            "platform",
            ", ".join(scrub(str(one)) for one in (header.fingerprint.python, header.fingerprint.numpy) if one),
        ),
        ("live", live or "-"),
    ]
    for name, text in rows:
        output.say(f"{name:<13}{text}")


def _state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "sidestep"


def _found(which: str, within: Path) -> Sealed:
    if not which or not set(which.lower()) <= set("0123456789abcdef"):
        raise UsageError(f"{which}: no such file, and no id", hint="an id is hexadecimal; sidestep capsule show FILE")
    fitting = []
    for path in sorted(within.rglob(_FILES)):
        try:
            sealed = read(path)
        except Unreadable:
            continue
        if sealed.id.hex().startswith(which.lower()):
            fitting.append(sealed)
    if len(fitting) != 1:
        raise UsageError(
            f"{which}: {len(fitting)} capsules in {within} have an id that begins so",
            hint="name the file, or another folder with --in",
        )
    return fitting[0]


def _told(sealed: Sealed) -> dict[str, Any]:
    header = sealed.header
    told: dict[str, Any] = {"id": sealed.id.hex()}
    for name in header.__struct_fields__:
        value = getattr(header, name)
        if name == "chunks":
            value = len(header.names())
        elif name == "live":
            value = [{"name": scrub(x.name), "type": scrub(x.type), "bytes": x.bytes} for x in value]
        elif name == "fingerprint":
            value = {key: str(scrub(str(getattr(value, key)))) for key in value.__struct_fields__}
        elif isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, str):
            value = str(scrub(value))
        told[name] = value
    return told
