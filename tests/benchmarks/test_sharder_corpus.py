"""What the order oracle says of public functions, and of which loops it says nothing."""

from __future__ import annotations

import subprocess
import sys
from json import loads
from pathlib import Path
from typing import Any

import pytest

TEXT = '''
def handed_on(xs):
    """
    >>> handed_on([3, 1, 2, 5])
    [3, 3, 3, 5]
    """
    best = []
    for x in xs:
        best.append(max(x, best[-1] if best else 0))
    return best


def first_seen(pairs, most):
    """
    >>> first_seen([(1, 2), (2, 3), (3, 4)], 99)
    9
    """
    class Total:
        value = 0
    for a, b in pairs:
        Total.value += b
    return Total.value


def grown(n):
    """
    >>> grown(4)
    [1, 2, 4, 8, 16]
    """
    made = [1]
    for _ in range(n):
        made.append(made[-1] * 2)
    return made


def doubled(xs):
    """
    >>> doubled([1, 2, 3])
    [2, 4, 6]
    """
    made = []
    for x in xs:
        made.append(x * 2)
    return made


def test_nothing_comes_back():
    total = []
    for x in [1, 2, 3]:
        total.append(x)
    for x in [1, 2, 3]:
        print(x)
'''


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    path = tmp_path_factory.mktemp("corpus") / "some.py"
    path.write_text(TEXT, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.sharder_corpus", str(path)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[2], text=True)
    found = loads(done.stdout.splitlines()[-1])
    assert not found["mismatches"]
    assert not found["crashes"]
    return {loop["line"]: loop for loop in found["loops"]}


def _line(of: str, at: int = 1) -> int:
    lines = TEXT.split("\n")
    start = next(n for n, line in enumerate(lines) if line.startswith(f"def {of}("))
    found = [n for n, line in enumerate(lines) if n > start and line.lstrip().startswith("for ")]
    return found[at - 1] + 1


def test_an_accepted_loop_that_matters_counts(loops: dict[int, dict[str, Any]]) -> None:
    """S1.11: it was run in 2, 3 and 7 shards, and without it the call leaves something else."""
    loop = loops[_line("doubled")]
    assert (loop["ran"], loop["visible"]) == ("same", True)


def test_a_refused_loop_whose_order_is_seen_is_no_miss(loops: dict[int, dict[str, Any]]) -> None:
    """S1.11: backwards it leaves something else."""
    loop = loops[_line("handed_on")]
    assert (loop["ran"], loop["order"], loop["visible"]) == ("", "seen", True)


def test_a_refused_loop_whose_order_nobody_sees_is_a_miss(loops: dict[int, dict[str, Any]]) -> None:
    """S1.11: it sums up, in a way that is not followed."""
    loop = loops[_line("first_seen")]
    assert (loop["ran"], loop["order"], loop["visible"]) == ("", "unseen", True)


def test_turns_that_cannot_be_told_apart_have_no_order(loops: dict[int, dict[str, Any]]) -> None:
    """S1.11: each turn takes what the one before left, and backwards it is the same loop."""
    loop = loops[_line("grown")]
    assert (loop["order"], loop["visible"]) == ("unseen", False)


def test_of_a_loop_whose_work_nobody_returns_nothing_is_said(loops: dict[int, dict[str, Any]]) -> None:
    """S1.11: with and without it the call leaves the same."""
    assert not loops[_line("test_nothing_comes_back")]["visible"]
    assert not loops[_line("test_nothing_comes_back", 2)]["visible"]
