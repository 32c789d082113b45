"""The bell and the terminal's own notifications, when there is a new alert; off unless the settings want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

from sidestep.fleet.labels import scrub

if TYPE_CHECKING:
    from sidestep.console.context import Context, Picture


def alerts_of(picture: Picture) -> frozenset[str]:
    """What is worth a look now: the daemon's alerts without their numbers, predicted contention, a lost daemon."""
    view = picture.present
    found = {"no daemon answers"} if picture.status.kind == "gone" else set()
    if view is not None:
        found |= {alert.partition(": ")[0] for alert in view.frame.alerts}
        found |= {f"{c.host}: {c.dimension} contention predicted" for c in view.frame.contention}
    return frozenset(found)


def notification(texts: frozenset[str]) -> str:
    """The sequence that has a terminal show them (OSC 9); nothing in it can end it early."""
    first, *more = sorted(texts)
    said = scrub(first, 160) + (f" and {len(more)} more" if more else "")
    return f"\x1b]9;sidestep: {said}\x07"


class Alerting(App[int]):
    """The part of the application that rings."""

    given: Context
    _known: frozenset[str] | None = None

    def alert(self, picture: Picture) -> None:
        """Ring for what is new in this picture; what was there when the console opened is not news."""
        settings = self.given.settings
        if not (settings.bell or settings.notify) or picture.replay or picture.present is None:
            return
        now = alerts_of(picture)
        fresh = now - self._known if self._known is not None else frozenset[str]()
        self._known = now
        if not fresh:
            return
        if settings.bell:
            self.bell()
        if settings.notify and self._driver is not None:
            self._driver.write(notification(fresh))
