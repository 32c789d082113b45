"""The compiled loops and the plain ones say the same, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import ordered, shuffled

from sidestep.planning.ordering import Caps, timing

pytest.importorskip("numba")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), host=st.integers(0, 3), fleet=st.integers(0, 5), even=st.booleans())
def test_starts_and_waves_do_not_depend_on_whether_the_loops_are_compiled(
    seed: int, host: int, fleet: int, even: bool
) -> None:
    """The same plan on every machine, whether the extra ``fast`` is installed or not."""
    rng = np.random.default_rng(seed)
    made, moves = shuffled(seed, shards=40, share=0.8, fill=0.95)
    caps = Caps(host=host, fleet=fleet, app=1, apps=rng.integers(0, 5, made.shards).astype(np.int32))
    order = ordered(made, moves, caps=caps)
    rows = np.repeat(np.arange(len(order)), np.diff(order.after[0]))
    after = timing.Waits(rows, order.after[1].astype(np.int64), order.wave.astype(np.int64))
    columns = (column.astype(np.int64) for column in (order.shard, order.source, order.destination))
    slots = timing.Slots(made, caps, *columns)
    takes = np.full(len(order), 7.0) if even else rng.random(len(order)) * 10
    begin = np.where(rng.random(len(order)) < 0.3, rng.random(len(order)) * 50, 0.0)
    rank = rng.permutation(len(order))
    plain, fast = (timing.simulate(after, begin, takes, rank, slots, compiled=flag) for flag in (False, True))
    assert plain.tobytes() == fast.tobytes()
    by_start = np.lexsort((np.arange(len(order)), plain))
    of, by = (timing.waves(by_start, after, slots, compiled=flag) for flag in (False, True))
    assert of.tolist() == by.tolist()
