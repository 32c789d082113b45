"""Approvals, drift, pauses, cancels, holds, failing hosts and crashes in any order, against a model of them.

SIDESTEP_MACHINE_STEPS=10000 python -m pytest -s tests/autopilot/test_executor_machine.py
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from move_doubles import OPERATOR, Bench, an_action
from move_world import HOSTS, SHARDS
from test_executor_control import Desk
from test_executor_side_by_side import wide

from sidestep.autopilot.executor import UNFINISHED
from sidestep.autopilot.journal_schema import JournalError
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ACTION, ActionState, PlanState, StepName, StepState, final
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.plans import ActionStatus, PlanStatus

#: how many rules are to be applied at least; more on demand. A story has so many of them at most
STEPS = int(os.environ.get("SIDESTEP_MACHINE_STEPS", "350"))
STORY = 40
#: what each shard weighs, on hosts that are alike: how full the fullest is says how good a placement is
WEIGHTS = {"s1": 3, "s2": 2, "s3": 1}


def fullest(at: dict[str, str]) -> int:
    """The weight on the fullest host, of shards that are there."""
    return max(sum(WEIGHTS[shard] for shard, host in at.items() if host == one) for one in HOSTS)


def never_worse(at: dict[str, str], moves: list[tuple[str, str]], chained: bool) -> bool:
    """Whether wherever one stops, what was done is no worse than the beginning: what planners see to."""
    if chained:
        stops = [moves[:count] for count in range(len(moves) + 1)]
    else:
        stops = [list(some) for count in range(len(moves) + 1) for some in combinations(moves, count)]
    return all(fullest({**at, **dict(done)}) <= fullest(at) for done in stops)


class Approvals(RuleBasedStateMachine):
    """One fleet, one daemon after the other; every rule goes on from wherever the last one left it."""

    #: rules that were applied in all stories
    steps = 0

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.bench = wide(self.loop.run_until_complete(Bench(Path(self.folder.name)).ready()), step_deadline=30.0)
        #: by digest, the bytes of what was approved, and by digest where shards were, of plans that make nothing worse
        self.approved: dict[str, bytes] = {}
        self.careful: dict[str, dict[str, str]] = {}
        self.desk = self.loop.run_until_complete(self.a_desk())
        self.before = self.first = self.bench.journal.placement()
        Approvals.steps -= 1  # invariants are looked at after this as well

    async def a_desk(self) -> Desk:
        return Desk(self.bench)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.bench.world.down.clear()
        self.crash()
        self.loop.run_until_complete(self.finish())
        assert self.bench.journal.plans_in(*UNFINISHED) == ()
        for shard in SHARDS:
            self.bench.at_rest(shard, self.bench.journal.placement().owners[Label(shard)].host)
        self.bench.journal.verify_chain()
        self.bench.journal.close()
        self.loop.close()
        self.folder.cleanup()

    async def finish(self) -> None:
        """Release what is held, cancel what is paused, and let the rest run to its end."""
        self.desk.hold.end()
        await asyncio.sleep(0)
        for _, status in self.bench.journal.plans_in(PlanState.PAUSED):
            self.desk.control.cancel(status.digest, actor=OPERATOR)
        self.desk.executor.wake()
        await asyncio.gather(*self.desk.tasks, return_exceptions=True)

    @rule(moves=st.lists(st.tuples(st.sampled_from(SHARDS), st.sampled_from(HOSTS)), min_size=1, max_size=3),
          chained=st.booleans(), approve=st.booleans(), altered=st.booleans())  # fmt: skip
    def propose(self, moves: list[tuple[str, str]], chained: bool, approve: bool, altered: bool) -> None:
        """A plan; what somebody else writes over it before it begins is not run."""
        journal = self.bench.journal
        owners, actions = journal.placement().owners, []
        moves = [(shard, to) for shard, to in dict(moves).items() if owners[Label(shard)].host != to]
        for at, (shard, to) in enumerate(moves, 1):
            owner = owners[Label(shard)]
            after = (at - 1,) if chained and at > 1 else ()
            actions.append(an_action(at, shard, owner.host, to, token=owner.token, after=after))
        if not actions:
            return
        plan = self.bench.plan(*actions, author=f"author {journal.next_number()}")
        digest, where = journal.add(plan).digest, {str(shard): str(owner.host) for shard, owner in owners.items()}
        if never_worse(where, moves, chained):
            self.careful[digest] = where
        if approve:
            journal.set_state(digest, PlanState.APPROVED, actor=OPERATOR)
            self.approved[digest] = self.bytes_of(digest)
            if altered:
                self.alter(digest, moves[0][1])
            self.loop.call_soon(self.desk.start, digest)

    def bytes_of(self, digest: str) -> bytes:
        ((body,),) = self.bench.journal._db.execute("SELECT body FROM plan WHERE digest = ?", (digest,))
        return bytes(body)

    def alter(self, digest: str, host: str) -> None:
        """Another program sends the shard elsewhere; what runs is not that."""
        journal, other = self.bench.journal, next(h for h in HOSTS if h != host).encode()
        new = self.approved[digest].replace(f'"destination":"{host}"'.encode(), b'"destination":"' + other + b'"')
        assert new != self.approved[digest]
        write = "UPDATE plan SET body = ? WHERE digest = ?"
        journal._db.execute(write, (new, digest))
        with pytest.raises(JournalError, match="does not read back as itself"):
            self.loop.run_until_complete(Desk(self.bench).executor.run(digest))
        journal._db.execute(write, (self.approved[digest], digest))

    @rule(turns=st.integers(1, 120))
    def go_on(self, turns: int) -> None:
        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    @rule(what=st.sampled_from(("pause", "resume", "cancel")), which=st.integers(0, 5))
    def steer(self, what: str, which: int) -> None:
        plans = self.bench.journal.plans_in(*UNFINISHED, PlanState.APPROVED)
        if plans:
            digest = plans[which % len(plans)][1].digest

            async def act() -> None:
                try:
                    getattr(self.desk.control, what)(digest, actor=OPERATOR)
                except SidestepError as error:
                    assert "cannot be" in str(error)

            self.loop.run_until_complete(act())

    @rule(held=st.booleans())
    def hold_or_release(self, held: bool) -> None:
        if held:
            self.desk.control.hold_all(actor="ann", reason="network work")
            # what is under way may end the step that it is in; nothing begins after that
            self.begun = self.open_actions()
        else:
            self.desk.control.release(actor="ann")

    @rule(host=st.sampled_from(HOSTS), state=st.sampled_from(("READY", "READY", "CORDONED")))
    def drift(self, host: str, state: str) -> None:
        self.bench.states[host] = state

    @precondition(lambda self: len(self.bench.world.down) == 0)
    @rule(host=st.sampled_from(HOSTS))
    def fail(self, host: str) -> None:
        self.bench.world.down.add(host)

    @rule()
    def heal(self) -> None:
        self.bench.world.down.clear()

    @rule()
    def crash(self) -> None:
        """kill -9, then a new daemon on the same file."""

        async def die() -> None:
            for task in self.desk.tasks:
                task.cancel()
            await asyncio.gather(*self.desk.tasks, return_exceptions=True)

        self.go_on(1)
        self.loop.run_until_complete(die())
        journal = self.bench.journal
        known = (journal.placement(), journal.plans(500), journal.endpoints())
        self.bench.reborn()
        journal = self.bench.journal
        assert (journal.placement(), journal.plans(500), journal.endpoints()) == known
        self.desk = self.loop.run_until_complete(self.a_desk())
        down, self.bench.world.down = set(self.bench.world.down), set()  # what stays away is shown elsewhere
        self.loop.run_until_complete(self.desk.executor.recover())
        self.bench.world.down = down
        for _, status in journal.plans_in(PlanState.APPROVED):
            self.loop.call_soon(self.desk.start, status.digest)

    @invariant()
    def no_shard_has_two_owners(self) -> None:
        if hasattr(self, "bench"):
            self.bench.world.check()

    @invariant()
    def what_moved_was_approved_and_generations_rise(self) -> None:
        if not hasattr(self, "bench"):
            return
        now, before = self.bench.journal.placement(), self.before
        assert now.generation >= before.generation
        assert (now.generation > before.generation) == (now.owners != before.owners)
        for shard, owner in now.owners.items():
            if owner != before.owners[shard]:
                assert owner.token > before.owners[shard].token
        self.before: Placement = now

    @invariant()
    def the_journal_replays_to_the_same_placement(self) -> None:
        """From the first placement on, the commits of approved plans alone make the present one."""
        if not hasattr(self, "bench"):
            return
        owners, commits = dict(self.first.owners), 0
        done = [(s, a) for p, s in self.bench.journal.plans(500) for a in s.actions if committed(a)]
        plans = {p.digest(): {a.id: a for a in p.actions} for p, _ in self.bench.journal.plans(500)}
        for status, action in sorted(done, key=lambda one: self.token(*one)):
            move = plans[status.digest][action.id]
            assert status.digest in self.approved
            assert owners[move.shard].host == move.source
            owners[move.shard] = Owner(move.destination, self.token(status, action))
            commits += 1
        now = self.bench.journal.placement()
        assert now.owners == owners
        newest = max(owner.token for owner in owners.values())
        assert now.generation >= max(self.first.generation + commits, newest)

    def token(self, status: PlanStatus, action: ActionStatus) -> int:
        question = "SELECT token FROM action WHERE digest = ? AND id = ?"
        ((token,),) = self.bench.journal._db.execute(question, (status.digest, action.id))
        return int(token)

    @invariant()
    def wherever_a_careful_plan_stops_nothing_is_worse_than_at_its_start(self) -> None:
        if not hasattr(self, "bench"):
            return
        for plan, status in self.bench.journal.plans(500):
            if (where := self.careful.get(status.digest)) is not None:
                moved = {a.id for a in status.actions if committed(a)}
                there = {str(a.shard): str(a.destination) for a in plan.actions if a.id in moved}
                assert fullest({**where, **there}) <= fullest(where)

    @invariant()
    def only_approved_plans_have_begun(self) -> None:
        if not hasattr(self, "bench"):
            return
        for plan, status in self.bench.journal.plans(500):
            if any(a.state not in {ActionState.PENDING, ActionState.CANCELLED} for a in status.actions):
                assert plan.digest() == status.digest
                assert self.bytes_of(status.digest) == self.approved[status.digest]

    @invariant()
    def counted(self) -> None:
        Approvals.steps += 1

    def open_actions(self) -> frozenset[tuple[str, int]]:
        found = self.bench.journal.plans_in(*UNFINISHED)
        return frozenset(
            (s.digest, a.id)
            for _, s in found
            for a in s.actions
            if a.state is not ActionState.PENDING and not final(ACTION, a.state)
        )

    @invariant()
    def nothing_begins_while_everything_is_held(self) -> None:
        if hasattr(self, "begun") and self.desk.hold.why():
            assert self.open_actions() <= self.begun


def committed(action: ActionStatus) -> bool:
    return any(step.name is StepName.COMMIT and step.state is StepState.DONE for step in action.steps)


TestApprovals = Approvals.TestCase
TestApprovals.settings = settings(
    max_examples=math.ceil(STEPS / (STORY - 8)) + 3, stateful_step_count=STORY, deadline=None
)


def test_as_many_steps_were_taken_as_were_asked_for() -> None:
    """Issue 6, show 2. The stories before this one end with the first violation."""
    print(f"\n{Approvals.steps} steps, no violation")
    assert Approvals.steps >= STEPS
