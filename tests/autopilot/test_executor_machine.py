"""Approvals, drift, pauses, cancels, holds, failing hosts and crashes in any order, against a model of them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from move_doubles import OPERATOR, Bench, an_action
from move_world import HOSTS, SHARDS
from test_executor_control import Desk
from test_executor_side_by_side import wide

from sidestep.autopilot.executor import UNFINISHED
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ACTION, ActionState, PlanState, final
from sidestep.fleet.placement import Placement

#: how many stories of forty rules each are tried; more on demand
STORIES = int(os.environ.get("SIDESTEP_MACHINE_STORIES", "12"))


class Approvals(RuleBasedStateMachine):
    """One fleet, one daemon after the other; every rule goes on from wherever the last one left it."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.bench = wide(self.loop.run_until_complete(Bench(Path(self.folder.name)).ready()), step_deadline=30.0)
        self.approved: dict[str, frozenset[tuple[str, str, str]]] = {}
        self.desk = self.loop.run_until_complete(self.a_desk())
        self.before = self.bench.journal.placement()

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
          chained=st.booleans(), approve=st.booleans())  # fmt: skip
    def propose(self, moves: list[tuple[str, str]], chained: bool, approve: bool) -> None:
        owners, actions = self.bench.journal.placement().owners, []
        for shard, to in dict(moves).items():
            owner, at = owners[Label(shard)], len(actions) + 1
            if owner.host != to:
                after = (at - 1,) if chained and at > 1 else ()
                actions.append(an_action(at, shard, owner.host, to, token=owner.token, after=after))
        if not actions:
            return
        plan = self.bench.plan(*actions, author=f"author {self.bench.journal.next_number()}")
        digest = self.bench.journal.add(plan).digest
        if approve:
            self.bench.journal.set_state(digest, PlanState.APPROVED, actor=OPERATOR)
            self.approved[digest] = frozenset((str(a.shard), str(a.source), str(a.destination)) for a in actions)
            self.loop.call_soon(self.desk.start, digest)

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
        allowed = {move for moves in self.approved.values() for move in moves}
        for shard, owner in now.owners.items():
            if owner != before.owners[shard]:
                assert owner.token > before.owners[shard].token
                assert any((shard, to) == (m[0], m[2]) for m in allowed for to in [owner.host])
        self.before: Placement = now

    @invariant()
    def only_approved_plans_have_begun(self) -> None:
        if not hasattr(self, "bench"):
            return
        for plan, status in self.bench.journal.plans(500):
            if any(a.state not in {ActionState.PENDING, ActionState.CANCELLED} for a in status.actions):
                assert status.digest in self.approved and plan.digest() == status.digest

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


TestApprovals = Approvals.TestCase
TestApprovals.settings = settings(max_examples=STORIES, stateful_step_count=40, deadline=None)
