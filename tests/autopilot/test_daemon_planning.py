"""Questions to the planner, over the real journal, loop and planner: jobs, proposals, what-if, differences."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_doubles import POLICY, Scene
from msgspec.structs import replace as with_fields
from world_doubles import small_fleet

from sidestep.autopilot import planner
from sidestep.autopilot.daemon_planning import PlanDesk
from sidestep.autopilot.daemon_planning_jobs import MOST_OPEN
from sidestep.autopilot.protocol_plans import (
    AskWhy,
    AskWhyNot,
    CancelPlanning,
    ComparePlans,
    DifferenceView,
    DrainView,
    FindHost,
    GetPlanning,
    GetRightSizes,
    HostView,
    ListPolicies,
    NewPlan,
    Planning,
    PlanRequest,
    SizesView,
    TryDrain,
    WhyNotView,
    WhyView,
)
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet import extensions
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.plans import NoPlan, Plan
from sidestep.fleet.questions import PolicyList
from sidestep.planning import propose
from sidestep.planning.goals import About
from sidestep.planning.model import Move, Outcome

OPS = Label("ops")


class Asked(Scene):
    """The loop's scene, seven seconds old, with the desk beside it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.planner: Any = propose
        self.desk = PlanDesk(
            fleet=small_fleet(policy=POLICY),
            journal=self.journal,
            log=self.log,
            clock=self.clock,
            settling=self.runs.settling,
            planner=self.proposed,
        )

    def proposed(self, *given: Any, **named: Any) -> Plan | NoPlan:
        return self.planner(*given, **named)  # type: ignore[no-any-return]

    async def ask(self, request: PlanRequest) -> Any:
        assert self.loop.picture is not None
        return await self.desk.answer(request, self.loop.picture, OPS)

    async def plan(self, **asked: Any) -> Planning:
        """The answer of one job."""
        begun = await self.ask(NewPlan(**asked))
        assert begun.state in {"queued", "running"} and begun.answer is None
        ended = await self.ask(GetPlanning(begun.job, 10.0))
        assert isinstance(ended, Planning)
        return ended


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Asked]:
    scene = Asked(tmp_path)
    watching = asyncio.create_task(scene.world.run())
    await scene.tick(3)
    yield scene
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await scene.desk.aclose()
    scene.journal.close()


async def test_a_plan_that_is_asked_for_is_a_proposal_of_whoever_asked(scene: Asked) -> None:
    """S1.28."""
    scene.loop.level = "off"
    scene.oracle.peak = 3.5
    await scene.tick()
    ended = await scene.plan()
    assert (ended.state, ended.answer is not None) == ("done", True)
    plan, status = scene.newest()
    assert ended.answer is not None and ended.answer.plan == plan
    assert (plan.author, status.state, ended.answer.state) == ("ops", PlanState.PROPOSED, "PROPOSED")
    assert ended.answer.digest == plan.digest() and ended.moves == len(plan.actions)
    assert [c.host for c in ended.answer.before] == ["h1"] and ended.answer.after == ()


async def test_with_a_what_if_nothing_is_proposed(scene: Asked) -> None:
    """S1.9."""
    ended = await scene.plan(what_if=("load=host:h1:x8",))
    assert ended.answer is not None and ended.answer.plan is not None
    assert ended.answer.state == "" and scene.states() == []
    assert ended.answer.what_if == ("load=host:h1:x8",)
    assert ended.answer.now == () and [c.host for c in ended.answer.before] == ["h1"]
    (row,) = [r for r in ended.answer.hosts if (r.host, r.dimension) == ("h1", "cpu")]
    assert row.peak_now and row.peak_before and row.peak_after
    assert row.peak_before == pytest.approx(8 * row.peak_now, rel=0.01) and row.peak_after < row.peak_before


async def test_no_plan_is_an_answer_with_reasons(scene: Asked) -> None:
    """S1.30: monitor only."""
    ended = await scene.plan()
    assert ended.answer is not None and ended.answer.plan is None
    assert [reason.code for reason in ended.answer.blocks] == ["NO_CONTENTION"]
    assert scene.states() == []


async def test_the_number_is_the_next_one_when_the_plan_is_done(scene: Asked) -> None:
    """The loop may propose while a question is being answered."""
    scene.loop.level = "off"
    scene.oracle.peak = 3.5
    await scene.tick()
    go = threading.Event()

    def slow(*given: Any, **named: Any) -> Plan | NoPlan:
        go.wait(10)
        return propose(*given, **named)

    scene.planner = slow
    begun = await scene.ask(NewPlan())
    scene.loop.level = "advise"
    await scene.tick()
    assert len(scene.states()) == 1
    go.set()
    ended = await scene.ask(GetPlanning(begun.job, 10.0))
    assert ended.state == "done" and ended.answer.plan.number == 2


async def test_the_loop_ticks_while_a_plan_is_made(scene: Asked) -> None:
    """S1.26: observation is never held up."""
    go = threading.Event()

    def slow(*given: Any, **named: Any) -> Plan | NoPlan:
        go.wait(10)
        return propose(*given, **named)

    scene.planner = slow
    begun = await scene.ask(NewPlan())
    before = scene.loop.picture
    await scene.tick(2)
    assert scene.loop.picture is not before
    assert (await scene.ask(GetPlanning(begun.job))).answer is None
    go.set()
    assert (await scene.ask(GetPlanning(begun.job, 10.0))).state == "done"


async def test_a_cancelled_job_ends_with_what_it_has(scene: Asked) -> None:
    told: list[bool] = []

    def patient(*given: Any, expired: Any, **named: Any) -> Plan | NoPlan:
        while not expired():
            pass
        told.append(True)
        return propose(*given, **named)

    scene.desk = PlanDesk(
        fleet=small_fleet(policy=POLICY), journal=scene.journal, log=scene.log, clock=scene.clock, planner=patient
    )
    begun = await scene.ask(NewPlan(what_if=("load=+1%",)))
    await scene.ask(CancelPlanning(begun.job))
    ended = await scene.ask(GetPlanning(begun.job, 10.0))
    assert (ended.state, told) == ("cancelled", [True]) and ended.answer is not None


async def test_progress_is_told_while_it_runs(scene: Asked) -> None:
    go, said = threading.Event(), threading.Event()

    def telling(*given: Any, progress: Any, **named: Any) -> Plan | NoPlan:
        progress(Outcome(moves=(Move(0, 0, 1, 0),) * 4, bound=3, iterations=300))
        said.set()
        go.wait(10)
        return propose(*given, **named)

    scene.desk = PlanDesk(
        fleet=small_fleet(policy=POLICY), journal=scene.journal, log=scene.log, clock=scene.clock, planner=telling
    )
    begun = await scene.ask(NewPlan())
    await asyncio.to_thread(said.wait, 10)
    view = await scene.ask(GetPlanning(begun.job))
    assert (view.state, view.done, view.total, view.moves, view.bound) == ("running", 300, POLICY.iterations, 4, 3)
    go.set()
    await scene.ask(GetPlanning(begun.job, 10.0))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"what_if": ("melt=h1",)}, "melt=h1: not a change"),
        ({"policy": "best"}, "no policy best"),
        ({"time_limit": -1.0}, "time limit of -1"),
        ({"time_limit": float("nan")}, "time limit of nan"),
    ],
)
async def test_what_cannot_be_asked_is_refused_at_once(scene: Asked, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        await scene.ask(NewPlan(**asked))


async def test_a_what_if_about_nobody_is_refused_when_it_is_tried(scene: Asked) -> None:
    begun = await scene.ask(NewPlan(what_if=("drain=h9",)))
    with pytest.raises(UsageError, match="no host is h9"):
        await scene.ask(GetPlanning(begun.job, 10.0))
    with pytest.raises(UnknownReference, match="no planning 77"):
        await scene.ask(GetPlanning(77))


async def test_a_defect_of_the_planner_ends_only_its_own_job(scene: Asked) -> None:
    def broken(*given: Any, **named: Any) -> Plan | NoPlan:
        raise ZeroDivisionError("a bug")

    scene.planner = broken
    ended = await scene.plan()
    assert (ended.state, ended.text) == ("failed", "ZeroDivisionError: a bug")
    scene.planner = propose
    assert (await scene.plan()).state == "done"


async def test_too_many_jobs_at_a_time_are_refused(scene: Asked) -> None:
    go = threading.Event()

    def slow(*given: Any, **named: Any) -> Plan | NoPlan:
        go.wait(10)
        return propose(*given, **named)

    scene.planner = slow
    jobs = [await scene.ask(NewPlan()) for _ in range(MOST_OPEN)]
    with pytest.raises(SidestepError, match="are being made already"):
        await scene.ask(NewPlan())
    go.set()
    for job in jobs:
        assert (await scene.ask(GetPlanning(job.job, 10.0))).state == "done"


async def test_without_the_forecast_another_plan_may_come_out(scene: Asked) -> None:
    """S5.2 of design 6: what the forecast brought is shown."""
    scene.loop.level = "off"
    scene.oracle.peak = 3.5
    await scene.tick()
    ended = await scene.plan(compare=True, what_if=("load=+1%",))
    assert ended.answer is not None and ended.answer.without_forecast is not None
    assert {change.what for change in ended.answer.without_forecast.actions} == {"new"}
    assert "NO_CONTENTION" in ended.answer.without_forecast.world[0]


async def test_two_plans_are_compared_action_by_action(scene: Asked) -> None:
    scene.loop.level = "off"
    scene.oracle.peak = 3.5
    await scene.tick()
    for _ in range(2):
        await scene.plan()
    view = await scene.ask(ComparePlans())
    assert isinstance(view, DifferenceView)
    assert (view.difference.old, view.difference.new) == ("#1", "#2")
    assert [change.what for change in view.difference.actions] == ["kept"]
    with pytest.raises(UnknownReference, match="no plan 9"):
        await scene.ask(ComparePlans("9", "1"))


async def test_without_plans_there_is_nothing_to_compare(scene: Asked) -> None:
    with pytest.raises(SidestepError, match="no plan to compare"):
        await scene.ask(ComparePlans())


async def test_the_fleets_own_policy_is_listed(scene: Asked) -> None:
    """S3.14."""
    listed = await scene.ask(ListPolicies())
    assert isinstance(listed, PolicyList)
    assert (listed.policies[0].name, listed.policies[0].used) == (POLICY.name, True)


async def test_shipped_policies_are_listed_and_can_be_named_several_at_once(scene: Asked) -> None:
    """S3.14, S3.15: composable."""
    listed = await scene.ask(ListPolicies())
    assert isinstance(listed, PolicyList)
    assert {"cost-aware", "cautious"} <= {str(row.name) for row in listed.policies}
    ended = await scene.plan(policy="cost-aware,cautious", what_if=("load=host:h1:x8",))
    assert ended.answer is not None and ended.answer.plan is not None
    policy = ended.answer.plan.policy
    assert policy.goals[0] == "cost" and policy.min_gain > POLICY.min_gain
    assert (await scene.plan(what_if=("policy=cost-aware",))).answer is not None


async def test_a_policy_file_is_laid_over_the_fleets_own(scene: Asked) -> None:
    text = 'does = "less"\n[policy]\nthreshold_cpu = 0.1\n'
    ended = await scene.plan(policy="/somewhere/mine.toml", policy_text=text, what_if=("load=+1%",))
    assert ended.answer is not None and ended.answer.policy == "mine"
    assert {c.dimension for c in ended.answer.before} == {"cpu"}
    with pytest.raises(UsageError, match=r"mine.toml:2: policy.threshold_cpu"):
        await scene.ask(NewPlan(policy="mine.toml", policy_text='does = "x"\npolicy = {threshold_cpu = "high"}\n'))


async def test_questions_about_shards_and_hosts_are_answered_of_the_newest_picture(scene: Asked) -> None:
    """S1.13, S1.28, S5.17."""
    scene.oracle.peak = 3.5
    await scene.tick()
    moving = await scene.ask(AskWhy("s1"))
    assert isinstance(moving, WhyView)
    plan, _ = scene.newest()
    moved = {str(a.shard) for a in plan.actions}
    assert moving.why.moves == ("s1" in moved) and (moving.why.plan == plan.number or not moving.why.moves)
    against = await scene.ask(AskWhyNot("s1", "h1"))
    assert isinstance(against, WhyNotView) and against.why_not.obstacles[0].reason.code == "HERE"
    host = await scene.ask(FindHost(cpu=0.5, memory=1 << 20))
    assert isinstance(host, HostView) and "h1" not in {offer.host for offer in host.best.offers}
    assert host.best.offers
    drained = await scene.ask(TryDrain("h2"))
    assert isinstance(drained, DrainView) and drained.preflight.possible
    sizes = await scene.ask(GetRightSizes())
    assert isinstance(sizes, SizesView)
    assert len(scene.states()) == 1, "questions propose nothing"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (AskWhy("s9"), "no shard s9"),
        (AskWhyNot("s1", "h9"), "no host h9"),
        (TryDrain("h9"), "no host h9"),
        (FindHost(cpu=0.0, memory=0), "no size"),
        (FindHost(cpu=1.0, memory=0, limit=0), "limit 0"),
        (FindHost(cpu=1.0, memory=0, app="nothing"), "no such app"),
        (GetRightSizes(0), "limit 0"),
        (GetPlanning(1, float("nan")), "a wait of nan"),
    ],
)
async def test_what_does_not_exist_is_named(scene: Asked, request_: PlanRequest, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        await scene.ask(request_)


async def test_without_a_forecast_nothing_can_be_asked(scene: Asked) -> None:
    scene.oracle.error = RuntimeError("no worker")
    await scene.tick()
    with pytest.raises(SidestepError, match="no forecast yet"):
        await scene.ask(NewPlan())


class NowhereElse:
    """Whatever there is stays on h1."""

    def __init__(self, about: About) -> None:
        self.about = about

    def forbidden(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(self.about.names), dtype=np.int64), self.about.host_names[None] != "h1"


async def test_the_daemon_plans_under_the_constraints_of_installed_plugins_and_never_without(
    scene: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X3: the daemon's own planner, questions and hosts for new work; the loop keeps on when a constraint is gone."""
    entry = EntryPoint(name="theirs", value=f"{__name__}:NowhereElse", group=extensions.CONSTRAINTS)
    found = extensions.entries
    monkeypatch.setattr(
        extensions, "entries", lambda group: {"theirs": entry} if group == extensions.CONSTRAINTS else found(group)
    )
    scene.planner = planner.propose
    scene.loop.level = "off"
    scene.oracle.peak = 3.5
    await scene.tick()
    free = await scene.plan(what_if=("load=host:h1:x1",))
    assert free.answer is not None and free.answer.plan is not None, "a plan, and no proposal"
    policy = with_fields(POLICY, constraints=(Label("theirs"),))
    scene.desk.fleet = small_fleet(policy=policy)
    bound = await scene.plan()
    assert bound.answer is not None and bound.answer.no_plan is not None
    assert "FORBIDDEN" in {each.reason.code for each in (await scene.ask(AskWhyNot("s1", "h2"))).why_not.obstacles}
    offers = await scene.ask(FindHost(cpu=0.1, memory=1))
    assert {offer.host for offer in offers.best.offers} <= {"h1"}
    scene.desk.fleet = small_fleet(policy=with_fields(POLICY, constraints=(Label("gone"),)))
    refused = await scene.plan()
    assert refused.answer is not None and refused.answer.no_plan is not None
    assert [reason.code for reason in refused.answer.no_plan.reasons] == ["CONSTRAINT_FAILED"]
    with pytest.raises(SidestepError, match="constraint gone cannot be judged"):
        await scene.ask(AskWhyNot("s1", "h2"))
