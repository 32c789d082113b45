"""Plans: what exactly will run, why, and what it was decided on.

A plan is immutable and named by the SHA-256 of its canonical bytes, which include the
snapshot, the forecast and the policy; approval binds to that digest. Whatever changes
while a plan runs lives in ``PlanStatus``, never in the plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from sidestep.fleet.actions import Applied
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState, StepName, StepState

#: what an action does; ``migrate`` and ``failover`` move a shard, ``preempt`` sends it to the queue and ``place``
#: fetches it from there, ``apply`` does to it what a plugin offers and ``lift`` takes that back, the others change it
#: or a host
ActionKind = Literal[
    "migrate", "resize", "split", "merge", "activate", "deactivate", "preempt", "failover", "cordon", "drain", "place",
    "apply", "lift",
]  # fmt: skip

#: the author of what sidestep proposes by itself
PLANNER: Final = Label("planner")


class Reason(Struct, frozen=True):
    """A coded explanation: the code is stable and documented, the text is for people."""

    code: str
    text: Label


class Evidence(Struct, frozen=True, kw_only=True):
    """The forecast segment that an action was decided on; fractions of allocatable capacity.

    ``times`` are seconds after ``Plan.created``; the three curves have the same length.
    """

    host: Label
    dimension: str
    threshold: float
    quantile: float
    probability: float
    #: unix time at which contention starts, and seconds from the plan's creation to it
    starts_at: float
    lead: float
    times: tuple[float, ...]
    median: tuple[float, ...]
    upper: tuple[float, ...]
    upper_after: tuple[float, ...]


class Alternative(Struct, frozen=True):
    """A choice that was looked at and not taken, with the coded reason."""

    destination: Label
    reason: Reason
    #: predicted peak of that destination, fraction of allocatable capacity
    peak: float


class Part(Struct, frozen=True):
    """One shard that a split makes, or a merge takes in: its half-open range of keys, and where it will be."""

    shard: Label
    destination: Label
    keys: tuple[int, int] | None = None


class Limits(Struct, frozen=True, kw_only=True):
    """What a resize sets: cores and bytes, before and after; 0 is no limit.

    Bytes a second at its disk are touched only where they are others than before.
    """

    cpu: float
    memory: int
    cpu_before: float = 0.0
    memory_before: int = 0
    read: int = 0
    write: int = 0
    read_before: int = 0
    write_before: int = 0

    def back(self) -> Limits:
        """What takes it back."""
        return Limits(
            cpu=self.cpu_before, memory=self.memory_before, read=self.read_before, write=self.write_before,
            cpu_before=self.cpu, memory_before=self.memory, read_before=self.read, write_before=self.write,
        )  # fmt: skip


class Proof(Struct, frozen=True, kw_only=True):
    """How good the plan is: no plan that does the same can make fewer than ``bound`` moves."""

    moves: int
    bound: int
    #: whether this plan makes no more moves than any plan must
    proven: bool
    #: hosts that stay in predicted contention, and whether it is proven that no moves at all could help them
    left: int = 0
    impossible: bool = False
    #: iterations of the search, and whether a time limit ended it (then another run may end otherwise)
    iterations: int = 0
    cut: bool = False


class Action(Struct, frozen=True, kw_only=True):
    """One reversible change: ``migrate`` moves ``shard`` from ``source`` to ``destination``.

    Of other kinds: ``activate``, ``deactivate``, ``cordon`` and ``drain`` are about the host
    ``destination`` and name no shard; ``resize``, ``split``, ``merge``, ``preempt``, ``apply`` and ``lift`` happen
    on ``source`` and carry ``limits``, ``parts`` or ``applied``; a preempted shard's are what it was predicted to
    need. ``place`` has no source: the shard comes from the queue.
    """

    id: int
    kind: ActionKind = "migrate"
    shard: Label
    source: Label
    destination: Label
    #: the token the shard must still have when the action starts
    token: int
    #: 1 (mandatory) to 5
    priority: int
    reason: Reason
    evidence: Evidence | None = None
    alternatives: tuple[Alternative, ...] = ()
    bytes: int = 0
    transfer_s: float = 0.0
    freeze_ms: float = 0.0
    #: unix time after which the move would end too late
    latest_start: float = 0.0
    #: ids of actions that must be DONE before this one starts
    after: tuple[int, ...] = ()
    undo: Label = Label("")
    #: shards of a split or a merge
    parts: tuple[Part, ...] = ()
    limits: Limits | None = None
    #: unix time before which starting gains nothing: the trough in which both ends have most room
    earliest: float = 0.0
    #: actions of one wave may run side by side, within the policy's caps
    wave: int = 0
    #: the shard returns later or goes on from there: it is only parked, to break a circle of full hosts
    parked: bool = False
    #: what a plugin offered, word for word
    applied: Applied | None = None

    @property
    def course(self) -> str:
        """From where to where, in words."""
        if self.kind in ("apply", "lift") and self.applied is not None:
            return f"on {self.source}, {self.applied.name}"
        if self.kind == "resize":
            return f"on {self.source}"
        return f"from {self.source or 'the queue'} to {self.destination or 'the queue'}"


class Outlook(Struct, frozen=True, kw_only=True):
    """One host over the horizon, before and after the plan; peaks at the policy's quantile."""

    host: Label
    dimension: str
    capacity: float
    peak_before: float
    peak_after: float
    probability_before: float
    probability_after: float


class PlacementFact(Struct, frozen=True, order=True):
    """A placement that the plan relies on; no host: the shard waits in the queue, fenced below ``token``."""

    shard: Label
    host: Label
    token: int


class HostFact(Struct, frozen=True, order=True):
    """A host's state and capacity that the plan relies on."""

    host: Label
    state: str
    cpu: float
    memory: int


class Basis(Struct, frozen=True):
    """The facts about the world that must still hold when the plan runs."""

    placements: tuple[PlacementFact, ...]
    hosts: tuple[HostFact, ...]

    @property
    def waiting(self) -> frozenset[str]:
        """The shards that have to be in the queue."""
        return frozenset(str(fact.shard) for fact in self.placements if not fact.host)

    def differences(self, now: Basis) -> tuple[str, ...]:
        """One readable line for every fact that is no longer so; empty means the plan still fits."""
        lines: list[str] = []
        was_at = {p.shard: p for p in self.placements}
        is_at = {p.shard: p for p in now.placements}
        for shard in sorted(was_at.keys() | is_at.keys()):
            old, new = was_at.get(shard), is_at.get(shard)
            if old == new:
                continue
            if old is None and new is not None:
                there = f"not on {new.host} when planned, now there" if new.host else "now in the queue"
                lines.append(f"shard {shard}: {there} (token {new.token})")
            elif old is not None and new is None:
                lines.append(f"shard {shard}: was {_where(old)}, now on no host of this plan")
            elif old is not None and new is not None:
                lines.append(f"shard {shard}: was {_where(old)}, now {_where(new)}")
        was, is_ = {h.host: h for h in self.hosts}, {h.host: h for h in now.hosts}
        for host in sorted(was.keys() | is_.keys()):
            before, after = was.get(host), is_.get(host)
            if before is None or after is None:
                lines.append(f"host {host}: {'appeared' if before is None else 'is gone'}")
                continue
            for field in ("state", "cpu", "memory"):
                a, b = getattr(before, field), getattr(after, field)
                if a != b:
                    lines.append(f"host {host}: {field} was {a}, now {b}")
        return tuple(lines)


def _where(fact: PlacementFact) -> str:
    return f"{f'on {fact.host}' if fact.host else 'in the queue'} (token {fact.token})"


class Plan(Struct, frozen=True, kw_only=True):
    """An ordered set of actions with its evidence; every prefix of ``actions`` is safe."""

    number: int
    fleet: Label
    created: float
    expires: float
    author: Label
    snapshot: int
    forecast: str
    policy: Policy
    basis: Basis
    actions: tuple[Action, ...]
    outlook: tuple[Outlook, ...] = ()
    #: one line: what would have been planned from present load alone
    without_forecast: Label = Label("")
    #: one line: why this plan
    summary: Label = Label("")
    #: how near this plan is to the fewest moves possible
    proof: Proof | None = None
    #: what would help besides and is done by hand: no backend here can run it
    advice: tuple[Action, ...] = ()
    #: hosts that stay in contention and rules that stay broken, with coded reasons
    left: tuple[Reason, ...] = ()
    #: what is different from the proposal before this one, a line each
    changes: tuple[Label, ...] = ()

    def canonical(self) -> bytes:
        """The bytes that the digest is of: JSON with sorted keys and no spaces.

        Fields that came after plans were first written down are left out while they are at their
        defaults, so that a plan of an earlier version reads back as itself.
        """
        tree = msgspec.to_builtins(self)
        actions, advice = tree["actions"], [one for one in tree["advice"] if isinstance(one, dict)]
        limits = [one["limits"] for one in (*actions, *advice) if isinstance(one["limits"], dict)]
        later = (
            (Limits, "memory_before", limits), (Policy, "step_deadline", [tree["policy"]]), (Action, "undo", actions),
            (Action, "parked", advice), (Plan, "summary", [tree]),
        )  # fmt: skip
        for kind, last, parts in later:
            for part in parts:
                for name, default in _later(kind, last).items():
                    if part[name] == default:
                        del part[name]
        return msgspec.json.encode(tree, order="sorted")

    def digest(self) -> str:
        """The plan's name: 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical()).hexdigest()


@cache
def _later(kind: type[Struct], last: str) -> Mapping[str, Any]:
    """The fields of a kind that came after ``last``, which was its last when such were first written down.

    With their defaults as JSON has them.
    """
    fields = msgspec.structs.fields(kind)
    first = [field.name for field in fields].index(last) + 1
    return {field.name: msgspec.to_builtins(field.default) for field in fields[first:]}


class NoPlan(Struct, frozen=True, kw_only=True):
    """ "No plan" is an answer too, with its reasons."""

    created: float
    snapshot: int
    forecast: str
    reasons: tuple[Reason, ...]
    #: what would help and is done by hand: standby hosts, splits, and the like
    advice: tuple[Action, ...] = ()
    #: whether it is proven that no migration plan exists
    impossible: bool = False


class StepStatus(Struct, frozen=True, kw_only=True):
    """How far one step of one action is."""

    name: StepName
    state: StepState = StepState.PENDING
    ms: float = 0.0
    detail: Label = Label("")


class ActionStatus(Struct, frozen=True, kw_only=True):
    """How far one action is; ``freeze_ms`` and ``bytes`` are measured."""

    id: int
    state: ActionState = ActionState.PENDING
    steps: tuple[StepStatus, ...] = ()
    bytes: int = 0
    freeze_ms: float = 0.0
    note: Label = Label("")


class Measured(Struct, frozen=True, kw_only=True):
    """Predicted against measured, for one host, after the plan ran (fractions of capacity)."""

    host: Label
    dimension: str
    predicted_without: float
    predicted_with: float
    measured: float


class PlanStatus(Struct, frozen=True, kw_only=True):
    """What has become of a plan: the changing half, beside the immutable one."""

    digest: str
    state: PlanState
    actions: tuple[ActionStatus, ...] = ()
    approved_by: Label = Label("")
    reason: Label = Label("")
    note: Label = Label("")
    updated: float = 0.0
    outcome: tuple[Measured, ...] = ()
