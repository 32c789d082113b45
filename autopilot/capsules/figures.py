"""What is said and counted of capsules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sidestep.autopilot.capsules.taking import Round
from sidestep.fleet.labels import Label, scrub

#: shards that a notice names
NAMED: Final = 3


@dataclass(kw_only=True)
class Figures:
    """Counts since the daemon began."""

    taken: int = 0
    unchanged: int = 0
    failed: int = 0
    #: seconds that shards stood still
    paused: float = 0.0

    def count(self, done: Round) -> None:
        """One round that came to its end."""
        if done.changed:
            self.taken += 1
        else:
            self.unchanged += 1
        self.paused += done.capsule.paused


class Told:
    """Says trouble once until it changes, and remembers it."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._known: dict[str, tuple[str, int]] = {}

    def say(self, key: str, trouble: str) -> None:
        """This is wrong with it; "" is nothing."""
        before, times = self._known.get(key, ("", 0))
        if not trouble:
            self._known.pop(key, None)
            return
        self._known[key] = trouble, times + 1
        if trouble != before:
            self._report(trouble)

    def of(self, key: str) -> Label:
        """What is wrong with it, or ""."""
        return scrub(self._known.get(key, ("", 0))[0], 500)

    def times(self, key: str) -> int:
        """How often in a row it was so."""
        return self._known.get(key, ("", 0))[1]


def stale_notice(stale: Sequence[str], of: int, told: Told) -> Label:
    """A line for every screen."""
    names = ", ".join(stale[:NAMED]) + (f" and {len(stale) - NAMED} more" if len(stale) > NAMED else "")
    why = next((why for why in map(told.of, stale) if why), Label(""))
    said = (
        f"capsules are old: {len(stale)} of {of} shards have none younger than 3 times their replicate_every: {names}"
    )
    return scrub(f"{said}; {why}" if why else said, 500)
