"""Plans that operators ask for by name: a move, a split, a merge, a resize."""

from __future__ import annotations

from dataclasses import dataclass

from sidestep.autopilot.frames import Picture
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.planner import plan_move, plan_reshard, plan_resize
from sidestep.autopilot.protocol import ProposeMove
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.autopilot.protocol_resize import ProposeResize
from sidestep.autopilot.steps import keys_of
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Plan

Proposal = ProposeMove | ProposeReshard | ProposeResize


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asks, when, why, and of what fleet."""

    picture: Picture
    fleet: FleetSpec
    journal: Journal
    created: float
    author: Label
    reason: str

    def plan(self, request: Proposal) -> Plan:
        """The plan, which is not in the journal yet. Raises SidestepError naming what stands against it."""
        if isinstance(request, ProposeMove):
            return self._move(request)
        return self._reshard(request) if isinstance(request, ProposeReshard) else self._resize(request)

    def _move(self, request: ProposeMove) -> Plan:
        return plan_move(
            self.picture.snapshot,
            self.picture.forecast,
            self.fleet.policy,
            self.journal.placement(),
            fleet=self.fleet,
            shard=request.shard,
            destination=request.destination,
            number=self.journal.next_number(),
            created=self.created,
            author=self.author,
            reason=self.reason,
        )

    def _reshard(self, request: ProposeReshard) -> Plan:
        return plan_reshard(
            request.kind,
            self.picture.snapshot,
            self.fleet.policy,
            self.journal.placement(),
            keys_of(self.fleet, self.journal.shard_keys()),
            fleet=self.fleet,
            shard=request.shard,
            spare=request.spare,
            destination=request.destination,
            at=None if request.at < 0 else request.at,
            number=self.journal.next_number(),
            created=self.created,
            author=self.author,
            reason=self.reason,
        )

    def _resize(self, request: ProposeResize) -> Plan:
        return plan_resize(
            self.picture.snapshot,
            self.fleet.policy,
            self.journal.placement(),
            fleet=self.journal.sized(self.fleet),
            shard=request.shard,
            cpu=None if request.cpu < 0 else request.cpu,
            memory=None if request.memory < 0 else request.memory,
            read=None if request.read < 0 else request.read,
            write=None if request.write < 0 else request.write,
            number=self.journal.next_number(),
            created=self.created,
            author=self.author,
            reason=self.reason,
        )
