"""Watches for lost hosts beside the loop: gives them up, keeps them in quarantine, and knows what may start elsewhere.

Every tick asks it. What it decides is in the journal before anything follows from it; a restarted daemon goes
on with what it finds there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from sidestep.autopilot.capsules.base import CapsuleRef, Capsules
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.failover.detector import Detector, suspects
from sidestep.autopilot.failover.ledger import HostLoss, Poisoned
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.world import Unseen
from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_states import ORDERED
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState
from sidestep.fleet.placement import Placement
from sidestep.fleet.resources import show_seconds

#: failovers that are remembered for people
REMEMBERED: Final = 50
#: names in a notice
NAMED: Final = 5
#: of a lost host, until the look that finds it back
_JUST_BACK: Final = Label("was lost, and is back")
_UP: Final = frozenset({HostState.READY, HostState.QUARANTINED, *ORDERED})
#: why a shard stays with its lost host, in words after its name
WORDS: Final[Mapping[str, str]] = {
    "WAITS": 'waits for it (failover = "wait")',
    "NO_CAPSULE": "has no complete capsule",
    "POISONED": "is poisoned",
    "PINNED": "is pinned to it",
    "NEEDS_PERSON": "was moved there and never served: its newest state may be where it came from",
}


class Sight(Protocol):
    """The part of the world that is needed here."""

    def states(self) -> dict[str, HostState]:
        """Every host's present state."""
        ...

    def unseen(self) -> dict[str, Unseen]:
        """Hosts that are DEAD."""
        ...

    def quarantine(self, why: Mapping[str, Label]) -> None:
        """These hosts, and no others, get nothing new while they are up."""
        ...


@dataclass(frozen=True)
class Found:
    """What a tick has to know: hosts that are given up, and by shard why it stays with its own; who starts nowhere."""

    lost: frozenset[str] = frozenset()
    stays: Mapping[str, str] = field(default_factory=dict)
    poisoned: frozenset[str] = frozenset()


NOTHING_LOST: Final = Found()


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """One shard that serves again: seconds from when its host was last heard of, and seconds of writes that are lost.

    ``rpo`` counts from the capsule until its old owner was surely gone, since a host that is only cut off goes on
    serving until then; ``age`` is that of the capsule when the host was last heard of. Both are None for a shard
    that began with nothing.
    """

    shard: Label
    host: Label
    at: float
    rto: float
    rpo: float | None
    age: float | None = None


class LossWatch:
    """``Rescue`` for the executor, facts for the planner, notices for people."""

    def __init__(
        self, fleet: FleetSpec, sight: Sight, journal: Journal, clock: Clock, log: Log, capsules: Capsules | None = None
    ) -> None:
        self._fleet, self._sight, self._journal, self._clock, self._log = fleet, sight, journal, clock, log
        self.capsules = capsules
        #: told of shards that waited for a person because of a move, and whose host is lost now: they may be saved
        self.let_go: Callable[[Collection[str]], None] = lambda shards: None
        self._specs = {str(spec.name): spec for spec in fleet.shards}
        opened = journal.losses(open_at=clock.wall())
        self._detector = Detector(
            fleet.failover, len(fleet.hosts), [str(loss.host) for loss in opened if not loss.back]
        )
        #: by host, until when (monotonic) nothing new is placed there, and the words for that
        self._until = {
            str(loss.host): clock.monotonic() + loss.quarantined - clock.wall() for loss in opened if loss.back
        }
        #: by lost host, when it was last heard of (monotonic); clocks may be put right while it is away
        self._heard = {
            str(loss.host): clock.monotonic() - max(0.0, clock.wall() - loss.heard) for loss in opened if not loss.back
        }
        self._words = {str(loss.host): self._resting(loss.quarantined) if loss.back else _JUST_BACK for loss in opened}
        self._poisoned = {str(one.shard): str(one.reason) for one in journal.poisoned()}
        self.found = Found(lost=frozenset(self._detector.lost), poisoned=frozenset(self._poisoned))
        self._stays: tuple[object, Mapping[str, str]] = (None, {})
        self.recovered: deque[Recovered] = deque(maxlen=REMEMBERED)
        self._braked = self._trouble = ""

    def switch(self, fleet: FleetSpec) -> None:
        """Go by another fleet file with the same hosts and shards."""
        self._fleet, self._detector.spec = fleet, fleet.failover
        self._specs = {str(spec.name): spec for spec in fleet.shards}
        self._stays = (None, {})

    @property
    def poisoned(self) -> frozenset[str]:
        """Shards that start nowhere."""
        return frozenset(self._poisoned)

    # -- every tick

    def look(self) -> Found:
        """Take the hosts as they are now. A journal that cannot be written gives up no host."""
        clock, detector = self._clock, self._detector
        unseen, states = self._sight.unseen(), self._sight.states()
        refusing = [host for host, seen in unseen.items() if seen.refuses]
        up = [host for host, state in states.items() if state in _UP]
        change = detector.look(list(unseen), refusing, up, list(self._until), clock.monotonic())
        try:
            for host in change.lost:
                self._give_up(host, unseen[host])
            for host in (*change.back, *change.again):
                self._take_back(host, "it is back" if host in change.back else "it was away again")
            self._trouble = ""
        except JournalError as error:
            if not self._trouble:
                self._trouble = str(error)
                self._log.say("error", f"a host is lost or back, and it cannot be written down: {error}")
        self._rest()
        self._say_brake()
        lost = frozenset(detector.lost)
        self.found = Found(lost=lost, stays=self._staying(lost), poisoned=self.poisoned)
        return self.found

    def _give_up(self, host: str, seen: Unseen) -> None:
        clock, spec, journal = self._clock, self._fleet.failover, self._journal
        held = _held(journal.placement(), host)
        shards = journal.arrivals(held)
        heard = seen.heard or clock.wall() - spec.grace
        since = clock.monotonic() - max(0.0, clock.wall() - heard)
        bad = suspects(host, shards, heard, losses=journal.losses(), cleared=journal.cleared(), spec=spec)
        journal.host_lost(host, heard=heard, reason=str(seen.reason), shards=shards, poisoned=bad)
        self._detector.give_up(host)
        self._heard[host] = since
        self._until.pop(host, None)
        self._words[host] = _JUST_BACK
        self._poisoned |= {str(shard): why for shard, why in bad.items()}
        if self.capsules is not None:
            self.capsules.forget_host(host)
        self._log.mirror()

    def _take_back(self, host: str, why: str) -> None:
        clock, rest = self._clock, self._fleet.failover.quarantine
        self._journal.host_back(host, clock.wall() + rest, why)
        self._until[host] = clock.monotonic() + rest
        self._words[host] = self._resting(clock.wall() + rest)
        self._log.mirror()

    def _rest(self) -> None:
        """Let hosts out of quarantine whose time is over, unless they are away; tell the world of the others."""
        now, detector = self._clock.monotonic(), self._detector
        over = [host for host, until in self._until.items() if until <= now and host not in detector.dead]
        for host in over:
            del self._until[host], self._words[host]
        self._sight.quarantine({h: self._words[h] for h in (*self._until, *detector.lost) if h in self._words})

    def _staying(self, lost: frozenset[str]) -> Mapping[str, str]:
        """Of the shards on lost hosts, those that stay there, with a code; looked up when something changed."""
        if not lost:
            return {}
        placement = self._journal.placement()
        known = (placement.generation, len(placement.owners), lost, self.poisoned)
        if self.capsules is not None or self._stays[0] != known:  # which capsules are complete changes at any time
            names = [shard for host in sorted(lost) for shard in _held(placement, host)]
            tokens = {name: placement.owners[name].token for name in names}
            self._stays = known, {name: code for name in names if (code := self._stays_for(name, tokens[name]))}
            self.let_go([name for name in names if name not in self._stays[1]])
        return self._stays[1]

    def _stays_for(self, shard: Label, token: int) -> str:
        if shard in self._poisoned:
            return "POISONED"
        if self._journal.unresumed(shard, token) is not None:
            return "NEEDS_PERSON"
        spec = self._specs.get(shard)
        if spec is None or spec.failover == "wait":
            return "WAITS"
        if spec.pinned:
            return "PINNED"
        none = self.capsules is None or self.capsules.newest(shard) is None
        return "NO_CAPSULE" if spec.failover == "capsule" and none else ""

    # -- for the executor

    def forbids(self, host: str, shard: str) -> str:
        """Why that shard of that host may not be started elsewhere now, or ""."""
        if host not in self._detector.lost:
            return "it is not lost any more"
        state = self._sight.states().get(host)
        if state is not HostState.DEAD:
            return f"it is {state} again"
        if shard in self._poisoned:
            return f"{shard} is poisoned: {self._poisoned[shard]}"
        return self._detector.brake()

    def unheard(self, host: str) -> float:
        """Seconds since it was last heard of, 0 for one that was never lost."""
        now = self._clock.monotonic()
        return now - self._heard.get(host, now)

    def served(self, host: str, shard: ShardSpec, capsule: CapsuleRef | None, gone: float | None = None) -> Label:
        """The shard serves elsewhere: how long that took, and what is lost; said in the log too."""
        now, loss, rto = self._clock.wall(), self._journal.last_loss(host), self.unheard(host)
        heard = loss.heard if loss is not None else now
        age = None if capsule is None else max(0.0, heard - capsule.taken)
        rpo = None if age is None else age + (rto if gone is None else gone)
        one = Recovered(shard=shard.name, host=scrub(host), at=now, rto=rto, rpo=rpo, age=age)
        self.recovered.append(one)
        said = recovered_words(one)
        self._log.say("outcome", f"{shard.name}: {said}")
        return scrub(said)

    # -- for people

    def clear(self, shard: str, *, actor: str, reason: str) -> str:
        """A person says that the shard may start again. Raises UsageError, JournalError."""
        if not reason.strip():
            raise UsageError("clearing a shard of suspicion needs a reason", hint="--reason TEXT")
        self._journal.clear_poison(shard, actor=actor, reason=reason)
        del self._poisoned[shard]
        self._log.mirror()
        return f"{shard} may start again"

    def notices(self) -> tuple[Label, ...]:
        """What every screen has to say: a word, a colon, and why."""
        lines = []
        if self._detector.lost and (brake := self._detector.brake()):
            lines.append(f"failover brake: {brake}; nothing is started elsewhere")
        elif self._detector.lost and "failover" not in self._fleet.policy.kinds:
            lines.append("failover is off: the policy's kinds do not name it; shards of lost hosts wait")
        for host in sorted(self._detector.lost):
            loss = self._journal.last_loss(host)
            if loss is not None:
                lines.append(self._about(loss))
        for shard, why in sorted(self._poisoned.items()):
            lines.append(f"{shard} is poisoned: {why}; it starts nowhere until: sidestep clear-poison {shard}")
        return tuple(scrub(line, 1000) for line in lines)

    def losses(self) -> tuple[HostLoss, ...]:
        """Hosts that are lost, or in quarantine."""
        newest = (self._journal.last_loss(host) for host in sorted({*self._detector.lost, *self._until}))
        return tuple(loss for loss in newest if loss is not None)

    def staying_by_host(self) -> dict[Label, dict[Label, str]]:
        """By lost host, its shards that stay, with the code of why."""
        owners, found = self._journal.placement().owners, dict[Label, dict[Label, str]]()
        for name, code in self.found.stays.items():
            shard = scrub(name)
            if shard in owners:
                found.setdefault(owners[shard].host, {})[shard] = code
        return found

    def poisoned_rows(self) -> tuple[Poisoned, ...]:
        """Shards that start nowhere, and why."""
        return self._journal.poisoned()

    def brake(self) -> str:
        """Why nothing is failed over now, or ""."""
        return self._detector.brake() if self._detector.lost else ""

    def _about(self, loss: HostLoss) -> str:
        held = _held(self._journal.placement(), loss.host)
        stays = [(name, self.found.stays[name]) for name in held if name in self.found.stays]
        said = f"{loss.host} is lost: {loss.reason}; last heard of {_clock_time(loss.heard)}"
        if len(held) > len(stays):
            said += f"; {len(held) - len(stays)} shards are to start elsewhere"
        for name, code in stays[:NAMED]:
            said += f"; {name} {WORDS[code]}"
        return said + (f"; and {len(stays) - NAMED} more stay" if len(stays) > NAMED else "")

    def _resting(self, until: float) -> Label:
        return scrub(f"was lost; nothing new is placed there before {_clock_time(until)}")

    def _say_brake(self) -> None:
        brake = self.brake()
        if brake and not self._braked:
            self._log.say("error", f"failover brake: {brake}; nothing is started elsewhere")
        elif self._braked and not brake:
            self._log.say("host", "failover brake: over")
        self._braked = brake


def recovered_words(one: Recovered) -> str:
    """The two figures of a recovery in a line."""
    lost = (
        "it began with nothing"
        if one.rpo is None
        else f"with a capsule that was {show_seconds(one.age or 0.0)} old then; lost may be what was written in the"
        f" {show_seconds(one.rpo)} from it until its old owner was surely gone (RPO)"
    )
    return f"serves again {show_seconds(one.rto)} after {one.host} was last heard of (RTO), {lost}"


def _held(placement: Placement, host: str) -> list[Label]:
    return sorted(shard for shard, owner in placement.owners.items() if owner.host == host)


def _clock_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
