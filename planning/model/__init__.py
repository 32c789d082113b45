"""The planner's model: a fleet as columns of numbers, and a placement being tried on it."""

from sidestep.planning.model.constraints import Constraints
from sidestep.planning.model.outcome import Budget, Duty, DutyKind, Left, Move, Outcome
from sidestep.planning.model.problem import Problem
from sidestep.planning.model.state import State

__all__ = ["Budget", "Constraints", "Duty", "DutyKind", "Left", "Move", "Outcome", "Problem", "State"]
