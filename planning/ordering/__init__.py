"""The order of a plan: which move waits for which, when each starts, and what cannot be ordered."""

from sidestep.planning.ordering.check import verify
from sidestep.planning.ordering.model import Cancelled, Caps, Lack, Schedule
from sidestep.planning.ordering.schedule import schedule

__all__ = ["Cancelled", "Caps", "Lack", "Schedule", "schedule", "verify"]
