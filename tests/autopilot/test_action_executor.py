"""Actions of plugins, step by step: crashes and errors at every point leave them in force or taken back, and say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from move_doubles import NOW, OPERATOR, Crash, FakeBackend, FaultsAt, an_action
from move_world import World
from msgspec.structs import replace
from queue_doubles import QueueBench

from sidestep.autopilot.loop_approval import Approvals
from sidestep.backends.base import Order
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.actions import ActionSpec, Applied
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import APPLY_STEPS, ActionState, PlanState, StepName
from sidestep.fleet.plans import Action, PlanStatus

NAP = Applied(
    name=Label("nap"), plugin=Label("hook"), params="{}", says=Label("sleeps"), validate=":", execute="nap",
    verify="asleep", revert="wake", seconds=0.2, loss=1.0, cpu=0.1, cpu_before=2.0,
)  # fmt: skip
SPEC = ActionSpec(name=Label("nap"), plugin="hook", shards=(Label("s3"),))


class ActingBackend(FakeBackend):
    """Knows which shards nap; ``keys`` are those of orders that were taken back, as a host keeps them."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asleep: set[tuple[str, str]] = set()
        self.orders: list[Order] = []
        self.keys: set[str] = set()
        #: commands that do nothing, that fail, and how often the host is not reached to undo
        self.idle: set[str] = set()
        self.broken: set[str] = set()
        self.lost = 0

    async def act(self, transport: Transport, shard: ShardSpec, token: int, order: Order) -> int | None:
        self.orders.append(order)
        at = (transport.host, str(shard.name))
        process = self.world.processes.get(at)
        if order.what == "undo":
            if self.lost:
                self.lost -= 1
                raise HostUnreachable(transport.host, "undo", "no route")
            self.keys.add(order.key)
        elif order.key in self.keys:
            raise HostError(transport.host, order.what, "this was taken back")
        elif process is None or process.token != token:
            raise HostError(transport.host, order.what, "the shard is not here")
        if order.command in self.broken:
            raise HostError(transport.host, order.what, "ended with status 3", command=order.command)
        if order.command not in self.idle:
            (self.asleep.add if order.command == "nap" else self.asleep.discard if order.command == "wake" else id)(at)
        assert order.verify == "asleep"
        return 0 if at in self.asleep else 1


class ActingBench(QueueBench):
    """ "s3" is on h2."""

    backend: ActingBackend

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.backend = ActingBackend(self.world)
        self.fleet = replace(self.fleet, actions=(SPEC,))

    @property
    def naps(self) -> bool:
        return ("h2", "s3") in self.backend.asleep

    @property
    def kept(self) -> bool:
        """Whether the journal says that it is in force."""
        return [(s.shard, s.applied) for s in self.journal.standing()] == [("s3", NAP)]

    def act(self, kind: str = "apply", id: int = 1, **more: object) -> Action:
        return an_action(id, "s3", "h2", "h2", **{"kind": kind, "token": self.token("s3"), "applied": NAP, **more})


@pytest.fixture
async def bench(tmp_path: Path) -> ActingBench:
    made = ActingBench(tmp_path)
    await made.ready()
    return made


async def ran(bench: ActingBench, *actions: Action) -> PlanStatus:
    return await bench.executor().run(bench.approved(*actions))


def points() -> list[tuple[str, bool]]:
    rows = [(step, when) for step in APPLY_STEPS for when in ("before", "after", "recorded")]
    return [(f"{s}:{w}", s is StepName.COMMIT and w != "before") for s, w in rows]


async def test_it_is_done_where_the_shard_is_which_keeps_token_and_process(bench: ActingBench) -> None:
    """S3.24: exactly the commands of the plan run, on the shard's own host, and nowhere else."""
    token = bench.token("s3")
    status = await ran(bench, bench.act())
    assert status.state is PlanState.SUCCEEDED and bench.naps and bench.kept, status
    assert bench.token("s3") == token and status.actions[0].freeze_ms == 0
    assert [(o.what, o.command) for o in bench.backend.orders] == [
        ("validate", ":"), ("do", "nap"), ("verify", "asleep")
    ]  # fmt: skip
    assert bench.journal.sized(bench.fleet).standing == bench.journal.standing()
    bench.serves("s3", "h2")


@pytest.mark.parametrize("kind", ["apply", "lift"])
@pytest.mark.parametrize(("point", "past"), points())
async def test_a_crash_leaves_it_done_or_not_and_the_journal_says_which(
    bench: ActingBench, point: str, past: bool, kind: str
) -> None:
    """S2.27: the host and the journal never disagree after the next start."""
    if kind == "lift":
        await ran(bench, bench.act())
    with pytest.raises(Crash):
        await bench.executor(FaultsAt((point, "crash"))).run(bench.approved(bench.act(kind)))
    bench.reborn()
    bench.fleet = replace(bench.fleet, actions=())  # the plugin, and what declares it, are gone meanwhile
    await bench.executor().recover()
    assert (bench.naps, bench.kept) == ((past, past) if kind == "apply" else (not past, not past))
    bench.serves("s3", "h2")
    bench.journal.verify_chain()


@pytest.mark.parametrize("fault", ["error", "stall"])
@pytest.mark.parametrize(("point", "past"), points())
async def test_trouble_is_taken_back_before_the_commit(bench: ActingBench, point: str, past: bool, fault: str) -> None:
    bench.policy = replace(bench.policy, step_deadline=0.05)
    status = await bench.executor(FaultsAt((point, fault))).run(bench.approved(bench.act()))
    assert status.actions[0].state is (ActionState.DONE if past else ActionState.ABORTED), status
    assert (bench.naps, bench.kept) == (past, past)


async def test_what_comes_too_late_does_nothing_any_more(bench: ActingBench) -> None:
    await bench.executor(FaultsAt(("apply:after", "error"))).run(bench.approved(bench.act()))
    (late,) = [order for order in bench.backend.orders if order.what == "do"]
    with pytest.raises(HostError, match="taken back"):
        await bench.backend.act(bench._transport("h2"), bench.fleet.shard("s3"), bench.token("s3"), late)  # type: ignore[arg-type]
    assert not bench.naps


@pytest.mark.parametrize("lost", [1, 1000])
async def test_a_host_that_is_not_reached_is_asked_again(bench: ActingBench, lost: int) -> None:
    """S2.27: ABORTED is said only once it is taken back; else a person is told the step, and what may be in force."""
    bench.backend.lost = lost
    status = await bench.executor(FaultsAt(("apply:after", "error"))).run(bench.approved(bench.act()))
    (action,) = status.actions
    assert (action.state, bench.naps) == (
        (ActionState.ABORTED, False) if lost == 1 else (ActionState.FAILED_NEEDS_HUMAN, True)
    )
    assert lost == 1 or ("(apply)" in action.note and "perhaps with nap in force" in action.note)
    assert not bench.kept


@pytest.mark.parametrize(
    ("set_", "state", "note"),
    [
        ({"idle": "nap"}, ActionState.ABORTED, "sleeps, but it is not in force"),
        ({"broken": "nap"}, ActionState.ABORTED, "ended with status 3; command: nap"),
        ({"idle": "nap", "broken": "wake"}, ActionState.FAILED_NEEDS_HUMAN, "Taking back failed too (apply)"),
        ({"broken": "asleep"}, ActionState.ABORTED, "verify: ended with status 3"),
        ({"broken": "asleep", "idle": "wake"}, ActionState.FAILED_NEEDS_HUMAN, "it was undone, but it is in force"),
    ],
    ids=["execute does nothing", "execute fails", "revert fails", "verify fails", "revert does nothing"],
)  # fmt: skip
async def test_a_plugin_that_fails_leaves_nothing_or_a_person_who_knows_the_step(
    bench: ActingBench, set_: dict[str, str], state: ActionState, note: str
) -> None:
    for name, command in set_.items():
        getattr(bench.backend, name).add(command)
    status = await ran(bench, bench.act())
    assert status.actions[0].state is state and note in status.actions[0].note, status.actions[0]
    assert status.state is PlanState.FAILED and not bench.kept
    bench.serves("s3", "h2")


async def test_what_is_in_force_already_is_not_ours_and_stays(bench: ActingBench) -> None:
    bench.backend.asleep.add(("h2", "s3"))
    status = await ran(bench, bench.act())
    assert status.actions[0].state is ActionState.ABORTED and "nobody here did it" in status.actions[0].note
    assert bench.naps and not bench.kept


async def test_an_undo_takes_it_back_and_that_is_undone_too(bench: ActingBench) -> None:
    """S2.27: by the commands that were approved, though nothing declares them any more."""
    await ran(bench, bench.act())
    for wanted in (False, True):
        plan, _ = bench.journal.plans()[0]
        undo = bench.executor().undo(plan.digest(), author=OPERATOR)
        if not wanted:
            bench.fleet = replace(bench.fleet, actions=())
        bench.journal.set_state(undo.digest, PlanState.APPROVED, actor=OPERATOR)
        assert (await bench.executor().run(undo.digest)).state is PlanState.SUCCEEDED
        assert bench.naps is bench.kept is wanted
        bench.fleet = replace(bench.fleet, actions=(SPEC,))


async def test_it_ends_with_the_process_it_was_done_to(bench: ActingBench) -> None:
    await ran(bench, bench.act())
    assert bench.journal.fell("s3") == ("nap",) and not bench.journal.standing() and bench.journal.fell("s3") == ()
    bench.backend.asleep.clear()
    await ran(bench, bench.act())
    move = an_action(1, "s3", "h2", "h3", token=bench.token("s3"))
    assert (await ran(bench, move)).state is PlanState.SUCCEEDED
    assert not bench.journal.standing(), "another owner has another process"


UNKNOWN: list[tuple[dict[str, Any], str]] = [
    ({"actions": ()}, "no action nap is declared"),
    ({"actions": (replace(SPEC, params='{"a": 1}'),)}, "declared otherwise"),
    ({"actions": (replace(SPEC, plugin="gone"),)}, "declared otherwise"),
    ({"actions": (replace(SPEC, shards=(Label("s1"),)),)}, "not declared for s3"),
]


@pytest.mark.parametrize(("changes", "why"), UNKNOWN, ids=["gone", "params", "plugin", "shards"])
async def test_nobody_approves_or_begins_what_is_not_declared_so(
    bench: ActingBench, changes: dict[str, Any], why: str
) -> None:
    """X5: a clear refusal before anybody approves it, and again when it begins."""
    bench.fleet = replace(bench.fleet, **changes)
    plan = bench.plan(bench.act())
    assert why in bench.executor().refusal(plan)
    status = bench.journal.add(plan)

    class Started:
        def start(self, digest: str) -> None:
            raise AssertionError("it was approved")

    class Wall:
        def wall(self) -> float:
            return NOW

    desk = Approvals(bench.journal, Started(), Wall(), bench.basis)  # type: ignore[arg-type]
    desk.refuses = bench.executor().refusal
    with pytest.raises(SidestepError, match=why):
        desk.approve(status.digest, actor=OPERATOR, reason="")
    assert bench.journal.state_of(status.digest) is PlanState.PROPOSED
    bench.journal.set_state(status.digest, PlanState.APPROVED, actor=OPERATOR)
    ended = await bench.executor().run(status.digest)
    assert ended.actions[0].state is ActionState.CANCELLED and why in ended.actions[0].note
    assert not bench.backend.orders


async def test_a_plugin_that_is_not_installed_here_is_refused_by_name(bench: ActingBench) -> None:
    bench.fleet = replace(bench.fleet, actions=(replace(SPEC, plugin="gone"),))
    plan = bench.plan(bench.act(applied=replace(NAP, plugin=Label("gone"))))
    assert "no plugin for actions is called gone here any more" in bench.executor().refusal(plan)
    assert not bench.executor().refusal(bench.plan(bench.act("lift", applied=replace(NAP, plugin=Label("gone")))))
    assert "does not say what is to be done" in bench.executor().refusal(bench.plan(bench.act(applied=None)))


async def test_a_backend_that_cannot_is_left_to_people(bench: ActingBench) -> None:
    bench.backend = FakeBackend(bench.world)  # type: ignore[assignment]
    assert "by hand" in bench.executor().refusal(bench.plan(bench.act()))
    status = await ran(bench, bench.act())
    assert status.actions[0].state is ActionState.CANCELLED and "by hand" in status.actions[0].note
