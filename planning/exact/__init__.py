"""Proofs for small cases: the fewest moves that do all duties, or that no moves do, by mixed-integer programs."""

from sidestep.planning.exact.build import Scope
from sidestep.planning.exact.missing import Missing, Touched, touched, what_is_missing
from sidestep.planning.exact.program import Limits
from sidestep.planning.exact.silent import silent
from sidestep.planning.exact.solve import Exact, optimum

__all__ = ["Exact", "Limits", "Missing", "Scope", "Touched", "optimum", "silent", "touched", "what_is_missing"]
