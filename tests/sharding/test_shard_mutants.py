"""A broken rule is noticed: a cheap sample of benchmarks.sharder_mutants."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hazards import every

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.sharder_mutants import MUTANTS, killed_by


@pytest.mark.parametrize("name", ["rows are distinct", "early exits", "shards are committed backwards"])
def test_breaking_a_rule_is_noticed_by_a_hazard(name: str) -> None:
    """S1.11: the tests of exactness are able to fail."""
    few = {"aliased_rows_are_read", "return", "str_concat"}
    programs = [(n, h.text, h.arguments) for n, h in every().items() if n in few]
    assert killed_by(MUTANTS[name], programs, ())
    assert not killed_by((), programs, ())
