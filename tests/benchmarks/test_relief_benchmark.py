"""The benchmark of relief: its fleets keep their own rules, and its judges judge."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.relief import impossible, relieved, sticky  # noqa: E402
from benchmarks.relief_fleet import contentions, fleet, noisy  # noqa: E402
from benchmarks.relief_peers import greedy, rebalancer  # noqa: E402


def small(seed: int = 0, *, uncertain: bool = False):  # type: ignore[no-untyped-def]
    return fleet(60, 1_500, 0.8, seed, uncertain=uncertain)


@pytest.mark.parametrize("uncertain", [False, True])
def test_a_fleet_is_the_same_for_a_seed_and_begins_with_no_rule_broken(uncertain: bool) -> None:
    made, again = small(uncertain=uncertain), small(uncertain=uncertain)
    assert (made.mean == again.mean).all() and (made.host == again.host).all()
    broken = [kind for kind, *_ in made.constraints.broken(made.host)]
    assert "host" not in broken
    assert len(broken) <= 3  # a service wider than its zone
    assert contentions(made)


def test_planners_are_measured_on_one_instance_and_every_move_of_ours_is_replayed() -> None:
    """Shows 2."""
    made = small()
    duties = contentions(made)
    run = relieved(made, duties, 0)
    assert run.flaws == 0
    assert run.first <= run.last
    assert run.outcome.bound <= len(run.outcome.moves)
    for style in ("cruise", "watcher"):
        other = greedy(made, style)  # type: ignore[arg-type]
        assert (other.hot, other.moves) >= (len(run.outcome.left), 0)
    assert rebalancer(made, "") == "no --rebalancer-python: skipped"


def test_what_is_bigger_than_every_host_is_impossible_and_nothing_else_is() -> None:
    made = small()
    duties = contentions(made)
    assert not any(impossible(made, duty) for duty in duties if (made.mean[made.on(duty.host)] < 0.1).all())
    from dataclasses import replace

    giant = int(made.on(duties[0].host)[0])
    mean = made.mean.copy()
    mean[giant] += 2 * made.limit.max()
    median = made.median.copy()
    median[duties[0].host] += 2 * made.limit.max()
    assert impossible(replace(made, mean=mean, median=median), duties[0])


def test_noise_changes_the_forecast_and_planning_again_is_measured() -> None:
    """Shows 4."""
    made = small()
    changed = noisy(made, 0.02, 0)
    sums = np.zeros_like(changed.median)
    np.add.at(sums, changed.host, changed.mean.astype(np.float64))
    assert changed.median == pytest.approx(sums)
    run = relieved(made, contentions(made), 0)
    found = sticky(made, run.outcome, 0)
    assert 0 <= found["actions kept by planning again"] <= 1
    assert found["actions kept by planning again"] >= found["actions kept by a fresh plan"]
