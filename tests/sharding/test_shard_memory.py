"""Memory that an object and a parameter share is found when a loop runs, whatever the analysis knows of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from sidestep.sharding.execute.local import InProcess
from sidestep.sharding.execute.planned import Sharded, prepare


class Held:
    """What has an attribute."""

    def __init__(self, xs: list[int]) -> None:
        self.xs = xs

    def doubled(self, ys: list[int]) -> list[int]:
        """Writes where it may be reading."""
        for i, x in enumerate(self.xs):
            if i < len(ys) - 1:
                ys[i + 1] = x * 2
        return ys

    def grown(self, out: list[int]) -> list[int]:
        """Appends to what it may be going over."""
        for x in self.xs:
            if x < 3:
                out.append(x + 4)
        return out

    def summed(self, rows: list[list[int]]) -> list[list[int]]:
        """Writes rows that a lazy iterator may look into."""
        for i, total in enumerate(map(sum, self.xs)):  # type: ignore[arg-type]
            rows[i % 2][0] = total
        return rows


def _both(method: str, parts: int, xs: object, given: object) -> tuple[object, object, int]:
    """What a method leaves as it is, what its shards leave, and how many loops ran as shards."""
    function = getattr(Held, method)
    prepared = prepare(function, (Held(xs), given), {})  # type: ignore[arg-type]
    made, totals = Sharded.of(prepared, [v for v in prepared.verdicts if v.accepted]).bound(InProcess(parts))
    value = made(Held(xs), given)  # type: ignore[arg-type]
    return value, prepared.verdicts[0].accepted, totals.sharded


@pytest.mark.parametrize("parts", [2, 3])
def test_an_attribute_that_is_written_under_another_name_is_read_as_it_goes(parts: int) -> None:
    """S1.11, S2.2: the parameter is the attribute itself."""
    xs = [1, 2, 3, 4, 5]
    value, accepted, sharded = _both("doubled", parts, xs, xs)
    assert (value, accepted, sharded) == ([1, 2, 4, 8, 16], True, 0)


@pytest.mark.parametrize("parts", [2, 3])
def test_an_attribute_that_is_written_nowhere_runs_as_shards(parts: int) -> None:
    """S1.11, S2.2: the same loop with two lists."""
    value, accepted, sharded = _both("doubled", parts, [1, 2, 3, 4, 5], [0] * 5)
    assert (value, accepted, sharded) == ([0, 2, 4, 6, 8], True, 1)


@pytest.mark.parametrize("parts", [2, 3])
def test_an_attribute_that_grows_under_another_name_is_gone_over_to_its_end(parts: int) -> None:
    """S1.11, S2.2: what is appended has its turn too."""
    xs = [-5, 1, 9]
    value, accepted, sharded = _both("grown", parts, xs, xs)
    assert (value, accepted, sharded) == ([-5, 1, 9, -1, 5, 3], True, 0)


@pytest.mark.parametrize("parts", [2, 3])
def test_rows_that_a_lazy_iterator_looks_into_are_read_as_they_are_then(parts: int) -> None:
    """S1.11, S2.2: the second row was changed before its sum was asked for."""
    rows = [[1, 1], [2, 2], [3, 3], [4, 4]]
    value, _, sharded = _both("summed", parts, rows, rows)
    assert (value, sharded) == ([[6, 1], [8, 2], [3, 3], [4, 4]], 0)
