"""The life of an instance: one table, complete, and what has served anybody is scrubbed before it is ready again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.fleet.errors import IllegalTransition
from sidestep.fleet.instances import CODES, INSTANCE, STATES, TAKEN, InstanceState, advance, advance_all, counts

quick = settings(deadline=None, max_examples=50)
I = InstanceState  # noqa: E741
walks = st.lists(st.integers(0, 100), max_size=40)


def walked(choices: list[int]) -> list[InstanceState]:
    states = [I.WARMING]
    for choice in choices:
        following = sorted(INSTANCE[states[-1]])
        if not following:
            break
        states.append(advance(states[-1], following[choice % len(following)]))
    return states


def test_the_table_names_every_state_and_only_states() -> None:
    """S4.2"""
    assert set(INSTANCE) == set(InstanceState) == set().union({I.COLD, I.WARMING}, *INSTANCE.values())
    assert STATES[CODES[I.READY]] is I.READY


@quick
@given(walks)
def test_what_belonged_to_a_tenant_is_ready_again_only_after_a_scrub(choices: list[int]) -> None:
    """S4.11"""
    dirty = False
    for state in walked(choices):
        assert not (dirty and state in {I.READY, I.COLD, I.WARMING})
        dirty = state in TAKEN or (dirty and state is not I.SCRUBBING)


@quick
@given(walks)
def test_no_instance_serves_that_was_never_ready(choices: list[int]) -> None:
    """S4.2: READY is a checked state"""
    states = walked(choices)
    if I.ACTIVE in states:
        assert I.READY in states[: states.index(I.ACTIVE)]


@quick
@given(st.lists(st.tuples(st.integers(0, len(STATES) - 1), st.integers(0, len(STATES) - 1)), min_size=1, max_size=20))
def test_many_at_once_follow_the_same_table(pairs: list[tuple[int, int]]) -> None:
    old, new = (np.array(each, dtype=np.uint8) for each in zip(*pairs, strict=True))
    allowed = all(a == b or STATES[b] in INSTANCE[STATES[a]] for a, b in pairs)
    if allowed:
        assert (advance_all(old, new) == new).all()
    else:
        with pytest.raises(IllegalTransition):
            advance_all(old, new)


def test_instances_are_counted_by_pool_and_state() -> None:
    pool = np.array([0, 1, 1, 1])
    state = np.array([CODES[I.READY], CODES[I.READY], CODES[I.ACTIVE], CODES[I.READY]], dtype=np.uint8)
    found = counts(pool, state, 3)
    assert found[:, CODES[I.READY]].tolist() == [1, 2, 0]
    assert found.sum() == 4
