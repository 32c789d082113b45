"""Who may approve, when, and what of a plan: reasons, two people, windows, single actions, signatures."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loop_doubles import Scene
from msgspec.structs import replace
from world_doubles import small_fleet

from sidestep.autopilot.approval_refresh import refreshed
from sidestep.autopilot.approval_rules import check_skip, dependents
from sidestep.autopilot.approval_signed import NAMESPACE, Letter, signed, text_of
from sidestep.autopilot.daemon_planning import PlanDesk
from sidestep.autopilot.protocol import Approve
from sidestep.fleet.errors import IllegalTransition, SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState, PlanState
from sidestep.fleet.plans import Action, Basis, Plan, Reason

ANN, BOB = Label("ann"), Label("bob")


class Office(Scene):
    """A proposal of two moves, and people who approve it."""

    def policy(self, **changed: object) -> None:
        """Go by another policy from now on."""
        parts = self.loop._parts
        fleet = replace(parts.fleet, policy=replace(parts.fleet.policy, **changed))
        self.loop.switch(fleet)
        self.fleet = fleet

    async def proposal(self) -> Plan:
        self.oracle.peak = 2.9
        await self.tick()
        return self.newest()[0]

    def two(self, plan: Plan) -> Plan:
        """The same plan with a second action that waits for the first one."""
        first = plan.actions[0]
        other = next(s for s in ("s1", "s2") if s != first.shard)
        second = replace(first, id=first.id + 1, shard=Label(other), after=(first.id,))
        made = replace(plan, number=plan.number + 1, author=ANN, actions=(first, second))
        self.journal.add(made)
        return made


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path)
    watching = asyncio.create_task(office.world.run())
    await office.tick()
    yield office
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    office.journal.close()


async def test_a_reason_is_asked_for_where_the_policy_says_so(office: Office) -> None:
    """S2.19: the policy in force counts, whatever policy a plan was made with."""
    plan = await office.proposal()
    office.policy(reason_required=True)
    with pytest.raises(UsageError, match="asks for a reason"):
        office.approvals.approve(plan.digest(), actor=ANN, reason=" ")
    assert office.states() == [PlanState.PROPOSED]
    office.approvals.approve(plan.digest(), actor=ANN, reason="release")
    assert office.newest()[1].reason == "release"


async def test_whoever_wrote_a_plan_does_not_approve_it_where_two_people_are_asked_for(office: Office) -> None:
    """Lesson 18: the same person submits and approves."""
    office.policy(two_person=True)
    plan = office.two(await office.proposal())
    for actor in (ANN, Label("Ann"), Label("ann@laptop")):
        with pytest.raises(SidestepError, match="plan 2 is ann's own: the policy asks for two people"):
            office.approvals.approve(plan.digest(), actor=actor, reason="mine")
    office.approvals.approve(plan.digest(), actor=BOB, reason="read it")
    assert office.newest()[1].approved_by == "bob"


async def test_the_policy_is_no_second_person(office: Office) -> None:
    """Lesson 17: auto-approval is not a way around a review."""
    office.policy(two_person=True)
    office.loop.level = "full"
    await office.proposal()
    assert office.executor.ran == [] and office.states() == [PlanState.PROPOSED]
    assert office.said.getvalue().count("asks for a person who reviews it") == 1


async def test_outside_a_window_nothing_is_approved_but_with_a_reason_for_it(office: Office) -> None:
    """Change windows and freezes: S2.19."""
    plan = await office.proposal()
    day = office.clock.wall() // 86400 * 86400
    hour = int((office.clock.wall() - day) // 3600)
    shut = f"* {(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    for policy in ({"windows": (shut,)}, {"freezes": ("1971-01-01..2100-01-01",)}):
        office.policy(**{"windows": (), "freezes": (), **policy})
        with pytest.raises(
            SidestepError, match=r"is not approved: (it is outside the change windows|a freeze is on)"
        ) as e:
            office.approvals.approve(plan.digest(), actor=ANN, reason="now")
        assert "--outside-window" in e.value.hint
    office.loop.level = "full"
    await office.tick(2)
    assert office.executor.ran == [], "and never by itself"
    office.loop.level = "advise"
    office.approvals.approve(plan.digest(), actor=ANN, reason="now", outside="customers wait")
    assert office.newest()[1].reason == "now; outside the change window: customers wait"
    assert b"customers wait" in b"".join(office.journal.audit_lines())


async def test_quiet_hours_keep_the_policy_from_approving_and_people_not(office: Office) -> None:
    office.policy(quiet=("* 00:00-24:00",))
    office.loop.level = "full"
    plan = await office.proposal()
    assert office.executor.ran == []
    assert office.said.getvalue().count("waits for approval: quiet hours") == 1
    office.approvals.approve(plan.digest(), actor=ANN, reason="")
    await office.tick()
    assert office.executor.ran == [plan.digest()]


async def test_single_actions_are_left_out_and_that_is_in_the_journal_with_the_approval(office: Office) -> None:
    """Partial approval: SKIPPED, in the transaction of the approval."""
    plan = office.two(await office.proposal())
    first, second = (action.id for action in plan.actions)
    with pytest.raises(SidestepError, match=rf"action {second} \(.*\) waits for {first}") as caught:
        office.approvals.approve(plan.digest(), actor=BOB, reason="", skip=(first,))
    assert f"--skip {first},{second}" in caught.value.hint
    with pytest.raises(UsageError, match="skips everything"):
        office.approvals.approve(plan.digest(), actor=BOB, reason="", skip=(first, second))
    with pytest.raises(UsageError, match="has no action 99"):
        office.approvals.approve(plan.digest(), actor=BOB, reason="", skip=(99,))
    assert office.newest()[1].state is PlanState.PROPOSED
    office.executor.go.clear()
    office.approvals.approve(plan.digest(), actor=BOB, reason="half", skip=(second,))
    status = office.newest()[1]
    assert [action.state for action in status.actions] == [ActionState.PENDING, ActionState.SKIPPED]
    assert f"without actions {second}" in status.note and "left out by bob" in status.actions[1].note
    acts = b"".join(office.journal.audit_lines())
    assert b'"act":"skip-action"' in acts and f"without actions {second}".encode() in acts
    assert plan.digest() == status.digest, "the plan itself is what was read"


def action(id_: int, shard: str, after: tuple[int, ...]) -> Action:
    return Action(
        id=id_, shard=Label(shard), source=Label("h1"), destination=Label("h2"), token=1, priority=1,
        reason=Reason("X", Label("x")), after=after,
    )  # fmt: skip


@given(st.data())
def test_what_is_kept_never_waits_for_what_is_left_out(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 8))
    actions = tuple(
        action(i, data.draw(st.sampled_from("abc")), tuple(data.draw(st.sets(st.integers(1, i - 1))) if i > 1 else ()))
        for i in range(1, count + 1)
    )
    plan = Plan(
        number=1, fleet=Label("f"), created=0.0, expires=1.0, author=ANN, snapshot=1, forecast="f",
        policy=Policy(), basis=NOWHERE, actions=actions,
    )  # fmt: skip
    skip = data.draw(st.sets(st.integers(1, count), min_size=1))
    broken = {a for a, _ in dependents(plan, tuple(skip))}
    kept = [a for a in actions if a.id not in skip | broken]
    assert not any(set(a.after) & (skip | broken) for a in kept)
    if len(skip | broken) < count:
        check_skip(plan, tuple(skip | broken))


NOWHERE = Basis((), ())


async def test_refresh_is_a_new_proposal_with_what_is_different_and_revives_nothing(office: Office) -> None:
    """STALE with a readable diff and refresh, never revival (lesson 1)."""
    old = await office.proposal()
    office.journal.set_state(old.digest(), PlanState.STALE, actor=ANN, note="the world moved")
    desk = PlanDesk(fleet=small_fleet(policy=old.policy), journal=office.journal, log=office.log, clock=office.clock)
    picture = office.loop.picture
    assert picture is not None
    answer = await refreshed(desk, picture, *office.journal.find(old.digest()), actor=ANN, reason="again")
    assert answer.status.state is PlanState.PROPOSED and answer.digest != old.digest()
    assert answer.difference.count("kept") == len(old.actions)
    assert office.journal.status(old.digest()).state is PlanState.STALE
    with pytest.raises(IllegalTransition):
        office.journal.set_state(old.digest(), PlanState.APPROVED, actor=ANN)
    office.executor.go.clear()
    office.approvals.approve(answer.digest, actor=ANN, reason="")
    await asyncio.sleep(0)
    with pytest.raises(SidestepError, match="is not refreshed"):
        await refreshed(desk, picture, *office.journal.find(answer.digest), actor=ANN, reason="")
    await desk.aclose()


class Keys:
    """Real keys, signatures by the real ssh-keygen, and a fleet that allows one of two people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for who in ("ann", "eve"):
            self.keygen("-t", "ed25519", "-N", "", "-q", "-C", who, "-f", str(folder / who))
        public = (folder / "ann.pub").read_text()
        (folder / "signers").write_text(f'ann@far namespaces="{NAMESPACE}" {public}')
        self.fleet: FleetSpec = replace(small_fleet(), source=str(folder / "fleet.toml"), signers="signers")

    def keygen(self, *arguments: str) -> None:
        subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True)

    def request(self, letter: Letter, *, who: str = "ann", namespace: str = NAMESPACE) -> Approve:
        file = self.folder / "letter"
        file.write_text(text_of(letter))
        Path(f"{file}.sig").unlink(missing_ok=True)
        self.keygen("-Y", "sign", "-q", "-n", namespace, "-f", str(self.folder / who), str(file))
        return Approve(letter.plan, letter=file.read_text(), signature=Path(f"{file}.sig").read_text())


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


async def test_a_signed_approval_counts_as_its_signer_and_says_the_rest_itself(keys: Keys) -> None:
    """Two-person review for remote people: verified by ssh-keygen against allowed signers."""
    letter = Letter(fleet=str(keys.fleet.name), plan="a" * 64, reason="read it", expires=100.0, skip=(2,))
    request, who = await signed(keys.request(letter), BOB, keys.fleet, 50.0)
    assert (who, request.skip, request.reason) == ("ann@far", (2,), "read it (signed; handed in by bob)")


async def test_a_signed_approval_of_somebody_or_something_else_is_refused(keys: Keys) -> None:
    letter = Letter(fleet=str(keys.fleet.name), plan="a" * 64, reason="read it", expires=100.0)
    right = keys.request(letter)
    with pytest.raises(SidestepError, match="expired 10 s ago"):
        await signed(right, BOB, keys.fleet, 110.0)
    with pytest.raises(SidestepError, match="is for the plan aaaaaaaaaaaa, not bbbb"):
        await signed(replace(right, digest="b" * 64), BOB, keys.fleet, 50.0)
    with pytest.raises(SidestepError, match="does not fit what was signed"):
        await signed(replace(right, letter=right.letter.replace("read it", "read on")), BOB, keys.fleet, 50.0)
    with pytest.raises(SidestepError, match="is of nobody"):
        await signed(keys.request(letter, who="eve"), BOB, keys.fleet, 50.0)
    with pytest.raises(SidestepError, match=r"nobody|does not fit"):
        await signed(keys.request(letter, namespace="file"), BOB, keys.fleet, 50.0)
    with pytest.raises(SidestepError, match="is for fleet other"):
        await signed(keys.request(replace(letter, fleet="other")), BOB, keys.fleet, 50.0)
    with pytest.raises(UsageError, match="not a signed approval"):
        await signed(replace(right, letter="{}"), BOB, keys.fleet, 50.0)
    with pytest.raises(SidestepError, match="takes no signed approvals"):
        await signed(right, BOB, replace(keys.fleet, signers=""), 50.0)
