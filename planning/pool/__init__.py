"""How large pools of pre-initialised instances are to be (S4): pure, over all pools at once."""

from sidestep.planning.pool.decide import Decider, Decision, Look
from sidestep.planning.pool.terms import Terms

__all__ = ["Decider", "Decision", "Look", "Terms"]
