"""What moves that failed leave behind, and how it is put right when the hosts answer again."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from move_doubles import Bench, FakePacing
from move_world import HOSTS, FakeTransport

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_reconcile import Reconciler
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.executor import Executor
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import ShardObservation
from sidestep.fleet.errors import HostError, HostUnreachable
from sidestep.fleet.machines import ActionState, HostState, StepName, StepState


class States:
    """The part of the observed world that reconciling looks at."""

    def states(self) -> dict[str, HostState]:
        return dict.fromkeys(HOSTS, HostState.READY)

    def astray(self, placement: object) -> dict[str, frozenset[str]]:
        return {}


class Scene:
    """One daemon's parts over a bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.said = io.StringIO()
        self.again()

    def again(self) -> None:
        """The daemon as it is after a start."""
        bench, log = self.bench, Log(self.bench.journal, stream=self.said)
        self.executor: Executor = bench.executor()
        self.settlement = Settlement(
            bench.fleet,
            bench.journal,
            {"process": bench.backend},  # type: ignore[dict-item]
            bench._transport,  # type: ignore[arg-type]
            log,
            busy=lambda: self.executor.busy,
        )
        self.reconciler = Reconciler(
            bench.fleet,
            States(),  # type: ignore[arg-type]
            bench.journal,
            self.settlement,
            bench.router,
            busy=lambda: self.executor.busy,
            served=self.executor.served,
            clock=Clock(),
            log=log,
        )

    def lose(self, host: str, after: str) -> None:
        """The host dies, with everything in its memory, once a step is done."""

        def watch() -> None:
            if self.bench.backend.done[-1:] == [after]:
                self.bench.world.watch = lambda: None
                self.bench.world.down.add(host)
                for at in [at for at in self.bench.world.processes if at[0] == host]:
                    del self.bench.world.processes[at]

        self.bench.world.watch = watch

    async def run(self) -> ActionState:
        status = await self.executor.run(self.bench.approved())
        self.settlement.doubt(self.bench.doubtful)
        return status.actions[0].state


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    bench = await Bench(tmp_path).ready()
    scene = Scene(bench)
    await scene.settlement.settle(HOSTS)
    assert scene.settlement.settled == set(HOSTS)
    return scene


@pytest.mark.parametrize("restarted", [False, True])
async def test_the_copy_of_a_move_that_was_given_up_is_ended_and_fenced(scene: Scene, restarted: bool) -> None:
    """S2.27: its token is newer than the owner's, and owns nothing."""
    bench = scene.bench
    bench.world.watch = lambda: bench.world.down.add("h3") if bench.backend.done[-1:] == ["verify"] else None
    assert await scene.run() is ActionState.ABORTED
    bench.world.watch = lambda: None
    bench.world.down.clear()
    assert ("h3", "s1") in bench.world.processes
    if restarted:
        bench.reborn()
        scene.again()
    await scene.reconciler.once()
    assert [host for host, shard in bench.world.processes if shard == "s1"] == ["h1"]
    assert bench.world.fences["h3", "s1"] == 2
    assert "h3: stopped the copy of s1 that a move left, token 2" in scene.said.getvalue()
    assert not scene.settlement.disputed
    assert scene.settlement.settled == set(HOSTS)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_committed_move_that_called_a_person_is_finished_with_the_state_it_carried(
    scene: Scene, restarted: bool
) -> None:
    """S2.27: a start from nothing would lose every write that was acknowledged."""
    bench = scene.bench
    scene.lose("h3", after="verify")
    reach, bench.world.reach = bench.world.reach, lambda host, step: None  # type: ignore[method-assign]
    bench.backend.fail["resume"] = HostUnreachable("h3", "resume", "no route to host")
    assert await scene.run() is ActionState.FAILED_NEEDS_HUMAN
    assert (scene.executor.moving, "s1" in bench.router.held) == ({"s1"}, True)
    bench.backend.fail.clear()
    bench.world.down.clear()
    bench.world.reach = reach  # type: ignore[method-assign]
    if restarted:
        bench.reborn()
        scene.again()
        assert await scene.executor.recover() == ()
    await scene.reconciler.once()
    assert "start s1" not in bench.backend.done
    await scene.reconciler.once()
    bench.world.scratch.clear()
    bench.at_rest("s1", "h3")
    assert scene.executor.moving == frozenset()
    (action,) = bench.journal.plans()[0][1].actions
    assert next(s for s in action.steps if s.name is StepName.RESUME).state is StepState.DONE


async def test_what_cannot_be_brought_up_is_tried_again_said_once_and_never_started_from_nothing(scene: Scene) -> None:
    bench = scene.bench
    bench.backend.fail["resume"] = HostError("h3", "resume", "exit status 1", command="resume-app")
    assert await scene.run() is ActionState.FAILED_NEEDS_HUMAN
    for _ in range(3):
        await scene.reconciler.once()
    assert "start s1" not in bench.backend.done
    assert scene.said.getvalue().count("s1 on h3: h3: resume: exit status 1") == 1
    assert "h3" not in scene.settlement.settled
    assert "s1" in bench.router.held, "its requests go to a shard that does not serve"
    assert ("h1", "s1") in bench.world.processes, "the old owner ended before the new one served"
    assert scene.executor.moving == {"s1"}
    bench.backend.fail.clear()
    await scene.reconciler.once()
    assert (bench.world.serving_host("s1"), scene.executor.moving) == ("h3", frozenset())


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_source_that_stayed_away_serves_and_gets_its_requests_when_it_answers(
    scene: Scene, restarted: bool
) -> None:
    bench = scene.bench
    bench.world.watch = lambda: bench.world.down.add("h1") if bench.backend.done[-1:] == ["freeze"] else None
    assert await scene.run() is ActionState.FAILED_NEEDS_HUMAN
    assert bench.router.held["s1"], "no request waits"
    bench.world.watch = lambda: None
    bench.world.down.clear()
    if restarted:
        bench.reborn()
        scene.again()
    await scene.reconciler.once()
    bench.world.scratch.clear()
    bench.at_rest("s1", "h1")
    assert scene.executor.moving == frozenset()


async def test_a_host_that_is_doubted_while_it_is_looked_at_is_looked_at_again(scene: Scene) -> None:
    looking, go = asyncio.Event(), asyncio.Event()
    discover = scene.bench.backend.discover

    async def slow(transport: FakeTransport) -> tuple[ShardObservation, ...]:
        found = await discover(transport)
        looking.set()
        await go.wait()
        return found

    scene.bench.backend.discover = slow  # type: ignore[method-assign]
    settling = asyncio.create_task(scene.settlement.settle(("h2", "h3")))
    await looking.wait()
    scene.settlement.doubt({"h3"})
    go.set()
    await settling
    assert scene.settlement.settled == {"h1", "h2"}


async def test_requests_of_a_shard_that_moves_are_not_let_go_by_anybody_else(scene: Scene) -> None:
    bench = scene.bench
    held: list[bool] = []

    class During(FakePacing):
        async def sleep(self, seconds: float) -> None:
            scene.settlement.doubt(HOSTS)
            await scene.reconciler.once()
            await scene.reconciler.push_routes()
            held.append("s1" in bench.router.held)
            bench.backend.fail.clear()

    bench.pace = During()
    scene.again()
    bench.backend.fail["resume"] = HostUnreachable("h3", "resume", "no route to host")
    assert await scene.run() is ActionState.DONE
    assert held == [True]
    bench.at_rest("s1", "h3")
