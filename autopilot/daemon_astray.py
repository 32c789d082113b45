"""When to look again at a host whose samples contradict the journal.

A process may be killed, and an old owner come back, long after the move that nobody thinks of any more. Samples
show it; what is done about it is up to whoever settles hosts. A sample may be older than a commit, so that one
look is no reason; and a shard that dies again and again is looked after ever more rarely.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

#: seconds for which something has to be wrong
STANDS: Final = 1.5
#: seconds between two looks because of the same shard, doubled each time
FIRST: Final = 4.0
LONGEST: Final = 60.0
#: seconds after which a shard that has been right since begins anew
FORGET: Final = 120.0


@dataclass
class _Case:
    due: float
    pause: float
    seen: float


class Astray:
    """Remembers what was wrong where, and since when."""

    def __init__(self) -> None:
        self._cases: dict[tuple[str, str], _Case] = {}

    def due(self, wrong: Mapping[str, Collection[str]], spare: Collection[str], now: float) -> frozenset[str]:
        """Hosts to look at: ``wrong`` names shards by host, ``spare`` those that are somebody's already."""
        hosts = set()
        self._cases = {pair: case for pair, case in self._cases.items() if now - case.seen < FORGET}
        for host, shards in wrong.items():
            for shard in set(shards) - set(spare):
                case = self._cases.setdefault((host, shard), _Case(now + STANDS, FIRST, now))
                if now - case.seen > LONGEST / 2:
                    case.due = max(case.due, now + STANDS)  # right for a while, and wrong again
                case.seen = now
                if now < case.due:
                    continue
                hosts.add(host)
                case.due, case.pause = now + case.pause, min(LONGEST, case.pause * 2)
        return frozenset(hosts)
