"""Where a shard of the queue can go, whatever of the plan has been done by then and whatever runs beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sidestep.planning.model import Constraints, Move, Problem, State
from sidestep.planning.model.problem import I32, Mask
from sidestep.planning.model.state import TOLERANCE


@dataclass(eq=False)
class Trial:
    """A plan as it grows: moves, shards that give way (their destination is -1), and places (their source is -1).

    A place is free to run at any time if it fits while all that leaves its host is still there and all
    that comes is there already. If it fits only once those have left, it waits for all of them.
    """

    problem: Problem
    #: moves of the plan by rows, each shard once
    moves: tuple[Move, ...]
    #: hosts that something is parked on for a while: nothing is placed there
    parking: frozenset[int] = frozenset()
    #: hosts in predicted contention
    hot: frozenset[int] = frozenset()
    gone: list[Move] = field(default_factory=list)
    places: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State(self.problem, self.moves)
        self.closed: Mask = ~self.problem.accepts
        self.closed[list(self.hot | self.parking)] = True

    def leave(self, shard: int) -> None:
        """That shard gives way."""
        move = Move(shard, int(self.problem.host[shard]), -1, int(self.problem.host[shard]))
        self.state.push(move)
        self.gone.append(move)

    def come(self, row: int, host: int) -> None:
        """That row is placed."""
        move = Move(row, -1, host, -1)
        self.state.push(move)
        self.places.append(move)

    def at_once(self, row: int, least: float = 0.0) -> Mask:
        """(H,) hosts that take the row at any time, with ``least`` of their capacity to spare then."""
        starts, ends = self.problem.host, self.state.at
        out = self.closed | blocked(self.problem.constraints, starts, ends, row)
        return np.asarray(~out & (self.state.spare(row, during=True) >= least - TOLERANCE), dtype=np.bool_)

    def afterwards(self, row: int, host: int, least: float = 0.0) -> bool:
        """Whether the host takes the row once all that leaves it has left it."""
        starts, ends = self.problem.host.copy(), self.state.at
        leaving = [m.shard for m in (*self.moves, *self.gone) if m.source == host]
        starts[leaving] = ends[leaving]
        if self.closed[host] or blocked(self.problem.constraints, starts, ends, row)[host]:
            return False
        return bool(self.state.spare(row, np.array([host]), during=False)[0] >= least - TOLERANCE)

    def leavers(self, host: int) -> tuple[int, ...]:
        """Shards that the plan takes off a host."""
        return tuple(m.shard for m in (*self.moves, *self.gone) if m.source == host)


def blocked(rules: Constraints, starts: I32, ends: I32, row: int) -> Mask:
    """(H,) hosts where rules keep the row from, with every other shard at both ends of its move."""
    out: Mask = ~rules.masks[rules.mask[row]]
    for group in rules.groups_of(row).tolist():
        domain = rules.domains[rules.kind[group]]
        others = rules.members_of(group)
        others = others[others != row]
        pairs = {
            (member, int(domain[host]))
            for at in (starts, ends)
            for member, host in zip(others.tolist(), at[others].tolist(), strict=True)
            if host >= 0
        }
        held = np.bincount([d for _, d in sorted(pairs)], minlength=int(domain.max(initial=-1)) + 1)
        out |= held[domain] >= rules.most[group]
    for at in (starts, ends):
        hosts = at[rules.avoided(row)]
        out[hosts[hosts >= 0]] = True
    return out
