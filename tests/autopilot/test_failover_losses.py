"""When a host is lost, back, in quarantine; the brake; and shards that are suspected (S2.21, lessons 10 and 11)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from move_doubles import OPERATOR
from msgspec.structs import replace
from world_doubles import FakeTime, small_fleet

from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.failover.detector import STALL, Detector, suspects
from sidestep.autopilot.failover.ledger import HostLoss
from sidestep.autopilot.failover.watch import LossWatch
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_schema import JournalError
from sidestep.autopilot.world import Unseen
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FailoverSpec, FleetSpec, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState
from sidestep.fleet.placement import Owner

SPEC = FailoverSpec(grace=15.0, quarantine=600.0, brake_hosts=10, brake_share=0.4)


class Sight:
    """Hosts in the states that the test wants."""

    def __init__(self, time: FakeTime, hosts: tuple[str, ...]) -> None:
        self.time, self.now = time, dict.fromkeys(hosts, HostState.READY)
        self.why: Mapping[str, Label] = {}
        self.heard = dict.fromkeys(hosts, 0.0)
        self.refusing: set[str] = set()

    def states(self) -> dict[str, HostState]:
        up = HostState.READY
        return {h: HostState.QUARANTINED if s is up and h in self.why else s for h, s in self.now.items()}

    def unseen(self) -> dict[str, Unseen]:
        return {
            h: Unseen(reason=Label("no sample"), refuses=h in self.refusing, heard=self.heard[h])
            for h, state in self.now.items()
            if state is HostState.DEAD
        }

    def quarantine(self, why: Mapping[str, Label]) -> None:
        self.why = dict(why)


class OneCapsule:
    """Only s2 has a complete capsule, 40 s older than the loss."""

    def __init__(self, taken: float) -> None:
        self.taken, self.forgotten = taken, list[str]()

    def newest(self, shard: str) -> CapsuleRef | None:
        if shard != "s2":
            return None
        return CapsuleRef(shard=Label(shard), seq=1, token=1, digest="d", bytes=9, taken=self.taken, hosts=())

    def lost(self, shard: str) -> CapsuleRef | None:
        return None

    async def bring(self, ref: object, destination: object, path: str) -> str:
        raise NotImplementedError

    def forget_host(self, host: str) -> None:
        self.forgotten.append(host)

    def hosts_of(self, shard: str) -> tuple[Label, ...]:
        return ()


def fleet_of(**modes: str) -> FleetSpec:
    fleet = small_fleet(policy=Policy(kinds=("migrate", "failover")))
    shards = tuple(replace(s, failover=modes.get(s.name, "wait"), pinned=False) for s in fleet.shards)
    return replace(fleet, shards=shards, failover=SPEC)


class Scene:
    def __init__(self, folder: Path, fleet: FleetSpec) -> None:
        self.time, self.fleet, self.path = FakeTime(), fleet, folder / "journal.db"
        self.clock = self.time.clock()
        self.sight = Sight(self.time, tuple(str(h.name) for h in fleet.hosts))
        self.capsules = OneCapsule(taken=self.clock.wall() - 40.0)
        self.journal = Journal(self.path, clock=self.clock.wall)
        self.journal.adopt({s.name: Owner(s.host, 1) for s in fleet.shards}, OPERATOR)
        self.said = io.StringIO()
        self.watch = self.watching()

    def watching(self) -> LossWatch:
        log = Log(self.journal, stream=self.said)
        return LossWatch(self.fleet, self.sight, self.journal, self.clock, log, self.capsules)

    def pass_(self, seconds: float, step: float = 1.0) -> None:
        while seconds > 0:
            self.time.now += min(step, seconds)
            seconds -= step
            self.watch.look()

    def die(self, *hosts: str) -> None:
        for host in hosts:
            self.sight.now[host], self.sight.heard[host] = HostState.DEAD, self.clock.wall()

    def rise(self, *hosts: str) -> None:
        self.sight.now |= dict.fromkeys(hosts, HostState.READY)

    def arrive(self, shard: str, host: str) -> None:
        """As a commit would have it."""
        token = self.journal.placement().owners[Label(shard)].token + 1
        digest = hashlib.sha256(f"{shard}{host}{token}".encode()).hexdigest()
        with self.journal._transaction() as db:
            db.execute("UPDATE owner SET host = ?, token = ? WHERE shard = ?", (host, token, shard))
            db.execute(
                "INSERT INTO plan (digest, number, author, body, state, updated) VALUES (?, ?, '', '', 'SUCCEEDED', 0)",
                (digest, self.journal.next_number()),
            )
            db.execute(
                "INSERT INTO action (digest, id, shard, state, token) VALUES (?, 1, ?, 'DONE', ?)",
                (digest, shard, token),
            )
            db.execute(
                "INSERT INTO step (digest, action, name, state, begun) VALUES (?, 1, 'commit', 'DONE', ?)",
                (digest, self.clock.wall()),
            )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, fleet_of(s1="capsule", s2="capsule", s3="wait"))
    made.watch.look()
    yield made
    made.journal.close()


def test_a_host_is_lost_only_after_its_grace_and_the_journal_says_what_it_held(scene: Scene) -> None:
    """S2.21: a failure detector with grace."""
    scene.die("h1")
    scene.pass_(14.0)
    assert scene.watch.found.lost == frozenset() and scene.journal.losses() == ()
    scene.pass_(2.0)
    assert scene.watch.found.lost == {"h1"}
    (loss,) = scene.journal.losses()
    assert (loss.host, loss.back, set(loss.shards), loss.reason) == ("h1", 0.0, {"s1", "s2", "s3"}, "no sample")
    assert loss.lost - loss.heard == pytest.approx(16.0)
    assert scene.capsules.forgotten == ["h1"], "copies on the lost host would count"


def test_each_shard_says_why_it_stays(scene: Scene) -> None:
    """S2.21, S5.15: nothing is brought up empty that has state, and what waits says so."""
    scene.die("h1")
    scene.pass_(16.0)
    assert scene.watch.found.stays == {"s1": "NO_CAPSULE", "s3": "WAITS"}
    (notice,) = scene.watch.notices()
    assert "h1 is lost" in notice and "1 shards are to start elsewhere" in notice
    assert "s1 has no complete capsule" in notice and "s3 waits for it" in notice


def test_shards_that_a_failed_move_left_to_a_person_may_be_saved(scene: Scene) -> None:
    """The host that had to answer for them is lost; those that stay go on waiting."""
    told: list[list[str]] = []
    scene.watch.let_go = lambda shards: told.append(sorted(shards))
    scene.die("h1")
    scene.pass_(14.0)
    assert told == []
    scene.pass_(2.0)
    assert told[-1] == ["s2"]


def test_a_shard_that_was_moved_to_a_lost_host_and_never_served_waits_for_a_person(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it came from still has its newest state, which is newer than any capsule."""
    monkeypatch.setattr(scene.journal, "unresumed", lambda shard, token: ("d", 1) if shard == "s2" else None)
    scene.die("h1")
    scene.pass_(16.0)
    assert scene.watch.found.stays["s2"] == "NEEDS_PERSON"


def test_a_host_that_refuses_us_lives_and_is_not_lost(scene: Scene) -> None:
    """A changed key is a matter for a person; its shards serve."""
    scene.die("h1")
    scene.sight.refusing.add("h1")
    scene.pass_(60.0)
    assert scene.watch.found.lost == frozenset()


def test_a_daemon_that_slept_gives_nobody_up_for_it(scene: Scene) -> None:
    scene.die("h1")
    scene.pass_(10.0)
    scene.time.now += STALL + 20.0
    scene.watch.look()
    assert scene.watch.found.lost == frozenset()
    scene.pass_(16.0)
    assert scene.watch.found.lost == {"h1"}


def test_a_host_that_is_back_is_in_quarantine_and_let_out_in_the_end(scene: Scene) -> None:
    """Recently failed hosts are excluded for a while; the reason says until when."""
    scene.die("h1")
    scene.pass_(16.0)
    assert "h1" in scene.sight.why, "it would be READY for a moment when it comes back"
    scene.rise("h1")
    scene.pass_(1.0)
    assert scene.watch.found.lost == frozenset()
    assert "nothing new is placed there before 20" in scene.sight.why["h1"]
    scene.pass_(590.0, 5.0)
    assert "h1" in scene.sight.why
    scene.pass_(15.0, 5.0)
    assert scene.sight.why == {}


def test_flapping_hosts_do_not_escape_quarantine(scene: Scene) -> None:
    scene.die("h1")
    scene.pass_(16.0)
    scene.rise("h1")
    scene.pass_(500.0, 5.0)
    scene.die("h1")  # shorter than the grace
    scene.pass_(5.0)
    scene.rise("h1")
    scene.pass_(500.0, 5.0)
    assert "h1" in scene.sight.why, "its quarantine began before it was away again"
    scene.pass_(110.0, 5.0)
    assert scene.sight.why == {}


def test_losses_quarantine_and_poison_outlive_the_daemon(scene: Scene) -> None:
    scene.die("h1", "h2")
    scene.fleet = replace(scene.fleet, failover=replace(SPEC, brake_share=1.0))
    scene.watch = scene.watching()
    scene.pass_(17.0)
    scene.rise("h2")
    scene.pass_(1.0)
    scene.watch = scene.watching()
    assert scene.watch.found.lost == {"h1"}
    scene.watch.look()
    assert set(scene.sight.why) == {"h1", "h2"}
    assert scene.watch.forbids("h1", "s2") == ""
    assert scene.watch.forbids("h2", "s2") == "it is not lost any more"


def test_a_lost_host_that_answers_again_forbids_at_once(scene: Scene) -> None:
    """Between two ticks, too."""
    scene.die("h1")
    scene.pass_(16.0)
    assert scene.watch.forbids("h1", "s2") == ""
    scene.rise("h1")
    assert scene.watch.forbids("h1", "s2") == "it is QUARANTINED again"


def test_the_brake_holds_while_too_many_are_gone_and_every_screen_says_so(scene: Scene) -> None:
    """Lesson 10: hosts that are DEAD count before they are given up."""
    scene.die("h1")
    scene.pass_(12.0)
    scene.die("h2")
    scene.pass_(5.0)
    assert scene.watch.found.lost == {"h1"}
    assert "2 of 3 hosts are DEAD" in scene.watch.forbids("h1", "s2")
    assert any(line.startswith("failover brake: 2 of 3") for line in scene.watch.notices())
    assert "failover brake: 2 of 3" in scene.said.getvalue()
    scene.rise("h2")
    scene.pass_(1.0)
    assert scene.watch.forbids("h1", "s2") == ""
    assert "failover brake: over" in scene.said.getvalue()


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 20), st.floats(0.05, 1.0))
def test_the_brake_is_the_fleets_numbers(hosts: int, gone: int, most: int, share: float) -> None:
    """Lesson 10: more than the number, or more than the share."""
    gone = min(gone, hosts)
    detector = Detector(FailoverSpec(brake_hosts=most, brake_share=share), hosts)
    detector.look([f"h{n}" for n in range(gone)], (), (), (), 0.0)
    assert bool(detector.brake()) == (gone > most or gone > share * hosts)


def test_a_shard_that_walks_over_two_hosts_is_poisoned_and_starts_nowhere(scene: Scene) -> None:
    """Lesson 11: its first host, where it had been for long, does not speak against it."""
    scene.fleet = replace(scene.fleet, failover=replace(SPEC, brake_share=1.0))
    scene.watch = scene.watching()
    for host, after, poisoned in (("h1", "h2", set()), ("h2", "h3", set()), ("h3", "", {"s2"})):
        scene.die(host)
        scene.pass_(16.0)
        assert scene.watch.poisoned == poisoned
        if after:
            scene.arrive("s2", after)
            scene.pass_(60.0, 4.0)
    assert scene.watch.found.stays["s2"] == "POISONED"
    assert "s2 is poisoned" in scene.watch.forbids("h3", "s2")
    assert "it was on h2, h3 when these were lost" in scene.journal.poisoned()[0].reason
    assert any("sidestep clear-poison s2" in line for line in scene.watch.notices())
    assert scene.watching().poisoned == {"s2"}, "a restart forgot it"


def test_a_cleared_shard_starts_again_and_old_losses_are_forgotten(scene: Scene) -> None:
    test_a_shard_that_walks_over_two_hosts_is_poisoned_and_starts_nowhere(scene)
    with pytest.raises(UsageError, match="needs a reason"):
        scene.watch.clear("s2", actor="operator", reason=" ")
    with pytest.raises(UsageError, match="s1 is not poisoned"):
        scene.watch.clear("s1", actor="operator", reason="why not")
    scene.watch.clear("s2", actor="operator", reason="fixed in version 7")
    assert scene.watch.poisoned == frozenset()
    audit = b"".join(scene.journal.audit_lines())
    assert b'"act":"clear-poison"' in audit and b"fixed in version 7" in audit
    scene.rise("h1", "h2", "h3")
    scene.pass_(5.0)
    scene.arrive("s2", "h1")
    scene.die("h1")
    scene.pass_(16.0)
    assert scene.watch.poisoned == frozenset(), "losses of before it was cleared count"


def loss(host: str, heard: float, **shards: float) -> HostLoss:
    return HostLoss(
        id=1, host=Label(host), heard=heard, lost=heard + 15.0, back=0.0, quarantined=0.0, reason=Label(""),
        shards={Label(k): v for k, v in shards.items()},
    )  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.floats(0.0, 1e5), st.floats(1.0, 1e5)), max_size=6),
    st.integers(1, 4),
    st.floats(1.0, 1e5),
)
def test_only_several_hosts_each_lost_soon_after_the_arrival_poison(
    losses: list[tuple[str, float, float]], hosts: int, window: float
) -> None:
    """Lesson 11."""
    spec = FailoverSpec(poison_hosts=hosts, poison_window=window)
    past = [loss(host, came + lived, s=came) for host, lived, came in losses]
    found = suspects("z", {Label("s"): 1.0}, 2.0, losses=past, cleared={}, spec=spec)
    killed = {host for host, lived, came in losses if came + lived - came <= window} | {"z"}
    assert bool(found) == (len(killed) >= hosts)


def test_recovery_time_and_what_may_be_lost_are_told(scene: Scene) -> None:
    """S2.21, S5.15: measured RTO, and as RPO all that a host that was only cut off may have acknowledged."""
    scene.die("h1")
    scene.pass_(20.0)
    shard, capsule = scene.fleet.shard("s2"), scene.capsules.newest("s2")
    said = scene.watch.served("h1", shard, capsule, gone=12.0)
    assert said == (
        "serves again 20s after h1 was last heard of (RTO), with a capsule that was 40s old then;"
        " lost may be what was written in the 52s from it until its old owner was surely gone (RPO)"
    )
    assert "it began with nothing" in scene.watch.served("h1", shard, None)
    scene.watch.served("h1", shard, capsule)  # a step of before a daemon that notes it: gone since now
    found = [(one.rto, one.age, one.rpo) for one in scene.watch.recovered]
    assert found == [(20.0, 40.0, 52.0), (20.0, None, None), (20.0, 40.0, 60.0)]


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_is_put_right_changes_no_recovery_time(scene: Scene, jump: float) -> None:
    """S2.21: the time to recovery goes by the clock that never jumps."""
    scene.die("h1")
    scene.pass_(20.0)
    now = scene.clock.wall
    object.__setattr__(scene.clock, "wall", lambda: now() + jump)
    scene.watch.served("h1", scene.fleet.shard("s2"), scene.capsules.newest("s2"), gone=12.0)
    (one,) = scene.watch.recovered
    assert (one.rto, one.age, one.rpo) == (20.0, 40.0, 52.0)


def test_a_restarted_daemon_still_knows_since_when_a_lost_host_is_away(scene: Scene) -> None:
    scene.die("h1")
    scene.pass_(20.0)
    assert scene.watching().unheard("h1") == 20.0


def test_a_journal_that_cannot_be_written_gives_up_no_host(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise JournalError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(scene.journal, "host_lost", full)
        scene.die("h1")
        scene.pass_(20.0)
        assert scene.watch.found.lost == frozenset()
        assert scene.said.getvalue().count("no room") == 1
    scene.pass_(1.0)
    assert scene.watch.found.lost == {"h1"}
