"""What was found out about one loop."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal

from sidestep.sharding.analysis.places import Dim
from sidestep.sharding.execute.contract import Refusal
from sidestep.sharding.universe.types import Type

GuardKind = Literal["holds", "integer", "sequence", "not-dict", "dict", "rows", "keys", "separate", "unlooped", "apart"]


@dataclass(frozen=True, slots=True)
class Guard:
    """What must hold when the loop starts, else it runs where it is.

    ``holds``: the expression is true. ``integer``: it is an int. ``sequence``: iterating over it twice yields the
    same. ``not-dict``: storing into the root cannot change its length. ``dict``: it is one. ``keys``: no two items, or
    parts ``depth`` of items, name the same element of anything. ``separate``: two names, of which one was bound to the
    other at some time, are two objects now, with nothing in common. ``unlooped``: the first name's object is
    not the second's, nor (``depth``) below it. ``rows``: no object below the root, down to
    ``depth``, is reached twice. ``apart``: nothing that is shipped reaches the object itself (it is left where it is,
    and what is done to it comes later).
    """

    kind: GuardKind
    text: str
    depth: int = 0


@dataclass(slots=True)
class Reduction:
    """A name that iterations combine into: folded in order, never re-associated unless exact in any order.

    ``scalar`` by an operator, ``companion`` of a minimum or maximum, ``append``: calls written down and done later,
    ``keyed``: stores ``h[k] op= v`` written down likewise.
    """

    kind: Literal["scalar", "companion", "append", "keyed"]
    op: str
    type: Type
    #: any grouping of it yields the same
    exact: bool = True
    nodes: list[ast.stmt] = field(default_factory=list)
    companions: set[str] = field(default_factory=set)
    #: of a companion: the name it goes with
    of: str = ""


@dataclass(slots=True)
class Verdict:
    """A loop: its kind, why not, and what running it as shards needs.

    ``private`` names are bound anew in every iteration; ``last`` of these are read after the loop. ``sections`` are
    the written parts of each root, as subscripts in normal form.
    """

    node: ast.For | ast.While | ast.AsyncFor
    depth: int
    kind: Literal["doall", "reduction", "sequential", "refused"] = "sequential"
    refusals: list[Refusal] = field(default_factory=list)
    reductions: dict[str, Reduction] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)
    private: set[str] = field(default_factory=set)
    exposed: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    sections: dict[str, list[tuple[Dim, ...]]] = field(default_factory=dict)
    variable: str = ""
    #: leaves by break or return: run block by block, and only what the sequential loop would have run is kept
    leaves: bool = False
    #: may follow the order of a set: sets are shipped with it, or not at all
    orders_sets: bool = False

    @property
    def line(self) -> int:
        """Where it stands."""
        return self.node.lineno

    @property
    def accepted(self) -> bool:
        """Whether it may run as shards."""
        return self.kind in {"doall", "reduction"}
