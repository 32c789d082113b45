"""Pools in the journal: bounds hold whoever asks, states follow the table, and everything outlives a restart."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.pool.ledger import PoolFull
from sidestep.fleet.errors import IllegalTransition, SidestepError
from sidestep.fleet.instances import INSTANCE, RUNNING, InstanceState
from sidestep.fleet.labels import Label
from sidestep.fleet.pools import PoolSpec
from sidestep.planning.pool.speculative import Guess

I = InstanceState  # noqa: E741
POOL = PoolSpec(name=Label("p"), apps=(Label("a"),), hosts=(Label("h"),), max=3, cold=2, ports=(100, 110))


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(0, 1000), max_size=25))
def test_whoever_opens_wakes_and_moves_instances_the_upper_bound_holds(choices: list[int]) -> None:
    """S4.3: two daemons' worth of writers on one file, interleaved as they come"""
    with tempfile.TemporaryDirectory() as folder:
        two = [Journal(Path(folder) / "j.db"), Journal(Path(folder) / "j.db")]
        for choice in choices:
            journal, what = two[choice % 2], choice // 2
            known = journal.pool_instances()
            try:
                if what % 3 == 0 or not known:
                    journal.pool_open(POOL, "h", I.COLD if what % 4 == 0 else I.WARMING)
                else:
                    one = known[what % len(known)]
                    following = sorted(INSTANCE[one.state])
                    journal.pool_move(one, following[what % len(following)], POOL, app="a")
            except PoolFull:
                pass
            after = two[0].pool_instances()
            assert sum(one.state in RUNNING for one in after) <= POOL.max
            assert sum(one.state is I.COLD for one in after) <= POOL.max + POOL.cold
            assert len({one.port for one in after}) == len(after)
        for journal in two:
            journal.close()


def test_an_instance_keeps_its_tenant_until_it_is_scrubbed_and_its_number_for_ever(tmp_path: Path) -> None:
    """S4.11"""
    journal = Journal(tmp_path / "j.db")
    one = journal.pool_open(POOL, "h", I.WARMING)
    with pytest.raises(IllegalTransition):
        journal.pool_move(one, I.ACTIVE, POOL)
    for state in (I.READY, I.ACTIVATING, I.ACTIVE, I.DEACTIVATING, I.SCRUBBING):
        one = journal.pool_move(one, state, POOL, app="a" if state is I.ACTIVATING else "")
        assert one.app == ("" if state is I.READY else "a")
    journal.hand_over(one, "/x", "d", 3)
    journal.pool_move(one, I.DEAD, POOL)
    with pytest.raises(SidestepError):
        journal.pool_move(one, I.READY, POOL)
    assert journal.pool_open(POOL, "h", I.WARMING).id > one.id
    epoch = journal.pool_epoch()
    journal.close()
    again = Journal(tmp_path / "j.db")
    assert again.pool_epoch() == epoch + 1
    assert [(each.app, each.digest) for each in again.handovers()] == [("a", "d")]
    again.close()


def test_failed_drills_are_errors_in_the_log_and_guesses_are_counted(tmp_path: Path) -> None:
    """S4.13, S4.14"""
    journal = Journal(tmp_path / "j.db")
    one = journal.pool_open(POOL, "h", I.COLD)
    journal.drill_end(journal.drill_begin("p", one.id), ok=True, seconds=1.0, detail="")
    journal.drill_end(journal.drill_begin("p", one.id), ok=False, seconds=2.0, detail="no module named x")
    assert not journal.drills()["p"].ok
    errors = [event.text for event in journal.events(0) if event.kind == "error"]
    assert errors == [f"pool p: cold instance {one.name} failed its fire drill: no module named x"]
    for name in ("f", "g", "h"):
        journal.guess(
            Guess(name=Label(name), pool=Label("p"), count=1, since=1.0, expires=9.0, chance=0.5, reason=Label("r"))
        )
    journal.settle_guess("f", hit=True)
    journal.settle_guess("g", hit=False)
    tally = journal.tallies()["p"]
    assert (tally.hits, tally.misses, tally.open, tally.rate) == (1, 1, 1, 0.5)
    journal.close()
