"""When a host that nobody reaches has stopped what is leased there: the arithmetic, for one host.

A host keeps its lease by its own uptime: from ``until`` on its guard kills every leased shard. We give it an
uptime, never a duration, and compute it from an uptime that it told us:

    the host answers, and its clock shows U; the answer reaches us when our clock shows t;
    we renew until E = U + lease (never more), however long the renewal then takes.

The answer took some time, so at t the host's clock showed U or more. From then on it needs at most ``lease``
of its own seconds to E. If neither clock goes wrong by more than ``DRIFT`` against the other, these are at
most lease * (1 + DRIFT) of ours. So at t + lease * (1 + DRIFT) its clock is at E or beyond, whether the renewal
arrived at once, an hour late, twice, or never: what we told it after that answer cannot carry the lease past
that instant. ``until`` below is the latest such instant over everything that was ever sent.

What was sent by a daemon before us is bounded in the same way: its last answer came before we began, so that
its last renewal ends no later than our beginning + its lease * (1 + DRIFT).

An order to start a leased shard carries the E that was acknowledged, and is refused from then on: it cannot
be held up in the network and start the shard after its lease. Another boot of the host runs nothing of the one
before. Reading the clock, and killing, takes the guard a second or so: whoever waits adds a margin for that.
"""

from __future__ import annotations

from typing import Final

from sidestep.backends.process.leases import Ack

#: how much faster our clock may go than a host's: chrony may slew one by a twelfth, and ours as much the other way
DRIFT: Final = 0.2


def bound(at: float, seconds: float) -> float:
    """Our time by which a lease of ``seconds`` has ended that was counted from an answer of ``at`` or before."""
    return at + seconds * (1.0 + DRIFT)


class HostLease:
    """What we know of one host's lease, all of it in times of our monotonic clock (s)."""

    def __init__(self, until: float) -> None:
        #: from then on the guard has seen the lease run out, unless we renew
        self.until = until
        #: the newest answer, and when it came
        self.ack: Ack | None = None
        self.at = -float("inf")

    def heard(self, ack: Ack, now: float) -> None:
        """Take an answer. One that was overtaken on the way is true as well, and only makes the next lease shorter."""
        self.ack, self.at = ack, now

    def renewal(self, seconds: float) -> tuple[str, int]:
        """Boot and uptime to renew until, counted from the newest answer; from here on ``until`` holds that.

        Call it before anything is sent. Without an answer there is nothing to count from: ("", 0) only asks.
        """
        if self.ack is None:
            return "", 0
        self.until = max(self.until, bound(self.at, seconds))
        return self.ack.boot, self.ack.uptime + int(seconds)

    def over(self, now: float, margin: float) -> bool:
        """Whether everything leased there is dead, however little is heard of the host."""
        return now >= self.until + margin
