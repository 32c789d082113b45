"""What is asked of whoever replays a recording, and the answer; part of ``protocol``. A daemon refuses it."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.labels import Label


class Seek(Struct, frozen=True, tag="seek", kw_only=True):
    """Move through the recording, or with nothing only say where one is. Answered by ReplayView.

    ``to`` is a unix time, ``by`` pictures from here, ``decisions`` so many changes of plans from here;
    ``play`` begins or ends playing at ``speed`` recorded seconds a second.
    """

    to: float | None = None
    by: int = 0
    decisions: int = 0
    play: bool | None = None
    speed: float | None = None


class ReplayView(Struct, frozen=True, tag="replay", kw_only=True):
    """Where one is: picture ``at`` (from 0) of ``count``. Times are unix times; ``marks`` those of decisions.

    ``otherwise`` says what another policy would have planned here, "" if none was named.
    """

    at: int
    count: int
    time: float
    first: float
    last: float
    playing: bool
    speed: float
    marks: tuple[float, ...] = ()
    otherwise: Label = Label("")


ReplayRequest = Seek
ReplayReply = ReplayView
