"""Rounds of capsules, killed anywhere: run again they come to the same end, and nothing that counted is lost."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from capsule_hosts import Crash, Place, sha
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.autopilot.capsules.catalogue import Capsule, Copy, retained
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState


def sound(place: Place) -> None:
    """What holds at every moment, also just after a crash."""
    shelf = place.around.shelf
    for capsule in shelf.of("kv"):
        for copy in capsule.copies:
            content = place.disks[copy.host].files.get(copy.path or f"kv/{capsule.seq}")
            if copy.state == "good" and place.disks[copy.host].up:
                assert content is not None and sha(content) == capsule.digest
    for host, disk in place.disks.items():
        for path in disk.files:  # nothing lies anywhere that nobody knows of, but what the owner just wrote
            capsule = shelf.get("kv", int(path.rpartition("/")[2]))
            assert host == place.owner or (capsule is not None and capsule.copy(host) is not None), (host, path)


def settled(place: Place) -> None:
    """What holds after a round that came to its end."""
    sound(place)
    shelf, wanted = place.around.shelf, place.spec.replicas
    newest = shelf.newest("kv")
    assert newest is not None and newest.digest == sha(place.state) and newest.token == place.token
    copies = [h for h in newest.on("good") if h != place.owner and place.disks[h].up]
    assert len(copies) >= min(wanted, sum(d.up for d in place.disks.values()) - 1)
    kept = {c.seq for c in shelf.retained("kv")}
    left = [copy.host for c in shelf.of("kv") if c.seq not in kept for copy in c.copies]
    assert len(kept) <= 3 and not any(place.disks[host].up for host in left)
    for host, disk in place.disks.items():
        if disk.up:
            seqs = {int(path.rpartition("/")[2]) for path in disk.files}
            assert seqs == {c.seq for c in shelf.of("kv") if c.copy(host) is not None}


async def finished(place: Place) -> None:
    """Rounds until one comes to its end, as the daemon's next ones would."""
    for _ in range(4):
        try:
            if not (await place.round()).lacks:
                return
        except SidestepError:
            continue
    raise AssertionError(place.said)


async def scenario(place: Place, crash: int) -> bool:
    """A state that changes, stays, moves, and is started anew; killed before the ``crash``-th step. Whether it was."""
    changes = [
        lambda: None,
        lambda: setattr(place, "state", b"1"),
        lambda: None,
        lambda: (setattr(place, "owner", "h3"), setattr(place, "token", 2), setattr(place, "state", b"2")),
        lambda: (setattr(place, "state", b""), setattr(place, "life", 2)),
        lambda: setattr(place, "state", b"3"),
    ]
    place.left, died = crash, False
    for change in changes:
        change()
        before = place.around.shelf.newest("kv")
        try:
            await place.round()
        except Crash:
            died = True
            place.begin()
            sound(place)
            after = place.around.shelf.newest("kv")
            assert before is None or (after is not None and after.order >= before.order)  # what counted, counts
            await finished(place)
        settled(place)
        if died:
            break
    return died


async def test_a_round_that_is_killed_before_any_step_comes_to_the_same_end_when_run_again(tmp_path: Path) -> None:
    """S2.19: every step of every round, one after the other, is where the daemon is killed."""
    steps = 0
    while True:
        place = Place(tmp_path / f"{steps}.db", replicas=2)
        if not await scenario(place, steps):
            break
        steps += 1
        place.journal.close()
    assert steps > 60


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "same", "move", "lose", "back", "rot"]), st.integers(0, 40)), max_size=8
    )
)
def test_no_order_of_losses_moves_and_crashes_loses_what_counts(steps: list[tuple[str, int]]) -> None:
    """S2.19: as long as fewer hosts are lost than there are copies, the newest state can be had."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_orders(Path(folder), steps))


async def _orders(folder: Path, steps: list[tuple[str, int]]) -> None:
    place = Place(folder / "journal.db", hosts=7, replicas=3)
    await finished(place)
    for number, (what, crash) in enumerate(steps):
        if what == "write":
            place.state = f"state {number}".encode()
        elif what == "move":
            up = [h for h, d in place.disks.items() if d.up and h != place.owner]
            place.owner, place.token = up[crash % len(up)], place.token + 1
        elif what == "lose" and sum(d.up for d in place.disks.values()) > 5:
            victims = [h for h, d in place.disks.items() if d.up and h != place.owner]
            victim = victims[crash % len(victims)]
            place.disks[victim].up = False
            place.around.shelf.lose(victim, place.time)
        elif what == "back":
            for host, disk in place.disks.items():
                if not disk.up:
                    disk.up = True
                    await place.scrubber.host(host)
        elif what == "rot":
            newest = place.around.shelf.newest("kv")
            assert newest is not None
            host = newest.on("good")[crash % len(newest.on("good"))]
            if place.disks[host].up:
                place.disks[host].files[newest.copy(host).path] = b"rotten"  # type: ignore[union-attr]
                await place.scrubber.host(host)
        place.left = crash
        try:
            await place.round()
        except Crash:
            place.begin()
        place.left = -1
        await finished(place)
        settled(place)
    place.journal.close()


async def test_copies_are_made_anew_of_what_is_bad_and_of_what_is_lost(tmp_path: Path) -> None:
    """S2.19: scrub finds it, and repair brings it back to its number; both are told."""
    place = Place(tmp_path / "journal.db", hosts=8, replicas=4)
    capsule = (await place.round()).capsule
    rotten, gone, lost, _ = capsule.on("good")
    place.disks[rotten].files[f"kv/{capsule.seq}"] = b"rotten"
    del place.disks[gone].files[f"kv/{capsule.seq}"]
    assert (await place.scrubber.host(rotten)).bad == 1 and (await place.scrubber.host(gone)).missing == 1
    place.disks[lost].up = False
    assert (await place.scrubber.host(lost)).unread == 1
    assert await place.scrubber.mend("kv") == ""
    assert len([h for h in place.around.shelf.newest("kv").on("good") if place.disks[h].up]) == 4  # type: ignore[union-attr]
    assert any(f"{rotten}: the copy of capsule" in line and "is damaged" in line for line in place.said)
    assert any("made 3 copies" in line for line in place.said), place.said
    sound(place)


async def test_a_copy_that_rotted_unseen_is_no_source(tmp_path: Path) -> None:
    place = Place(tmp_path / "journal.db", hosts=6, replicas=2)
    capsule = (await place.round()).capsule
    bad, good = capsule.on("good")
    place.disks[bad].files[f"kv/{capsule.seq}"] = b"rotten"
    del place.disks[good].files[f"kv/{capsule.seq}"]
    place.around.shelf.mark("kv", capsule.seq, good, "bad", 0.0)
    lacks = await place.scrubber.mend("kv")
    assert "no good copy is left" in lacks or "is not what it was" in " ".join(place.said) + lacks
    assert place.around.shelf.newest("kv") is None or bad not in place.around.shelf.newest("kv").on("good")  # type: ignore[union-attr]


async def test_a_host_without_room_is_passed_over_and_one_that_is_not_ready_is_not_asked(tmp_path: Path) -> None:
    place = Place(tmp_path / "journal.db", hosts=6, replicas=2)
    first = (await place.round()).capsule.on("good")
    place.disks[first[0]].room = 0
    place.states_of = {first[1]: HostState.DRAINING}
    place.state = b"more"
    done = await place.round()
    assert not done.lacks and not set(first) & set(done.capsule.on("good"))
    for disk in place.disks.values():
        disk.room = 0
    place.state = b"even more"
    done = await place.round()
    assert "copies have no host" in done.lacks and "no room" in done.lacks and not done.capsule.complete
    assert place.around.shelf.newest("kv").digest == sha(b"more")  # type: ignore[union-attr]


async def test_a_capsule_counts_with_a_quorum(tmp_path: Path) -> None:
    """S2.19: two of three copies are enough to count, and the third is told to be missing."""
    place = Place(tmp_path / "journal.db", hosts=3, replicas=3)
    done = await place.round()
    assert done.capsule.complete and "1 of 3 copies have no host" in done.lacks
    place = Place(tmp_path / "second.db", hosts=2, replicas=3)
    done = await place.round()
    assert not done.capsule.complete and place.around.shelf.newest("kv") is None


async def test_an_older_owner_never_takes_the_place_of_a_newer_one(tmp_path: Path) -> None:
    """S2.27: a host that comes back with an old token gives no capsule that counts."""
    place = Place(tmp_path / "journal.db")
    place.token, place.state = 5, b"new"
    await place.round()
    place.token, place.state = 4, b"old"
    with pytest.raises(SidestepError, match="a capsule of token 5 is known already"):
        await place.round()
    assert place.around.shelf.newest("kv").digest == sha(b"new")  # type: ignore[union-attr]


async def test_a_state_that_stays_is_not_carried_again_but_is_younger(tmp_path: Path) -> None:
    place = Place(tmp_path / "journal.db")
    first = (await place.round()).capsule
    carried = place.around.carried
    second = await place.round()
    assert not second.changed and place.around.carried == carried
    assert second.capsule.seq == first.seq and second.capsule.taken == first.taken + 1
    assert (await place.round()).capsule.on("good") == first.on("good")


async def test_a_replica_host_that_becomes_the_owner_is_replaced(tmp_path: Path) -> None:
    place = Place(tmp_path / "journal.db", replicas=2)
    capsule = (await place.round()).capsule
    place.owner, place.token = str(capsule.on("good")[0]), 2
    done = await place.round()
    assert not done.changed and len(set(done.capsule.on("good")) - {place.owner}) == 2
    settled(place)


def test_on_lost_hosts_the_newest_is_waited_for_and_on_bad_ones_it_is_not(tmp_path: Path) -> None:
    """An older state is used only where the newer one is known to be gone for good."""
    place = Place(tmp_path / "journal.db")
    shelf = place.around.shelf

    def capsule(seq: int, state: str) -> Capsule:
        copy = Copy(host=Label("h1"), path="p", state=state, checked=0.0)  # type: ignore[arg-type]
        return Capsule(
            shard=Label("kv"), seq=seq, token=1, digest="d", bytes=1, taken=1.0, complete=True, copies=(copy,)
        )

    shelf.put(capsule(1, "good"), capsule(2, "lost"))
    assert shelf.newest("kv") is None
    shelf.put(capsule(2, "bad"))
    assert shelf.newest("kv").seq == 1  # type: ignore[union-attr]


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from("ab")), max_size=8))
def test_what_is_kept_is_the_newest_two_and_the_predecessors_last(rows: list[tuple[int, bool, str]]) -> None:
    """A process that was started anew, with nothing, does not drive out what its predecessor had."""
    capsules = [
        Capsule(
            shard=Label("kv"), seq=n, token=token, digest="d", bytes=1, taken=0.0, complete=complete, life=Label(life)
        )
        for n, (token, complete, life) in enumerate(rows)
    ]
    kept = retained(capsules)
    complete = sorted((c for c in capsules if c.complete), key=lambda c: c.order, reverse=True)
    assert kept == retained(reversed(capsules)) and set(complete[:2]) <= set(kept)
    assert sum(c.complete for c in kept) <= 3 and sum(not c.complete for c in kept) <= 1
    others = [c for c in complete if c.life != complete[0].life]
    assert not others or others[0] in kept
