"""What every plan has that an operator asks for: who, why, and the facts that it rests on. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.placement import Placement
from sidestep.fleet.plans import Action, Plan, Reason
from sidestep.fleet.snapshot import Snapshot, basis_for


@dataclass(frozen=True, kw_only=True)
class Asking:
    """An operator who asks for something, and the fleet of that moment."""

    fleet: Label
    snapshot: Snapshot
    policy: Policy
    placement: Placement
    number: int
    created: float
    author: Label
    reason: str

    @property
    def why(self) -> Reason:
        """The reason of every action: a person wants it."""
        return Reason("OPERATOR", scrub(f"{self.author} asked for it{self._said}"))

    def summary(self, what: str) -> Label:
        """The plan in a line."""
        return scrub(f"{what}, asked for by {self.author}{self._said}")

    def plan(self, action: Action, what: str, *, forecast: str = "") -> Plan:
        """A plan of one action, which rests on both its hosts."""
        return Plan(
            number=self.number,
            fleet=self.fleet,
            created=self.created,
            expires=self.created + self.policy.expire,
            author=self.author,
            snapshot=self.snapshot.number,
            forecast=forecast,
            policy=self.policy,
            basis=basis_for(
                frozenset({str(action.source), str(action.destination)}), self.snapshot.hosts, self.placement
            ),
            actions=(action,),
            summary=self.summary(what),
        )

    @property
    def _said(self) -> str:
        return f": {self.reason}" if self.reason else ""
