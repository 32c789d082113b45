"""S2.22: the lock table against a model of it, under any order of requests, losses, failures and restarts."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from sidestep.autopilot.locks import table as tables
from sidestep.autopilot.locks.table import Grant, LockTable
from sidestep.locks.wire import Acquire, Granted, Refused, Released, Renewed

NAMES = st.sampled_from(["a", "a", "a", "b"])
TTLS = st.sampled_from([1.0, 2.0, 5.0])
WAITS = st.sampled_from([0.0, 2.0, 20.0, 20.0])


def ask(name: str, ttl: float = 2.0, wait: float = 0.0) -> Acquire:
    return Acquire(name, b"0" * 16, ttl, wait)


@dataclass
class Wish:
    claim: str
    ttl: float
    deadline: float
    connection: int | None
    until: float = float("inf")


@dataclass
class Model:
    """One lock, said plainly: who holds it until when, and who waits, in order."""

    claim: str = ""
    token: int = 0
    ttl: float = 0.0
    expires: float = 0.0
    waiting: list[Wish] = field(default_factory=list)


class TableMachine(RuleBasedStateMachine):
    """Every rule is done to both, and what is answered must agree; rows are kept as the journal keeps them."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.now, self.highest, self.seats, self.made = 100.0, 0, 0, 0
        self.rows: dict[str, Grant] = {}
        self.row_token = 0
        self.table = LockTable.restored(0, (), self.now)
        self.models = {"a": Model(), "b": Model()}
        #: seats whose answer is still to come, by claim
        self.open: dict[tuple[int, int], str] = {}
        self.told: list[object] = []

    def settle(self, outcomes: list, disk: bool = True) -> None:
        """Take answers, write what is to be written, and check each answer against the model."""
        for seat, answer in outcomes:
            assert isinstance(answer, Refused), "a grant was told before it was durable"
            assert self.open.pop(seat)
        changes = self.table.changes()
        if changes is None:
            return
        if not disk:
            for seat, answer in self.table.unwritten("disk full"):
                assert isinstance(answer, Refused) and answer.code == "storage" and self.open.pop(seat)
            return
        for name in changes.gone:
            self.rows.pop(name, None)
        for grant in changes.grants:
            assert grant.token > self.highest, "a token that was used before, or is older"
            self.rows[grant.name] = grant
        self.highest = max([self.highest, *(grant.token for grant in changes.grants)])
        assert changes.token >= self.row_token
        self.row_token = changes.token
        for seat, answer in self.table.written(self.now):
            assert isinstance(answer, Granted) and self.open.pop(seat)

    def expect(self) -> None:
        """Advance the model to this moment: ends what is over, and grants to the first that is there."""
        for name, model in self.models.items():
            if model.claim and model.expires <= self.now:
                model.claim = ""
            waiting = []
            for wish in model.waiting:
                if not model.claim and wish.connection is not None:
                    model.claim, model.ttl, model.expires = wish.claim, wish.ttl, self.now + wish.ttl
                    model.token = -1
                elif wish.deadline > self.now and wish.until > self.now:
                    waiting.append(wish)
            model.waiting = waiting
            held = next(self.table.held(self.now, name), None)
            assert (held is not None) == bool(model.claim), f"{name}: {held} against {model}"
            if self.table.changes() is None:
                assert (name in self.rows) == bool(model.claim), "a row that nobody holds, or the reverse"
            if held is not None:
                if model.token == -1:
                    model.token = held.token
                assert self.rows[name].claim == model.claim, "somebody else got it: not first come, first served"
                assert held.token == model.token == self.rows[name].token
                assert held.left == pytest.approx(model.expires - self.now)
                assert held.waiting == len(model.waiting)

    @rule(target=claims, name=NAMES, ttl=TTLS, wait=WAITS, connection=st.integers(1, 2))
    def acquire(self, name: str, ttl: float, wait: float, connection: int) -> tuple[str, str, float]:
        self.made += 1
        claim = f"claim {self.made}"
        self.do_acquire(name, claim, ttl, wait, connection)
        return name, claim, ttl

    @rule(claim=claims, wait=WAITS, connection=st.integers(1, 2))
    def ask_again(self, claim: tuple[str, str, float], wait: float, connection: int) -> None:
        """On another connection, as after a blip: the same wish or hold, not a second one."""
        self.do_acquire(*claim, wait, connection)

    def do_acquire(self, name: str, claim: str, ttl: float, wait: float, connection: int) -> None:
        self.seats += 1
        seat = (connection, self.seats)
        model = self.models[name]
        self.pass_time()
        outcomes = self.table.acquire(seat, ask(name, ttl, wait), claim, "holder", self.now, 0.0)
        if model.claim == claim:
            model.expires = self.now + model.ttl
            assert outcomes == [(seat, Granted(model.token, model.ttl))]
        else:
            self.open = {key: value for key, value in self.open.items() if value != claim} | {seat: claim}
            known = next((wish for wish in model.waiting if wish.claim == claim), None)
            if known is not None:
                known.connection, known.deadline, known.until = connection, self.now + wait, float("inf")
            else:
                model.waiting.append(Wish(claim, ttl, self.now + wait, connection))
            self.settle(outcomes)
        self.expect()

    @rule(claim=claims, stale=st.booleans())
    def renew(self, claim: tuple[str, str, float], stale: bool) -> None:
        self.pass_time()
        model = self.models[claim[0]]
        answer = self.table.renew(claim[0], claim[1], model.token - stale, self.now)
        holds = model.claim == claim[1] and not stale
        assert isinstance(answer, Renewed if holds else Refused)
        if holds:
            model.expires = self.now + model.ttl
        self.expect()

    @rule(claim=claims, disk=st.booleans())
    def release(self, claim: tuple[str, str, float], disk: bool) -> None:
        self.pass_time()
        model = self.models[claim[0]]
        held = model.claim == claim[1]
        answer, outcomes = self.table.release(claim[0], claim[1], self.now, 0.0)
        assert answer == Released(held)
        model.waiting = [wish for wish in model.waiting if wish.claim != claim[1]]
        self.open = {seat: known for seat, known in self.open.items() if known != claim[1]}
        if held:
            model.claim = ""
        self.finish(outcomes, disk=disk)

    @rule(name=NAMES)
    def take_away(self, name: str) -> None:
        self.pass_time()
        self.models[name].claim = ""
        self.finish(self.table.break_(name, self.now, 0.0))

    @rule(connection=st.integers(1, 2))
    def leave(self, connection: int) -> None:
        self.pass_time()
        self.table.leave(connection, self.now)
        for model in self.models.values():
            for wish in model.waiting:
                if wish.connection == connection:
                    wish.connection, wish.until = None, min(wish.deadline, self.now + wish.ttl)
        self.open = {seat: claim for seat, claim in self.open.items() if seat[0] != connection}
        self.expect()

    @rule(seconds=st.sampled_from([0.5, 1.0, 1.5, 3.0]))
    def wait(self, seconds: float) -> None:
        """As the service does: wake up whenever the table says so."""
        end = self.now + seconds
        while self.table.next() <= end:
            self.now = max(self.now, self.table.next())
            self.pass_time()
            self.expect()
        self.now = end
        self.pass_time()
        self.expect()

    @rule()
    def crash(self) -> None:
        """kill -9: what is durable is held for its whole ttl from now; wishes are gone with their connections."""
        self.table = LockTable.restored(self.row_token, tuple(self.rows.values()), self.now)
        self.open.clear()
        for name, model in self.models.items():
            row = self.rows.get(name)
            model.waiting = []
            model.claim, model.token, model.ttl = (row.claim, row.token, row.ttl) if row else ("", 0, 0.0)
            model.expires = self.now + model.ttl
        self.expect()

    def pass_time(self) -> None:
        for _ in range(3):  # a grant that fails at once may be followed by another
            self.settle(self.table.tick(self.now, 0.0))

    def finish(self, outcomes: list, *, disk: bool = True) -> None:
        failed = [] if disk else [name for name in self.models if self.table._new]
        if failed:
            # whoever was first gets an error, and the others are looked at again
            for name in sorted(self.table._new):
                first = next(wish for wish in self.models[name].waiting if wish.connection is not None)
                self.models[name].waiting.remove(first)
        self.settle(outcomes, disk=disk)
        self.pass_time()
        self.expect()

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert self.table.waiting == sum(len(model.waiting) for model in self.models.values())
        waiting = {wish.claim for model in self.models.values() for wish in model.waiting if wish.connection}
        assert set(self.open.values()) == waiting, "a wish without an answer to come, or the reverse"
        assert len(self.table._times) <= 2 * len(self.table._due) + 1001


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_more_than_may_wait_is_refused_and_makes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_WAITING", 1)
    table = LockTable()
    for number in range(3):
        outcomes = table.acquire((1, number), ask("x", wait=5.0), f"c{number}", "h", 0.0, 0.0)
    table.written(0.0)
    assert outcomes[0][1].code == "full" and table.waiting == 1


def test_times_of_names_that_are_gone_do_not_pile_up() -> None:
    table = LockTable()
    for number in range(5000):
        name = f"lock {number}"
        table.acquire((1, number), ask(name, ttl=3600.0), "c", "h", 0.0, 0.0)
        table.written(0.0)
        table.release(name, "c", 0.0, 0.0)
        table.written(0.0)
    assert len(table._times) <= 1001 and len(table._due) <= 1001 and not table._queues
