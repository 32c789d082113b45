"""The life of a pre-initialised instance (S4), as one checked table, and as arrays for whoever counts many.

COLD is configured and verified, but not running. READY is a checked state: the instance has answered, and
belongs to nobody. From ACTIVATING on it belongs to one tenant, and only SCRUBBING leads away from that:
so what has served anybody can never be READY again without having been scrubbed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sidestep.fleet.errors import IllegalTransition


class InstanceState(StrEnum):
    """One instance of a pool, in the order of its life."""

    COLD = "COLD"
    WARMING = "WARMING"
    READY = "READY"
    ACTIVATING = "ACTIVATING"
    ACTIVE = "ACTIVE"
    DEACTIVATING = "DEACTIVATING"
    SCRUBBING = "SCRUBBING"
    DEAD = "DEAD"


_I = InstanceState
INSTANCE: Final[dict[InstanceState, frozenset[InstanceState]]] = {
    _I.COLD: frozenset({_I.WARMING, _I.DEAD}),
    _I.WARMING: frozenset({_I.READY, _I.DEAD}),
    _I.READY: frozenset({_I.ACTIVATING, _I.SCRUBBING, _I.DEAD}),
    _I.ACTIVATING: frozenset({_I.ACTIVE, _I.DEACTIVATING, _I.DEAD}),
    _I.ACTIVE: frozenset({_I.DEACTIVATING, _I.DEAD}),
    _I.DEACTIVATING: frozenset({_I.SCRUBBING, _I.DEAD}),
    # scrubbed in place, put back to sleep as a cold standby, or ended
    _I.SCRUBBING: frozenset({_I.READY, _I.COLD, _I.DEAD}),
    _I.DEAD: frozenset(),
}

#: instances that take room on their host, which the upper bound of a pool counts
RUNNING: Final = frozenset({_I.WARMING, _I.READY, _I.ACTIVATING, _I.ACTIVE, _I.DEACTIVATING, _I.SCRUBBING})
#: instances that belong to a tenant, and may hold something of it
TAKEN: Final = frozenset({_I.ACTIVATING, _I.ACTIVE, _I.DEACTIVATING})
#: instances that serve, or soon will
SERVING: Final = frozenset({_I.ACTIVATING, _I.ACTIVE})
#: what an instance of a dead daemon may be in the middle of
UNDER_WAY: Final = frozenset({_I.WARMING, _I.ACTIVATING, _I.DEACTIVATING, _I.SCRUBBING})

#: what the codes of state arrays count
STATES: Final = tuple(InstanceState)
CODES: Final[dict[InstanceState, int]] = {state: code for code, state in enumerate(STATES)}
#: (states, states) whether the second may follow the first
ALLOWED: Final[NDArray[np.bool_]] = np.array([[new in INSTANCE[old] for new in STATES] for old in STATES])


def advance(old: InstanceState, new: InstanceState) -> InstanceState:
    """Return ``new`` if the table allows it after ``old``. Raises IllegalTransition."""
    if new not in INSTANCE[old]:
        allowed = ", ".join(sorted(INSTANCE[old])) or "nothing: it is final"
        raise IllegalTransition(f"instance: {old} -> {new} is not a transition of this machine; allowed: {allowed}")
    return new


def advance_all(old: NDArray[np.uint8], new: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same for codes (N,) of many instances at once; those that stay what they are are fine."""
    wrong = np.flatnonzero(~(ALLOWED[old, new] | (old == new)))
    if len(wrong):
        first = int(wrong[0])
        advance(STATES[int(old[first])], STATES[int(new[first])])
    return new


def counts(pool: NDArray[np.int64], state: NDArray[np.uint8], pools: int) -> NDArray[np.int64]:
    """(pools, states) how many instances of each pool (N,) are in each state (N,)."""
    flat = np.bincount(pool * len(STATES) + state, minlength=pools * len(STATES))
    return flat.reshape(pools, len(STATES)).astype(np.int64)


def column(*states: InstanceState) -> list[int]:
    """The columns of ``counts`` that these states have."""
    return [CODES[state] for state in states]
