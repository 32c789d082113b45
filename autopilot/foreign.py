"""Shards that run as nobody here put them: copied, taken elsewhere, or gone from a host that is fine.

Nobody is stopped for any of it: a person did that, and a person knows which process has the state. It
is told until it is so no longer; until then nothing is planned for such a shard, and a plan that relies
on where it is does not fit any more. A process with an *older* token is another matter: that one is
known to be left over, and is stopped (``daemon_shards``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sidestep.backends.base import ShardObservation
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ShardState
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Basis, PlacementFact, Plan
from sidestep.fleet.snapshot import Snapshot

#: seconds that a shard must be gone from its host before anybody is told: samples come one by one
GONE: Final = 5.0

Say = Callable[[Literal["error", "host"], str], None]

_WAY_BACK: Final = "put its folder back as it was; a restart of the daemon starts it there with what there is"
_STOPPED, _RUNNING, _UNHEARD = 1, 2, 3
_KINDS: Final = {ShardState.STOPPED: _STOPPED, ShardState.RUNNING: _RUNNING, ShardState.DEGRADED: _UNHEARD}


@dataclass(eq=False)
class Foreign:
    """What is not where it was put; ``say`` tells each once when it begins and once when it is over."""

    say: Say
    #: shard to the hosts that do not own it and run it under its owner's token
    twins: dict[str, set[str]] = field(default_factory=dict, init=False)
    #: shard to its owner's host, which is fine and does not have it
    vanished: dict[str, str] = field(default_factory=dict, init=False)
    #: shard to why its token is newer than anything that was promised
    ahead: dict[str, str] = field(default_factory=dict, init=False)
    _owners: dict[str, str] = field(default_factory=dict, init=False)
    #: (N, 2) host and token under which each was last seen running; -1 before that
    _ran: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64), init=False)
    #: since when a shard is gone, and its row
    _since: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)
    _states: tuple[ShardState, ...] = field(default=(), init=False)
    _told: dict[str, str] = field(default_factory=dict, init=False)

    # -- who finds something

    def found(
        self, host: str, seen: Iterable[ShardObservation], owners: Mapping[Label, Owner], busy: Collection[str]
    ) -> None:
        """All that a host runs, as it says itself. A shard in a move is nobody's business but the move's."""
        here = {
            str(o.shard)
            for o in seen
            if o.state is not ShardState.FAILED
            and o.shard not in busy
            and (owner := owners.get(o.shard)) is not None
            and (owner.host, owner.token) != (host, o.token)
            and owner.token == o.token
        }
        for shard in here:
            self._owners[shard] = str(owners[Label(shard)].host)
            self.twins.setdefault(shard, set()).add(host)
        for shard in [s for s, hosts in self.twins.items() if host in hosts and s not in here]:
            self.twins[shard].discard(host)
            if not self.twins[shard]:
                del self.twins[shard]
        self.tell()

    def look(self, snapshot: Snapshot, busy: Collection[str], now: float) -> frozenset[str]:
        """Shards that ran and are gone from hosts that are fine; all shards that nothing may be planned for."""
        shards = snapshot.shards
        if shards.states is not self._states or self._since:
            self._states = shards.states
            self._compare(snapshot, busy, now)
            self.tell()
        return self.shards

    def _compare(self, snapshot: Snapshot, busy: Collection[str], now: float) -> None:
        """A shard that ran is gone where its host is heard and has no process of it; one that was moved is not."""
        shards, hosts, count = snapshot.shards, snapshot.hosts, len(snapshot.shards.names)
        code = np.fromiter((_KINDS.get(state, 0) for state in shards.states), dtype=np.int8, count=count)
        if len(self._ran) != count:
            self._ran = np.full((count, 2), -1, dtype=np.int64)
        place = np.column_stack([shards.host.astype(np.int64), shards.token])
        gone = (code == _STOPPED) & (self._ran == place).all(axis=1)
        self._ran[code == _RUNNING] = place[code == _RUNNING]
        rows = {str(shards.names[row]): int(row) for row in np.flatnonzero(gone)}
        rows = {name: row for name, row in rows.items() if name not in busy}
        for name in [name for name in self._since if name not in rows]:
            if code[self._since[name][1]] == _UNHEARD:
                continue  # its host says nothing just now: that is no news of the shard
            del self._since[name]
            self.vanished.pop(name, None)
        for name, row in rows.items():
            if now - self._since.setdefault(name, (now, row))[0] >= GONE:
                self.vanished[name] = str(hosts.names[place[row, 0]])

    # -- who wants to know

    @property
    def shards(self) -> frozenset[str]:
        """Those that nothing may be planned for."""
        return frozenset(self.twins.keys() | self.vanished.keys() | self.ahead.keys())

    def reasons(self) -> dict[str, str]:
        """What is wrong with each, and what to do about it."""
        found: dict[str, str] = {}
        for shard, hosts in self.twins.items():
            found[shard] = (
                f"{shard} runs on {_list(hosts)} under the token of its owner {self._owners[shard]}, and nobody here "
                "put it there. Nothing is stopped and nothing is planned for it: stop the one that is too much by hand"
            )
        for shard, host in self.vanished.items():
            found[shard] = found.get(shard) or (
                f"{shard} vanished from {host}, which is fine: nothing is planned for it. Look whether somebody took "
                f"it away, and {_WAY_BACK}"
            )
        return {**found, **self.ahead}

    @staticmethod
    def taken_away(shard: str, host: str) -> HostError:
        """Why a shard that served there and has not even a pid file any more is not started: its state is elsewhere.

        One that died has left that file.
        """
        said = f"{shard} served here and is gone with its pid file, which no crash removes: it is not started"
        return HostError(host, "start", said, hint=f"look who took it away, and {_WAY_BACK}")

    def notices(self) -> tuple[Label, ...]:
        """The same for every screen."""
        return tuple(scrub(text, 400) for _, text in sorted(self.reasons().items()))

    def marked(self, plan: Plan, now: Basis) -> Basis:
        """The facts of now, in which shards of the plan that are not where they were put are said to be so."""
        apart = {f.shard: f.token for f in plan.basis.placements if f.shard in self.shards}
        if not apart:
            return now
        rest = tuple(fact for fact in now.placements if fact.shard not in apart)
        facts = (PlacementFact(shard, self._where(str(shard)), token) for shard, token in apart.items())
        return Basis((*rest, *facts), now.hosts)

    def _where(self, shard: str) -> Label:
        if shard in self.twins:
            return scrub(f"{self._owners[shard]} and, put there by somebody else, on {_list(self.twins[shard])}")
        if shard in self.ahead:
            return scrub("another host, by a token that is not ours")
        return scrub(f"no host: it vanished from {self.vanished[shard]}")

    def tell(self) -> None:
        """Say what is new, and what is over."""
        now = self.reasons()
        for shard, text in now.items():
            if self._told.get(shard) != text and shard not in self.ahead:
                self.say("error", text)
        for shard in self._told.keys() - now.keys():
            self.say("host", f"{shard} is where it was put again, and may be planned for")
        self._told = now


def _list(hosts: Iterable[str]) -> str:
    return " and ".join(sorted(hosts))
