"""When a host is given up, when it is back, and when so many are gone that it is likelier that we are blind. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from sidestep.autopilot.failover.ledger import HostLoss
from sidestep.fleet.inventory import FailoverSpec
from sidestep.fleet.labels import Label

#: a look that comes so much later than the one before (s) says nothing of the time between: the grace begins anew
STALL: Final = 5.0


class Change(NamedTuple):
    """Hosts that are given up now, hosts that are back, and hosts in quarantine that were away again."""

    lost: tuple[str, ...]
    back: tuple[str, ...]
    again: tuple[str, ...]


class Detector:
    """Remembers since when hosts are DEAD. Times are those of one monotonic clock (s)."""

    def __init__(self, spec: FailoverSpec, hosts: int, lost: Iterable[str] = ()) -> None:
        self.spec, self._hosts = spec, hosts
        #: given up, and not back
        self.lost: set[str] = set(lost)
        self._since: dict[str, float] = {}
        self._looked = float("-inf")
        #: in quarantine, and DEAD again
        self._away: set[str] = set()
        #: DEAD at the last look, for whatever reason
        self.dead: frozenset[str] = frozenset()

    def look(
        self, dead: Collection[str], refusing: Collection[str], up: Collection[str], quarantined: Collection[str],
        now: float,
    ) -> Change:  # fmt: skip
        """Take who is DEAD now; of these ``refusing`` answer, but not to us: they live, and are not given up.

        ``up`` are hosts that are seen; one that is neither DEAD nor up changes nothing.
        """
        self.dead = frozenset(dead)
        silent = self.dead - set(refusing)
        if now - self._looked > STALL:
            self._since.clear()
        self._looked = now
        self._since = {host: self._since.get(host, now) for host in silent}
        new = sorted(h for h, since in self._since.items() if h not in self.lost and now - since >= self.spec.grace)
        back = sorted(self.lost & set(up))
        self._away |= silent & set(quarantined) - self.lost
        again = sorted(self._away & set(up))
        self._away -= set(again)
        self.lost -= set(back)
        return Change(tuple(new), tuple(back), tuple(again))

    def give_up(self, host: str) -> None:
        """That host is lost: it was written down."""
        self.lost.add(host)
        self._away.discard(host)

    def brake(self) -> str:
        """Why nothing is failed over now though hosts are lost, or "": so many are DEAD that we may be blind."""
        spec, gone = self.spec, len(self.dead | self.lost)
        if gone > spec.brake_hosts or gone > spec.brake_share * self._hosts:
            most = f"more than {spec.brake_hosts} hosts or {spec.brake_share:.0%} of the fleet"
            return f"{gone} of {self._hosts} hosts are DEAD, and {most} are more likely our own blindness"
        return ""


def suspects(
    host: str,
    shards: Mapping[Label, float],
    now: float,
    *,
    losses: Iterable[HostLoss],
    cleared: Mapping[Label, float],
    spec: FailoverSpec,
) -> dict[Label, str]:
    """Of the shards of a host that is lost now, those that are poisoned, and why.

    A loss speaks against a shard that came to that host at most ``poison_window`` seconds before; one of a time
    before the shard was last cleared does not.
    """
    against: dict[Label, dict[str, None]] = {}
    for loss in losses:
        for shard, came in loss.shards.items():
            if came and loss.heard - came <= spec.poison_window and loss.lost > cleared.get(shard, 0.0):
                against.setdefault(shard, {})[loss.host] = None
    found = {}
    for shard, came in shards.items():
        hosts = dict(against.get(shard, {}))
        if came and now - came <= spec.poison_window:
            hosts[host] = None
        if host in hosts and len(hosts) >= spec.poison_hosts:
            found[shard] = f"it was on {', '.join(hosts)} when these were lost, each soon after it came"
    return found
