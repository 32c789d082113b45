"""Events to come, announced from the console: ``:event sale at friday 18:00 lasts 4h effect 1.5``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sidestep.autopilot.protocol_oracle import AddOccasion
from sidestep.console.ordering import Ordering, noted, said
from sidestep.console.panels.order import OrderPanel
from sidestep.console.text import Line
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.resources import show_seconds

if TYPE_CHECKING:
    from sidestep.fleet.occasions import Occasion

_WORDS: Final = ("at", "lasts", "every", "effect", "host", "app")
_FORM: Final = "NAME at TIME, then what is known of: lasts 4h, every 1d, effect 1.5, host NAME, app NAME"


def read(text: str, now: float) -> Occasion:
    """The event that was typed. Raises UsageError with what is wrong and how it is written."""
    from sidestep.console.headless.oracle import local_zone  # noqa: PLC0415 - only for an event
    from sidestep.fleet.occasion_times import parse_when  # noqa: PLC0415 - likewise
    from sidestep.fleet.occasions import announced  # noqa: PLC0415 - likewise
    from sidestep.fleet.resources import parse_seconds  # noqa: PLC0415 - likewise

    name, given = _parts(text)
    if not name or not given.get("at"):
        raise UsageError("an event needs a name and a time", hint=_FORM)
    begins, period = parse_when(given["at"], now, local_zone())
    try:
        lasts, every = (parse_seconds(given[word]) if word in given else 0.0 for word in ("lasts", "every"))
        effect = float(given["effect"].lstrip("x")) if "effect" in given else None
    except ValueError as error:
        raise UsageError(str(error), hint=_FORM) from error
    return announced(
        name, begins=begins, period=every or period, lasts=lasts, effect=effect,
        hosts=tuple(given.get("host", "").split()), apps=tuple(given.get("app", "").split()),
    )  # fmt: skip


def _parts(text: str) -> tuple[str, dict[str, str]]:
    """The name, and what stands behind each word."""
    parts: dict[str, list[str]] = {"": []}
    word = ""
    for each in text.split():
        if each in _WORDS and each not in parts and parts[""]:
            word = each
            parts[word] = []
        else:
            parts[word].append(each)
    return " ".join(parts.pop("")), {key: " ".join(said) for key, said in parts.items()}


class Announcing(Ordering):
    """The part of the application that announces events."""

    def announce(self, text: str) -> None:
        """Ask with what the event is taken to mean; it is logged with who announced it."""
        if why := self.disabled("event"):
            self.tell(why)
            return
        try:
            occasion = read(text, time.time())
        except SidestepError as error:
            self.tell(str(error))
            return

        def lines(width: int) -> list[Line]:
            when = time.strftime("%a %Y-%m-%d %H:%M", time.localtime(occasion.begins))
            lasts = f", lasts {show_seconds(occasion.lasts)}" if occasion.lasts else ""
            often = f", again every {show_seconds(occasion.period)}" if occasion.period else ""
            where = ", ".join((*occasion.hosts, *occasion.apps)) or "the whole fleet"
            effect = f"demand times {occasion.effect:g}" if occasion.effect is not None else (
                "what it does to demand is learned: name it alike each time"
            )  # fmt: skip
            return [*said(f"{occasion.name}: {when}{lasts}{often}, on {where}", width), *noted(effect, width)]

        panel = OrderPanel(self.given, f"event {occasion.name}", lines)
        self.ask(panel, lambda reason: AddOccasion(occasion, reason))
