"""S2.22: many clients under pauses, skewed clocks, lost connections and a service that is killed; and the checker."""

from __future__ import annotations

from pathlib import Path

import pytest
from lock_history import Check, Grant, Write, violations
from lock_world import World

GRANTS = [Grant("a", "x", 1, 0.0, 1.0), Grant("b", "x", 2, 0.5, 5.0)]


def granted_to_another(name: str, above: int = 0):
    return lambda event: event["event"] == "granted" and event["client"] != name and event["token"] > above


def test_the_checker_finds_nothing_in_a_good_history() -> None:
    checks = [
        Check("a", "x", 1, True, 1.1, 1.2),
        Check("a", "x", 1, False, 6.0, 6.1),
        Check("b", "x", 2, True, 5.1, 5.2),
    ]
    assert violations(GRANTS, checks, [Write("a", "x", 1, 0, 1), Write("b", "x", 2, 1, 2)]) == []


@pytest.mark.parametrize(
    ("grants", "checks", "writes", "said"),
    [
        ([*GRANTS, Grant("c", "x", 2, 0.6, 6.0)], [], [], "token 2 was granted 2 times"),
        ([*GRANTS, Grant("c", "x", 0, 7.0, 8.0)], [], [], "token 0 was asked for after 2"),
        (GRANTS, [Check("a", "x", 1, True, 5.5, 5.6)], [], "a was sure of token 1 0.500 s after b got token 2"),
        (GRANTS, [Check("b", "x", 1, True, 2.0, 2.1)], [], "which it never got"),
        (GRANTS, [], [Write("b", "x", 2, 0, 1), Write("a", "x", 1, 1, 2)], "took token 1 after 2"),
        (GRANTS, [], [Write("a", "x", 1, 0, 1), Write("b", "x", 2, 0, 1)], "but it was 1"),
    ],
)
def test_the_checker_finds_what_must_not_be(grants, checks, writes, said: str) -> None:
    assert any(said in found for found in violations(grants, checks, writes))


def test_paused_and_skewed_clients_never_share_a_lock_nor_lose_a_write(tmp_path: Path) -> None:
    """S2.22: each client once stops after its check and before its write for longer than its lease."""
    with World(tmp_path) as world:
        world.client("a", rounds=4, stops=[1], offset=3600.0, rate=1.03)
        world.client("b", rounds=4, stops=[2], offset=-3600.0, rate=0.97)
        enough = tmp_path / "enough"  # the third goes on, so that there is one who takes the lock of the stopped
        world.client("c", rounds=4, drops=[0, 2, 3], offset=1e6, until=str(enough))
        for name in ("a", "b"):
            world.told(lambda event, name=name: event["event"] == "stops" and event["client"] == name)
            world.stopped(name)
            held = max((e["token"] for e in world.past if e["client"] == name and e["event"] == "granted"), default=0)
            world.told(granted_to_another(name, held))
            world.go_on(name)
            world.told(lambda event, held=held: event["token"] == held and event["event"] in {"fenced", "lost"})
        enough.touch()
        world.finish()
        grants, checks, writes = world.history()
    assert violations(grants, checks, writes) == []
    assert len(grants) >= 12 and len(writes) >= 12
    assert int((tmp_path / "counter").read_text()) == len(writes)


def test_of_redundant_copies_one_commits_also_when_the_first_is_killed(tmp_path: Path) -> None:
    """S2.20: a standby takes over from a holder that was killed before its commit; there is one result a turn."""
    with World(tmp_path) as world:
        first = world.client("first", rounds=1, stops=[0], writes=1)
        world.wait(lambda event: event["event"] == "stops")
        world.stopped("first")
        world.client("standby", rounds=1, writes=1)
        first.kill()
        taken = world.wait(lambda event: event["client"] == "standby" and event["event"] == "granted")
        assert first.wait() == -9
        del world.clients["first"]
        world.finish()
        grants, checks, writes = world.history()
    assert violations(grants, checks, writes) == []
    assert [(write.client, write.token) for write in writes] == [("standby", taken["token"])]


def test_a_service_that_is_killed_gives_no_lock_twice(tmp_path: Path) -> None:
    """S2.22: kill -9 in the middle of holds; leases of before are kept for their ttl, and tokens go on rising."""
    with World(tmp_path) as world:
        for number, name in enumerate("abcd"):
            world.client(name, rounds=4, drops=[1], offset=100.0 * number, rate=1 + 0.02 * (number - 1))
        for _ in range(3):
            before = world.wait(lambda event: event["event"] == "granted")["token"]
            world.kill_service()
            world.serve()
            world.wait(lambda event, before=before: event["event"] == "granted" and event["token"] > before)
        world.finish()
        grants, checks, writes = world.history()
    assert violations(grants, checks, writes) == []
    assert len(grants) >= 16 and int((tmp_path / "counter").read_text()) == len(writes)


def test_a_clock_that_is_slower_than_the_margin_allows_is_found_out_and_still_fenced(tmp_path: Path) -> None:
    """S2.22: the checker can fail; and fencing holds where leases do not."""
    with World(tmp_path) as world:
        world.client("slow", rounds=1, stops=[0], rate=0.01, writes=1, recheck=True)
        world.wait(lambda event: event["event"] == "stops")
        world.stopped("slow")
        world.client("good", rounds=1)
        world.wait(lambda event: event["event"] == "finished")
        world.kill_service()  # so that nobody can tell the slow one
        world.go_on("slow")
        world.wait(lambda event: event["event"] == "fenced")
        world.finish()
        grants, checks, writes = world.history()
    (found,) = violations(grants, checks, writes)
    assert "slow was sure of token 1" in found
    assert [write.client for write in writes] == ["good"] * 3
