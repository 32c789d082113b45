"""What happened and why, one line each: the rows of the Log and of the audit trail."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from sidestep.fleet.labels import Label

Kind = Literal["observe", "forecast", "plan", "approve", "step", "outcome", "host", "daemon", "error"]


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened; ``seq`` is its place in the journal, ``actor`` who did it."""

    seq: int
    time: float
    kind: Kind
    text: Label
    actor: Label = Label("")
    plan: int = 0
