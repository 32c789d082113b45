"""Which slots leave masters that will have too much, and where they go: the fewest that are enough. Pure.

Demand is what each slot will ask for at the worst moment of its master, float64[16384], nothing negative; a master's
load is the sum of its slots'. Nobody is taken above the limit, so that a relief makes no new trouble; but a slot that
fits nowhere may go where the worse of the two masters is clearly better off.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from msgspec import Struct

from sidestep.backends.redis_cluster.balance import Demand, loads
from sidestep.backends.redis_cluster.topology import Owners

#: slots that leave a master at once: one that needs more is not helped by moving some slots
MOST: Final = 512
#: of the limit, that a master is brought below, so that it is not above it again at once
BELOW: Final = 0.95
#: of its master's load, that a slot that fits nowhere may make of another's at most: less is not worth a move
BETTER: Final = 0.9
#: of the limit, that a slot is at least that leaves beside one that is too much anyway
WORTH: Final = 0.01
Why = Literal["fewest", "alone", "hot", "no_room", "largest"]


class Relief(Struct, frozen=True, kw_only=True):
    """What is done for one master: its load and the limit, slots that leave by taker, and why so.

    ``fewest``: the heaviest slots that fit elsewhere; ``alone``: one slot is enough, the lightest that is; ``hot``: one
    slot is most of it and would be too much with any other, so it goes to the coolest; ``no_room``: what else would
    have to leave fits nowhere; ``largest``: a single slot is above the limit by itself, and no move brings it below;
    several such slots part.
    """

    master: int
    load: float
    limit: float
    after: float
    moves: tuple[tuple[int, int], ...]
    why: Why


def relieved(owners: Owners, demand: Demand, limits: Demand) -> tuple[Owners, tuple[Relief, ...]]:
    """Owners with nobody above his limit, as far as slots can be moved for that; and what was done for whom.

    ``limits``: float64[masters], 0 for one that may take nothing (it is relieved of nothing).
    """
    after: Owners = owners.copy()
    have = loads(after, demand, len(limits))
    found: list[Relief] = []
    for at in np.argsort(limits - have).tolist():
        if limits[at] > 0 and have[at] > limits[at]:
            found.append(_one(after, demand, limits, have, at))
    return after, tuple(found)


def _one(after: Owners, demand: Demand, limits: Demand, have: Demand, at: int) -> Relief:
    """Relieve one master; ``after`` and ``have`` are changed."""
    load, goal = float(have[at]), float(limits[at]) * BELOW
    slots = np.flatnonzero((after == at) & (demand > 0))
    slots = slots[np.argsort(-demand[slots], kind="stable")]
    moves: list[tuple[int, int]] = []
    why: Why = "fewest"
    room = np.where(limits > 0, limits * BELOW - have, -np.inf)
    room[at] = -np.inf
    excess = load - goal
    enough = slots[demand[slots] >= excess]
    if len(enough) and demand[enough[-1]] <= room.max():
        moves.append((int(enough[-1]), int(np.argmax(room))))
        why = "alone"
    else:
        left = load
        if len(slots) and demand[slots[0]] > limits.max():
            slots = slots[demand[slots] >= WORTH * limits[at]]
        for slot, weight in zip(slots.tolist(), demand[slots].tolist(), strict=True):
            taker = int(np.argmax(room))
            if left <= goal or len(moves) >= MOST or room[taker] <= 0:
                break
            if weight <= room[taker]:
                moves.append((slot, taker))
                room[taker] -= weight
                left -= weight
        if left > limits[at] and len(slots):
            why = "no_room"
            if demand[slots[0]] > limits.max():
                why = "largest"
    for slot, taker in moves:
        after[slot] = taker
        have[taker] += demand[slot]
        have[at] -= demand[slot]
    if why == "no_room" and _hot(after, demand, limits, have, at, moves):
        why = "hot"
    while why == "largest" and len(moves) < MOST and _hot(after, demand, limits, have, at, moves, least=limits.max()):
        pass
    return Relief(master=at, load=load, limit=float(limits[at]), after=float(have[at]), moves=tuple(moves), why=why)


def _hot(
    after: Owners, demand: Demand, limits: Demand, have: Demand, at: int, moves: list[tuple[int, int]],
    *, least: float = 0.0,
) -> bool:  # fmt: skip
    """Send the heaviest slot (above ``least``) to the coolest master, where the worse of the two is better for it."""
    mine = np.flatnonzero(after == at)
    if not len(mine):
        return False
    slot = int(mine[np.argmax(demand[mine])])
    cool = int(
        np.argmin(np.where((limits > 0) & (np.arange(len(limits)) != at), have / np.maximum(limits, 1e-300), np.inf))
    )
    if cool == at or demand[slot] <= least or have[cool] + demand[slot] > BETTER * have[at]:
        return False
    after[slot] = cool
    have[cool] += demand[slot]
    have[at] -= demand[slot]
    moves.append((slot, cool))
    return True
