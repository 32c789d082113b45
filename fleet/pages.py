"""What a page of a plugin is given and what it answers: names and numbers in, lines out, nothing of the terminal.

A page cannot draw, ask or act: it is called with a picture of the fleet, in a thread of its own, and its lines are
scrubbed and shown. That is what lets a console show somebody else's code without trusting it with the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

#: what a piece of a line means; themes decide what it looks like
Role = Literal["text", "muted", "strong", "accent", "ok", "warn", "error"]
#: a line is a text, or pieces of text with their roles
PageLine = str | Sequence[tuple[str, Role]]


class PageView(Protocol):
    """One picture of the fleet. Hosts and shards are rows; a number that is not known is NaN.

    ``metric`` is ``cpu`` (cores), ``memory`` (bytes), ``disk`` or ``net`` (bytes a second).
    """

    #: the room that there is, in characters
    width: int
    height: int
    #: whether characters beyond ASCII can be shown
    ascii: bool
    fleet: str
    #: unix seconds of the picture; ``ahead`` above 0 says that it is predicted, for so many seconds later
    time: float
    ahead: float
    hosts: Sequence[str]
    shards: Sequence[str]

    def condition(self, host: int) -> str:
        """One word for a host: hot, warming, ok, stale, down or held."""

    def zone(self, host: int) -> str:
        """The host's zone, or ""."""

    def use(self, host: int, metric: str) -> float:
        """What the host uses. Raises KeyError for a metric that there is not, as all of these do."""

    def allocatable(self, host: int, metric: str) -> float:
        """What may be handed out there."""

    def chance(self, host: int) -> float:
        """The chance of contention within the horizon, 0 to 1."""

    def peak(self, host: int, metric: str) -> float:
        """The highest value ahead at the 0.8 quantile, as a fraction of what may be handed out; cpu and memory only."""

    def app(self, shard: int) -> str:
        """The app that a shard is of."""

    def host_of(self, shard: int) -> int:
        """The row of the host that the shard is on, -1 for none."""

    def shard_use(self, shard: int, metric: str) -> float:
        """What the shard uses; cpu and memory only."""


class Page(Protocol):
    """What an entry point of ``sidestep.pages`` leads to, called without arguments, makes each time it is opened."""

    def lines(self, view: PageView) -> Iterable[PageLine]:
        """The page's text for this picture. May block; the newest lines stay until it answers. Raises what it likes."""
