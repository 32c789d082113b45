"""What ledgers that commit owners share: the placement, which the journal as a whole knows."""

from __future__ import annotations

from abc import ABC, abstractmethod

from sidestep.autopilot.journal_approvals import ApprovalLedger
from sidestep.fleet.placement import Placement


class OwnerLedger(ApprovalLedger, ABC):
    """A part of the journal whose commits compare owners and set them."""

    @abstractmethod
    def placement(self) -> Placement:
        """Who owns what, and who waits."""

    @abstractmethod
    def set_endpoint(self, shard: str, address: str, port: int) -> None:
        """Note where the shard's owner listens."""
