"""Proposals: pure functions from a snapshot and a forecast to a plan (floor 2).

No clock, no randomness without a seed, no I/O: the same input gives the same bytes.
"""

from sidestep.planning.manual import plan_move
from sidestep.planning.planner import basis_now, propose
from sidestep.planning.transfer import TransferModel

__all__ = ["TransferModel", "basis_now", "plan_move", "propose"]
