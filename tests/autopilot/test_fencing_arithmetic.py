"""S2.21, S2.22: in no order of delays, losses, drifts and restarts is a living shard believed to be dead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidestep.autopilot.fencing.host import LeaseHost
from sidestep.autopilot.fencing.keeper import GUARD
from sidestep.autopilot.fencing.lease import DRIFT, HostLease, bound
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.process import leases
from sidestep.backends.process.leases import Ack, Held

#: host seconds that a guard takes at most to look
POLL = 1.0


@dataclass
class Host:
    """A host as ``lease.sh``, ``guard.sh`` and ``launch`` are: a clock, a lease, a guard, and one shard."""

    uptime: float = 1000.0
    boot: int = 1
    until: int = 0
    marked: bool = False
    alive: bool = False

    @property
    def in_force(self) -> bool:
        return int(self.uptime) < self.until

    def pass_time(self, seconds: float) -> None:
        self.uptime += seconds
        if self.uptime >= self.until + POLL and self.marked:
            self.alive = False

    def hears(self, line: bytes) -> bytes:
        seq, boot, until, *words = line.decode().split()
        self.marked |= "+a" in words
        if boot == f"b{self.boot:x}":
            self.until = max(self.until, int(until))
        held = f" a:1:{'running' if self.alive else 'dead'}" if self.marked else ""
        return f"ack {seq} b{self.boot:x} {int(self.uptime)} {self.until} 77{held}".encode()

    def starts(self, boot: str, by: int) -> bool:
        started = boot == f"b{self.boot:x}" and self.in_force and int(self.uptime) < by
        self.alive |= started
        return started

    def reboots(self) -> None:
        self.boot, self.uptime, self.until, self.alive = self.boot + 1, 3.0, 0, False


@dataclass
class Desk:
    seconds: float

    def leasable(self, shard: str) -> bool:
        return True

    def learned(self, host: LeaseHost) -> None: ...

    def complain(self, host: str, text: str) -> None: ...


@dataclass
class Net:
    """Whatever was sent and has not arrived; it may arrive in any order, twice, or never."""

    there: list[tuple[Any, bytes]] = field(default_factory=list)
    back: list[tuple[Any, bytes]] = field(default_factory=list)
    orders: list[tuple[str, int]] = field(default_factory=list)
    #: channels are opened when a rule says so
    connected: bool = False

    async def feed(self, command: str, receiver: Any) -> Any:
        net = self

        class Feed:
            def write(self, data: bytes) -> None:
                if b"guard_program" not in data:
                    net.there.append((receiver, data.strip()))

            async def aclose(self) -> None: ...

        self.receiver = receiver
        return Feed()


class Leasing(RuleBasedStateMachine):
    """The real ``LeaseHost`` against a host in a network that does what it likes."""

    @initialize(seconds=st.floats(3, 60))
    def begin(self, seconds: float) -> None:
        self.runner = asyncio.Runner()
        self.now, self.host, self.net, self.longest, self.proven = 500.0, Host(), Net(), seconds, 0
        self.daemon(seconds)

    def daemon(self, seconds: float) -> None:
        """A daemon begins: as the keeper does, it knows how long the leases of the one before were, and no more."""
        self.longest = max(self.longest, seconds)
        self.ours = LeaseHost(
            "h1",
            "f",
            Desk(seconds),
            transport=lambda _: self.net,  # type: ignore[arg-type, return-value]
            clock=Clock(monotonic=lambda: self.now),
            until=bound(self.now, self.longest),
        )
        self.ours.wanted = frozenset({"a"})
        self.connect()

    def connect(self) -> None:
        self.run(self.ours.close)
        self.runner.run(self.ours._connect())
        receiver = self.net.receiver
        self.run(lambda: receiver.data(leases.HELLO + b"\n"))

    def hear(self, receiver: Any, line: bytes) -> None:
        if receiver._host is self.ours:  # a daemon that is dead hears nothing
            self.run(lambda: receiver.data(line + b"\n"))

    def run(self, work: Callable[[], Any]) -> None:
        async def inside() -> None:
            work()

        self.runner.run(inside())

    @rule(ours=st.floats(0.01, 15), rate=st.floats(1 / (1 + DRIFT), 3))
    def time_passes(self, ours: float, rate: float) -> None:
        """The host's clock goes at most a fifth slower than ours, or faster; differently each time."""
        self.now += ours
        self.host.pass_time(ours * rate)

    @rule()
    def beat(self) -> None:
        self.run(self.ours.beat)

    @precondition(lambda self: self.net.there)
    @rule(which=st.integers(0, 99), again=st.booleans())
    def arrives(self, which: int, again: bool) -> None:
        at = which % len(self.net.there)
        receiver, line = self.net.there[at] if again else self.net.there.pop(at)
        self.net.back.append((receiver, self.host.hears(line)))

    @precondition(lambda self: self.net.back)
    @rule(which=st.integers(0, 99), lost=st.booleans())
    def answers(self, which: int, lost: bool) -> None:
        receiver, line = self.net.back.pop(which % len(self.net.back))
        if not lost:
            self.hear(receiver, line)

    @rule()
    def round_trip(self) -> None:
        """All is well for a moment, or nothing would ever be leased."""
        self.run(self.ours.beat)
        if self.ours._feed is None:
            self.connect()
        for _ in range(3):
            while self.net.there:
                receiver, line = self.net.there.pop(0)
                self.net.back.append((receiver, self.host.hears(line)))
            while self.net.back:
                receiver, line = self.net.back.pop(0)
                self.hear(receiver, line)

    @precondition(lambda self: not self.ours.stopped)
    @rule()
    def start_is_ordered(self) -> None:
        """As ``hold`` lets it: with the lease that was acknowledged last."""
        self.round_trip()
        if "a" in self.ours.known:
            self.net.orders.append((self.ours._renewed.boot, self.ours._renewed.by))

    @precondition(lambda self: self.ours.stopped and self.ours.lease.over(self.now, GUARD))
    @rule()
    def it_is_proven(self) -> None:
        """Whatever was ordered until now must never start any more: somebody else may own the shard."""
        self.proven = len(self.net.orders)

    @precondition(lambda self: self.ours.lease.until > self.now)
    @rule()
    def fence_is_waited_for(self) -> None:
        """The shortest way from a lease to its proof, at the pace that is worst for it."""
        self.run(self.ours.stop)
        rest = self.ours.lease.until + GUARD - self.now
        self.now += rest
        self.host.pass_time(rest / (1 + DRIFT))
        self.proven = len(self.net.orders)

    @precondition(lambda self: self.net.orders)
    @rule(which=st.integers(0, 99))
    def start_arrives(self, which: int) -> None:
        """Perhaps long after it was sent, and then perhaps again."""
        at = which % len(self.net.orders)
        assert not self.host.starts(*self.net.orders[at]) or at >= self.proven

    @rule()
    def reconnects(self) -> None:
        self.connect()

    @rule()
    def is_fenced(self) -> None:
        self.run(self.ours.stop)

    @rule()
    def is_released(self) -> None:
        """Its failover is over; the host may get shards again."""
        self.ours.stopped = False
        self.round_trip()

    @rule()
    def host_reboots(self) -> None:
        self.host.reboots()

    @rule(seconds=st.floats(3, 60))
    def daemon_restarts(self, seconds: float) -> None:
        self.daemon(seconds)

    @invariant()
    def whoever_is_believed_dead_is_dead(self) -> None:
        if hasattr(self, "ours") and self.ours.lease.over(self.now, GUARD):
            assert not self.host.alive, (self.now, self.ours.lease.until, self.host)

    @invariant()
    def the_worst_that_may_still_come_is_waited_for(self) -> None:
        """Every renewal that is under way arrives just in time, and from now on the host is as slow as it may be."""
        if not hasattr(self, "ours"):
            return
        lines = [line.decode().split() for _, line in self.net.there]
        coming = [int(words[2]) for words in lines if words[1] == f"b{self.host.boot:x}"]
        last = max([self.host.until, *coming])
        if self.host.alive or last > self.host.uptime:
            dead = self.now + (last + POLL - self.host.uptime) * (1 + DRIFT)
            assert dead <= self.ours.lease.until + GUARD + 1e-6

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_an_order_that_was_held_up_starts_the_shard_before_the_proof_and_never_after_it() -> None:
    """One path through the machine that chance takes too seldom: the host is leased again when the order arrives."""
    world = Leasing()
    world.begin(seconds=3.0)
    world.start_is_ordered()
    world.start_arrives(which=0)
    assert world.host.alive
    world.fence_is_waited_for()
    assert not world.host.alive
    world.is_released()
    assert world.host.in_force
    world.start_arrives(which=0)
    assert not world.host.alive
    world.teardown()


def test_the_proof_comes_and_is_not_early() -> None:
    """With a link that is cut for good the wait is the lease, the drift and the margin; and a lease really runs."""
    host, now = Host(), 0.0
    lease = HostLease(bound(now, 10))
    host.hears(b"1 - 0 +a")
    lease.heard(leases.parse(host.hears(b"2 - 0")), now)
    boot, until = lease.renewal(10)
    host.hears(f"3 {boot} {until}".encode())
    host.starts(boot, until)
    host.pass_time(9.5)
    assert host.alive
    assert not lease.over(now + 9.5, GUARD)
    host.pass_time(10 * DRIFT + GUARD + 0.5)
    assert lease.over(now + 10 + 10 * DRIFT + GUARD, GUARD)
    assert not host.alive


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(
    numbers=st.tuples(*[st.integers(0, 10**12)] * 4),
    held=st.dictionaries(
        names, st.builds(Held, st.integers(0, 10**15), st.sampled_from(["running", "dead", "none", "damaged"]))
    ),
)
def test_answers_are_read_as_they_were_said(numbers: tuple[int, ...], held: dict[str, Held]) -> None:
    seq, uptime, until, guard = numbers
    words = "".join(f" {name}:{one.token}:{one.how}" for name, one in held.items())
    said = leases.parse(f"ack {seq} 0f-a {uptime} {until} {guard}{words}".encode())
    assert said == Ack(seq=seq, boot="0f-a", uptime=uptime, until=until, guard=guard, held=held)


@given(st.binary(max_size=80))
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    if not data.startswith(b"ack "):
        with pytest.raises(ValueError, match="not an answer"):
            leases.parse(data)
