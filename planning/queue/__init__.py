"""Shards that wait for a host: who is placed where, who gives way for whom, and why others go on waiting.

Pure, as all planning: what waits comes in as values, what was found goes out as actions and reasons.
"""

from sidestep.planning.queue.demand import Needs, asking
from sidestep.planning.queue.fill import Filled, fill

__all__ = ["Filled", "Needs", "asking", "fill"]
