"""Loops as shards leave what the loops leave: values, aliasing, float bits, dict order, exceptions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from hazards import every

from benchmarks.sharder_exact import Counts, defined, one_loop, result_of
from sidestep.sharding.execute.planned import Sharded, prepare

HAZARDS = every()


@pytest.mark.parametrize("name", sorted(HAZARDS))
def test_shards_of_a_hazard_leave_the_same(name: str) -> None:
    """S1.11, S2.2: every accepted loop in 2, 3 and 5 shards, bit for bit."""
    hazard = HAZARDS[name]
    function = defined(hazard.text)
    expected = result_of(function, hazard.arguments())
    prepared = prepare(function, hazard.arguments(), {}, text=hazard.text)
    counts = Counts()
    for verdict in prepared.verdicts:
        for parts in (2, 3, 5) if verdict.accepted else ():
            sharded = Sharded.of(prepared, [verdict])
            assert one_loop(sharded, parts, hazard.arguments(), expected, counts), (verdict.line, parts)
    if hazard.verdict:
        assert hazard.verdict in {v.kind for v in prepared.verdicts}
        if hazard.verdict in {"doall", "reduction"}:
            assert counts.sharded, counts.fallbacks
