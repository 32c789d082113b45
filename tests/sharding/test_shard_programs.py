"""Random programs as shards; benchmarks.sharder runs many more of the same."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.sharder_exact import Counts, check
from benchmarks.sharder_programs import ALIASINGS


@settings(max_examples=16, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.integers(0, 10**9), st.integers(0, ALIASINGS - 1), st.integers(2, 5))
def test_a_random_program_as_shards_leaves_the_same(seed: int, aliasing: int, parts: int) -> None:
    """S1.11: differential, over every accepted loop, with arguments aliased in five ways."""
    counts = Counts()
    check(seed, aliasing, parts, counts)
    assert not counts.mismatches
