"""A plugin's page apart from the screen: what it is given, what is taken of its answer, and the thread it works in."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, get_args

from sidestep.console.text import Line, Span, span
from sidestep.console.view import FleetView
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.extensions import PAGES, available, load
from sidestep.fleet.labels import scrub
from sidestep.fleet.pages import Role
from sidestep.fleet.resources import DIMENSIONS, PLANNED

#: lines and pieces of a line that are taken of an answer, and characters of a piece
LINES: Final = 5000
PIECES: Final = 200
LONGEST: Final = 1000
_ROLES: Final = frozenset(get_args(Role))


@cache
def pages() -> tuple[str, ...]:
    """The names of the pages that plugins have; looked up once, since every line that is typed asks."""
    return tuple(str(each.name) for each in available(PAGES))


class Given:
    """Implements ``PageView`` over what the console shows."""

    def __init__(self, view: FleetView, fleet: str, *, width: int, height: int, ascii_only: bool) -> None:
        self._view = view
        self.fleet, self.width, self.height, self.ascii = fleet, width, height, ascii_only
        self.time, self.ahead = view.time, view.ahead
        self.hosts, self.shards = view.host_names, view.shard_names

    def condition(self, host: int) -> str:
        """One word."""
        return str(self._view.condition(host))

    def zone(self, host: int) -> str:
        """The host's zone, or ""."""
        return str(self._view.hosts[host].zone)

    def use(self, host: int, metric: str) -> float:
        """What the host uses."""
        return float(self._view.use[self._row(host, len(self.hosts)) * len(DIMENSIONS) + _dimension(metric)])

    def allocatable(self, host: int, metric: str) -> float:
        """What may be handed out there."""
        return float(self._view.allocatable[self._row(host, len(self.hosts)) * len(DIMENSIONS) + _dimension(metric)])

    def chance(self, host: int) -> float:
        """The chance of contention within the horizon."""
        return self._view.chance(self._row(host, len(self.hosts)))

    def peak(self, host: int, metric: str) -> float:
        """The highest value ahead at the 0.8 quantile, as a fraction."""
        return self._view.peak(self._row(host, len(self.hosts)), _dimension(metric, PLANNED))

    def app(self, shard: int) -> str:
        """The app that a shard is of."""
        return str(self._view.shards[shard].app)

    def host_of(self, shard: int) -> int:
        """The row of its host, -1 for none."""
        return int(self._view.shard_host[self._row(shard, len(self.shards))])

    def shard_use(self, shard: int, metric: str) -> float:
        """What the shard uses."""
        return float(self._view.shard_use[self._row(shard, len(self.shards)) * PLANNED + _dimension(metric, PLANNED)])

    @staticmethod
    def _row(row: int, count: int) -> int:
        if not 0 <= row < count:
            raise IndexError(f"there is no row {row}; there are {count}")
        return row


def _dimension(metric: str, among: int = len(DIMENSIONS)) -> int:
    if metric not in DIMENSIONS[:among]:
        raise KeyError(f"there is no {metric}; there are {', '.join(DIMENSIONS[:among])}")
    return DIMENSIONS.index(metric)


def taken(answer: Iterable[Any]) -> list[Line]:
    """What is shown of an answer: scrubbed, bounded, in roles that there are. Raises TypeError for what is no line."""
    lines = list[Line]()
    for each in answer:
        if len(lines) == LINES:
            lines.append((span(f"only the first {LINES} lines are shown", "muted"),))
            break
        pieces = [(each, "text")] if isinstance(each, str) else list(itertools.islice(each, PIECES))
        lines.append(tuple(_piece(piece) for piece in pieces) or (Span(""),))
    return lines


def _piece(piece: Any) -> Span:
    text, role = piece
    if not isinstance(text, str) or role not in _ROLES:
        raise TypeError(f"a line is a text, or pairs of a text and one of {', '.join(sorted(_ROLES))}")
    return span(text[:LONGEST], role)


class Working:
    """One page at work: asked again only once it has answered, in a thread that never keeps the console from ending.

    ``told`` is called from that thread after each answer. ``lines`` are the newest, ``problem`` is why there are
    no newer ones, or "".
    """

    def __init__(self, name: str, told: Callable[[], None]) -> None:
        self.name, self.lines, self.problem = name, list[Line](), ""
        #: a view that is being worked on
        self.busy = False
        self._told = told
        self._page: Any = None

    def ask(self, view: Given) -> bool:
        """Have it look at a picture; False while it still looks at one before."""
        if self.busy:
            return False
        self.busy = True
        threading.Thread(target=self._work, args=(view,), name=f"page {self.name}", daemon=True).start()
        return True

    def _work(self, view: Given) -> None:
        try:
            if self._page is None:
                self._page = load(PAGES, self.name)()
            self.lines, self.problem = taken(self._page.lines(view)), ""
        except SidestepError as error:
            self.problem = scrub(str(error), 600)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self.problem = scrub(f"page {self.name} failed: {type(error).__name__}: {error}", 600)
        finally:
            self.busy = False
        self._told()
