"""S2.21: what the benchmarks of functions make of the marks that blocks leave."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.functions_hosts import ENGINE, NURSERY, worker_of  # noqa: E402
from benchmarks.functions_lost import Bench, Loss  # noqa: E402


def bench(marks: list[tuple[int, float]]) -> Any:
    made = Bench.__new__(Bench)
    vars(made)["read"] = lambda log: marks
    return made


@pytest.mark.parametrize(
    ("after", "work", "share", "rto"),
    [
        # goes on from step 3: what came after the end of step 2 is lost
        ([(3, 9.0), (4, 9.5)], 2.5, 0.4, 4.0),
        # begins anew: the whole block is lost
        ([(0, 8.0), (1, 8.5)], 4.0, 1.0, 3.0),
        # one more step of the old process is written while it is being killed
        ([(5, 5.1), (4, 7.0)], 1.5, 0.2, 2.0),
    ],
)
def test_work_lost_is_what_is_computed_again(
    after: list[tuple[int, float]], work: float, share: float, rto: float
) -> None:
    before = [(0, 1.0), (1, 2.0), (2, 2.5), (3, 3.5), (4, 4.5)]
    loss = Loss()
    bench([*before, *after]).account(loss, "log", 5.0)
    assert (loss.work, loss.share, loss.rto) == ([work], [pytest.approx(share)], [rto])


def test_a_worker_is_the_engine_with_a_nursery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.functions_hosts.parent_of", {30: 20}.get)
    hosts: Any = SimpleNamespace(processes=lambda host: {10: f"python -m {ENGINE}", 20: f"-m {ENGINE}", 30: NURSERY})
    assert worker_of(hosts, "h1") == 20
    with pytest.raises(LookupError):
        worker_of(SimpleNamespace(processes=lambda host: {10: ENGINE}), "h1")  # type: ignore[arg-type]
