"""Shards that wait for a host: who waits since when, why, and in which order they get one (S5.9, S5.18)."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Reason
from sidestep.fleet.questions import HostRefusal

#: seconds of waiting that count as much as all the shard's own weight: who waited so long counts twice
AGEING: Final = 300.0
#: weight of the least important priority; each more important one weighs twice as much
_LEAST: Final = 5

#: how a shard came into the queue: the fleet file says so, somebody submitted it, or it gave way to another one
Cause = Literal["declared", "submitted", "preempted"]


class Waiting(Struct, frozen=True, kw_only=True):
    """One shard of the queue.

    ``token`` is that of its last owner's fence, 0 if it never ran: no process with an older one may
    serve. A shard that gave way left its state on ``host``: the capsule at ``path``, with that digest;
    ``cpu`` and ``memory`` (cores, bytes; 0 is unknown) are what it was predicted to need then.
    """

    shard: Label
    #: unix time
    since: float
    cause: Cause = "declared"
    deployment: Label = Label("")
    token: int = 0
    host: Label = Label("")
    path: str = ""
    digest: str = ""
    #: digest of the files in it, for drivers that compare these
    files: str = ""
    bytes: int = 0
    cpu: float = 0.0
    memory: int = 0
    #: why each host does not take it, as the planner saw it at ``looked``; no host: why none at all is asked
    reasons: tuple[HostRefusal, ...] = ()
    looked: float = 0.0
    #: other hosts that have a good copy of that capsule
    copies: tuple[Label, ...] = ()

    @property
    def reason(self) -> Reason:
        """Why it waits, in one: what holds of all hosts, else the first host's, else that nobody has looked yet."""
        general = next((one.reason for one in self.reasons if not one.host), None)
        if general is not None:
            return general
        if not self.reasons:
            return Reason("NOT_LOOKED", Label("the planner has not looked for a host yet"))
        first = self.reasons[0]
        return Reason(first.reason.code, Label(f"{first.host} {first.reason.text}"))


class Look(Struct, frozen=True, kw_only=True):
    """What the planner found for one shard of the queue that stays there."""

    shard: Label
    reasons: tuple[HostRefusal, ...]


def weight(priority: int) -> float:
    """What a priority counts for: 1 for the least important one, twice as much for each more important one."""
    return float(2 ** max(0, _LEAST - priority))


def benefit(priority: int, waited: float) -> float:
    """How much a shard gains by being placed now: its weight times its slowdown if it is delayed (S5.9).

    The slowdown is that of queueing, (waiting + service) / service, with AGEING for the service time
    that nobody knows. It grows without end, so that whoever waits comes to be first: nobody starves.
    """
    return weight(priority) * (1.0 + max(0.0, waited) / AGEING)
