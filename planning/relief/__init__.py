"""Relief: the fewest moves that do all duties, where every prefix is feasible, and what is proven of them."""

from sidestep.planning.relief.goals import DEFAULT, Headroom, Place, Prefer
from sidestep.planning.relief.relieve import UNLIMITED, final, relieve

__all__ = ["DEFAULT", "UNLIMITED", "Headroom", "Place", "Prefer", "final", "relieve"]
