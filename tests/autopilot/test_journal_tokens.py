"""Fencing tokens: promised side by side, never twice, newer than what they replace, and the same after a crash."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from move_doubles import Bench, an_action

from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState
from sidestep.fleet.placement import Owner, Placement, PlacementConflict

#: two moves of one plan, and two shards that are moved twice
MOVES = (an_action(1), an_action(2, "s2", destination="h2"), an_action(3, "s3", "h2", "h1"))
TO = {1: ("s1", "h3"), 2: ("s2", "h2"), 3: ("s3", "h1")}


def commit(bench: Bench, digest: str, action: int, expected: int = 1) -> Placement:
    shard, to = TO[action]
    return bench.journal.commit_move(
        digest=digest, action=action, shard=Label(shard), to=Label(to), expected_token=expected
    )


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_moves_that_run_side_by_side_commit_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    """S2.8 S2.27: each keeps the token that its destination was prepared for, in a higher generation each time."""
    bench = Bench(tmp_path)
    digest = bench.approved(*MOVES)
    tokens = {action: bench.journal.begin_action(digest, action) for action in (1, 2, 3)}
    assert sorted(tokens.values()) == [2, 3, 4]
    generations = [bench.journal.placement().generation]
    for action in order:
        after = commit(bench, digest, action)
        generations.append(after.generation)
        assert after.owners[Label(TO[action][0])] == Owner(Label(TO[action][1]), tokens[action])
    assert generations == sorted(set(generations))
    assert max(tokens.values()) <= generations[-1]


def test_a_killed_daemon_finds_the_tokens_that_it_promised(tmp_path: Path) -> None:
    """S2.27: and promises newer ones only, also where nothing was committed."""
    bench = Bench(tmp_path)
    digest = bench.approved(*MOVES)
    tokens = [bench.journal.begin_action(digest, action) for action in (1, 2)]
    before = bench.journal.placement().generation
    bench.reborn()
    assert [bench.journal.token(digest, action) for action in (1, 2)] == tokens
    assert bench.journal.placement().generation == before, "a promise is no change of the placement"
    assert bench.journal.begin_action(digest, 3) == tokens[-1] + 1


def test_a_commit_is_refused_where_the_shard_has_another_token(tmp_path: Path) -> None:
    """S2.8: compare-and-swap on the shard's own token."""
    bench = Bench(tmp_path)
    one, two = bench.approved(an_action(1)), bench.approved(an_action(1), author="other")
    for digest in (one, two):
        bench.journal.begin_action(digest, 1)
    commit(bench, two, 1)
    with pytest.raises(PlacementConflict, match="shard s1 has token 3 on h3, expected token 1"):
        commit(bench, one, 1)
    assert bench.journal.placement().owners[Label("s1")] == Owner(Label("h3"), 3)


def test_an_older_promise_never_replaces_a_newer_owner(tmp_path: Path) -> None:
    """S2.27: even if whoever commits claims to expect that owner."""
    bench = Bench(tmp_path)
    one, two = bench.approved(an_action(1)), bench.approved(an_action(1), author="other")
    for digest in (one, two):
        bench.journal.begin_action(digest, 1)
    commit(bench, two, 1)
    with pytest.raises(PlacementConflict, match="token 2 for h3 is not newer than token 3"):
        commit(bench, one, 1, expected=3)


def test_a_commit_without_a_promise_or_of_another_shard_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    digest = bench.approved(*MOVES)
    bench.journal.begin_action(digest, 1)
    with pytest.raises(PlacementConflict, match="action 1 has no token for shard s2"):
        bench.journal.commit_move(digest=digest, action=1, shard=Label("s2"), to=Label("h3"), expected_token=1)
    with pytest.raises(PlacementConflict, match="action 2 is PENDING"):
        commit(bench, digest, 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((1, 2, 3)), st.sampled_from(("begin", "commit", "abort", "crash")))))
def test_tokens_rise_whatever_becomes_of_the_moves(story: list[tuple[int, str]]) -> None:
    """S2.27: over begins, commits, aborts and crashes in any order, no token is given twice or goes back."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        promised: list[int] = []
        digest, states = bench.approved(*MOVES), dict.fromkeys((1, 2, 3), "new")
        before = bench.journal.placement()
        for action, what in story:
            if what == "crash":
                bench.reborn()
            elif what == "begin" and states[action] == "new":
                promised.append(bench.journal.begin_action(digest, action))
                states[action] = "begun"
            elif what == "commit" and states[action] == "begun":
                commit(bench, digest, action)
                states[action] = "ended"
            elif what == "abort" and states[action] == "begun":
                bench.journal.set_action(digest, action, ActionState.ABORTING)
                bench.journal.set_action(digest, action, ActionState.ABORTED)
                states[action] = "ended"
            after = bench.journal.placement()
            assert (after.generation > before.generation) == (after.owners != before.owners)
            assert all(after.owners[s].token >= before.owners[s].token for s in before.owners)
            assert all(owner.token <= after.generation for owner in after.owners.values())
            before = after
        assert promised == sorted(set(promised))
        assert all(token > 1 for token in promised)
        bench.journal.close()
