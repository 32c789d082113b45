"""Goals by which destinations are chosen, in the order in which the policy names them.

A goal is a class that is made for one problem (``About``) and scores hosts that all may receive a shard
without breaking any constraint: no goal can make a plan infeasible. The first goal decides; where it
finds hosts equally good (to its ``grain``) the next one does, then the room that stays, then the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from sidestep.planning.goals.about import About
from sidestep.planning.goals.builtin import Affinity, Cost, Finest, Headroom, Spread
from sidestep.planning.goals.guard import Guarded
from sidestep.planning.model import State
from sidestep.planning.model.problem import F64, I64

__all__ = ["BUILT_IN", "About", "Affinity", "Cost", "Goal", "Guarded", "Headroom", "Maker", "Spread", "make"]


@runtime_checkable
class Goal(Protocol):
    """What chooses between hosts; the same shape as ``planning.relief.goals.Place``."""

    name: str
    #: scores that differ by less are the same; 0 compares them exactly
    grain: float

    def score(self, state: State, shard: int, rows: I64) -> F64:
        """(k,) lower is better, for hosts ``rows`` that all may receive the row ``shard`` of the problem."""


Maker = Callable[[About], Goal]
BUILT_IN: Final[Mapping[str, Maker]] = {"headroom": Headroom, "cost": Cost, "affinity": Affinity, "spread": Spread}


def make(names: Sequence[str], about: About, plugins: Mapping[str, Maker] | None = None) -> tuple[Goal, ...]:
    """The goals of a policy for one problem, the exact headroom last; names that nobody has are left out.

    Our own names are ours; goals of ``plugins`` are guarded: one that fails has no say, and says why.
    """
    found: list[Goal] = []
    for name in dict.fromkeys(names):
        if name in BUILT_IN:
            found.append(BUILT_IN[name](about))
        elif plugins is not None and name in plugins:
            found.append(Guarded(name, plugins[name], about))
    if found and type(found[-1]) is Headroom:
        found.pop()  # the exact one says the same and more
    return (*found, Finest(about))
