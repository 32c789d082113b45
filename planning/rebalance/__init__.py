"""Rebalancing a fleet by cost: the general reassignment of shards to hosts, offered beside relief.

Pure like all planning: the same problem, iterations and seed give the same bytes. Numba is
imported only by a search that may use it and finds it.
"""

from sidestep.planning.rebalance.cost import Cost, bound_of, broken_by, cost_of
from sidestep.planning.rebalance.model import Reassignment
from sidestep.planning.rebalance.optimise import Found, Settings, rebalance

__all__ = ["Cost", "Found", "Reassignment", "Settings", "bound_of", "broken_by", "cost_of", "rebalance"]
