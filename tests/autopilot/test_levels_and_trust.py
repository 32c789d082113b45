"""Who may act: levels that people set, trust that is measured; less at once, more only by a person."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from loop_doubles import POLICY, Scene
from msgspec.structs import replace
from world_doubles import small_fleet

from sidestep.autopilot.accuracy_store import AccuracyStore
from sidestep.autopilot.levels import Levels, Scope
from sidestep.autopilot.levels_governor import LEVELS_FILE, TRUST_FILE, Governor
from sidestep.autopilot.levels_view import autopilot_view
from sidestep.autopilot.trust import LEVELS, Evidence
from sidestep.autopilot.trust.gate import TrustState
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.forecasting.accounting import Ledger
from sidestep.forecasting.accounting.board import board

OPS = Label("ops")
HOSTS = ("h1", "h2", "h3")


@cache
def scored(*, corrupted: bool) -> Ledger:
    """The account of a forecaster of waves; a corrupted one says the opposite, and is as sure of it."""
    rng, series, length = np.random.default_rng(7), len(HOSTS) * 6, 200
    ledger = Ledger(series, 20)
    normal = np.array([-1.959964, -1.281552, 0.0, 1.281552, 1.959964])
    clean = np.sin(np.arange(length + 20)[:, None] / 9.0 + np.arange(series))
    truth = clean + rng.normal(0, 0.1, clean.shape)
    for at in range(length):
        ahead = np.stack([clean[at + h] for h in ledger.horizons], axis=1)
        said = (-ahead if corrupted else ahead)[..., None] + 0.1 * normal
        ledger.settle(truth[at], said, np.repeat(truth[at][:, None], len(ledger.horizons), axis=1))
    return ledger


class Stage(Scene):
    """The loop at level full with the real accuracy store, and forecasts that are scored by the real ledger."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.store = AccuracyStore(folder / "accuracy.db", self.log.told("forecast"), clock=self.clock.wall)
        self.governor = self.loop.governor
        self.governor.attach(boards=self.store, state=folder)
        self.governor.set_level("fleet", "", "full", actor=OPS, reason="go")

    def score(self, *, corrupted: bool) -> None:
        """A board as if the worker had just sent it."""
        found = board(self.clock.wall(), 1.0, HOSTS, (), scored(corrupted=corrupted))
        assert found.scored and self.store.put(found)

    async def plan_again(self) -> None:
        """Contention is predicted again, once hosts have settled."""
        await self.time.advance(POLICY.settle + 1)
        await self.tick(4)

    def again(self) -> Governor:
        """What the next daemon begins with."""
        fresh = Governor(small_fleet(policy=POLICY), self.journal, self.log, self.clock)
        fresh.attach(boards=self.store, state=self.folder)
        return fresh


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    watching = asyncio.create_task(stage.world.run())
    await stage.tick()
    yield stage
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    stage.store.close()
    stage.journal.close()


async def test_a_corrupted_forecaster_is_back_in_advise_within_three_plans_and_repair_only_proposes(
    stage: Stage,
) -> None:
    """Show 5, S4.22: the level follows what forecasts were worth; up goes only what a person takes."""
    stage.score(corrupted=False)
    await stage.governor.judge()
    assert stage.governor.effective == "full"
    stage.oracle.peak = 2.9
    await stage.tick()
    assert len(stage.executor.ran) == 1
    stage.score(corrupted=True)
    for _ in range(3):
        await stage.plan_again()
        await stage.governor.judge()
    assert len(stage.executor.ran) - 1 <= 3
    assert stage.governor.effective == "advise" and stage.governor.level == "full"
    ran = len(stage.executor.ran)
    for _ in range(3):
        await stage.plan_again()
    assert len(stage.executor.ran) == ran and stage.states()[-1] is PlanState.PROPOSED
    said = stage.said.getvalue()
    assert said.count("autopilot trust: full -> advise: ") == 1 and "forecasts are no better" in said
    picture = stage.loop.picture
    assert picture is not None and picture.level == "advise"
    assert any(alert.startswith("autopilot: set to full, trust allows advise: ") for alert in picture.alerts)

    await stage.time.advance(600)
    stage.score(corrupted=False)
    for _ in range(20):
        await stage.governor.judge()
    await stage.plan_again()
    assert stage.governor.effective == "advise" and len(stage.executor.ran) == ran
    view = autopilot_view(stage.governor)
    assert (view.level, view.allowed, view.offer) == ("full", "advise", "full")
    assert view.evidence.skill is not None and view.evidence.skill > 0
    stage.governor.promote("full", actor=OPS, reason="the feed is repaired")
    await stage.plan_again()
    assert stage.governor.effective == "full" and len(stage.executor.ran) > ran
    acts = b"".join(stage.journal.audit_lines()).decode()
    assert acts.count('"act":"demote"') == acts.count('"act":"offer"') == acts.count('"act":"promote"') == 1
    assert "the feed is repaired" in acts


async def test_what_trust_took_away_stays_away_over_a_restart_and_so_does_its_offer(stage: Stage) -> None:
    """Lesson 2: a restart forgets nothing that protects."""
    stage.score(corrupted=True)
    await stage.governor.judge()
    fresh = stage.again()
    assert (fresh.level, fresh.effective) == ("full", "advise")
    assert fresh.gate.state.reasons == stage.governor.gate.state.reasons != ()
    stage.governor.gate.state = replace(stage.governor.gate.state, steady=4)
    for name in (TRUST_FILE, LEVELS_FILE):
        assert stat.S_IMODE((stage.folder / name).stat().st_mode) == 0o600


async def test_few_scored_forecasts_and_no_plans_neither_earn_nor_lose(stage: Stage) -> None:
    for _ in range(10):
        assert await stage.governor.judge() == ""
    assert stage.governor.gate.state.evidence == Evidence()


@pytest.mark.parametrize("text", ["{", '{"allowed": "turbo"}', '{"allowed": 7}'])
async def test_what_cannot_be_read_back_is_advise_until_a_person_says_otherwise(stage: Stage, text: str) -> None:
    (stage.folder / TRUST_FILE).write_text(text)
    assert stage.again().effective == "advise"
    (stage.folder / TRUST_FILE).unlink()
    (stage.folder / LEVELS_FILE).write_text("[]")
    assert stage.again().level == "advise"
    assert "is not what was written" in stage.said.getvalue()


async def test_more_than_is_offered_and_a_promotion_without_a_reason_are_refused(stage: Stage) -> None:
    governor = stage.governor
    governor.gate.state = TrustState(allowed="advise", proposed="semi", steady=9)
    with pytest.raises(UsageError, match="needs a reason"):
        governor.promote("semi", actor=OPS, reason=" ")
    with pytest.raises(SidestepError, match="full is not offered: trust allows advise now and offers semi"):
        governor.promote("full", actor=OPS, reason="now")
    governor.promote("semi", actor=OPS, reason="now")
    assert governor.effective == "semi" and stage.again().effective == "semi"


async def test_a_level_that_was_set_lasts_over_a_restart_until_the_fleet_file_says_something_else(
    stage: Stage,
) -> None:
    """Lesson 2, and who edits the file means it."""
    stage.governor.set_level("app", "a", "semi", actor=OPS, reason="young")
    assert stage.again().level == "full"
    assert [(row.scope, row.level, row.actor) for row in stage.again().levels.rows()] == [
        ("fleet", "full", "ops"), ("app", "semi", "ops"),
    ]  # fmt: skip
    other = Governor(replace(small_fleet(policy=POLICY), level="shadow"), stage.journal, stage.log, stage.clock)
    other.attach(state=stage.folder)
    assert other.level == "shadow"
    held = stage.again()
    held.attach(state=stage.folder, held="off")
    assert held.level == "off" and stage.again().level == "full", "the command line is for one run"


async def test_less_is_possible_though_nothing_can_be_written_and_more_is_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SidestepError("the disk is full")

    monkeypatch.setattr(stage.journal, "record_act", full)
    stage.governor.set_level("fleet", "", "off", actor=OPS, reason="stop")
    assert stage.governor.level == "off"
    with pytest.raises(SidestepError, match="the disk is full"):
        stage.governor.set_level("fleet", "", "full", actor=OPS, reason="go")
    assert stage.governor.level == "off"


async def test_the_most_cautious_of_all_that_concern_an_action_holds(stage: Stage) -> None:
    """Glossary: automation level, per fleet, app, shard, host."""
    stage.governor.set_level("fleet", "", "advise", actor=OPS, reason="")
    stage.oracle.peak = 2.9
    await stage.tick()
    action = stage.newest()[0].actions[0]
    stage.governor.set_level("fleet", "", "full", actor=OPS, reason="")
    levels: Levels = stage.governor.levels
    assert levels.of(action) == ("full", "fleet")
    concerned: tuple[tuple[Scope, str, str], ...] = (
        ("app", "a", "semi"), ("shard", str(action.shard), "advise"), ("host", str(action.destination), "off"),
    )  # fmt: skip
    for scope, name, level in concerned:
        stage.governor.set_level(scope, name, level, actor=OPS, reason="")
        assert levels.of(action) == (level, f"{scope} {name}")
    stage.governor.set_level("host", str(action.destination), "", actor=OPS, reason="again")
    assert levels.of(action).level == "advise"
    assert LEVELS.index("shadow") < LEVELS.index("advise")


async def test_levels_of_things_that_are_not_there_are_refused(stage: Stage) -> None:
    with pytest.raises(UsageError, match="no shard nope"):
        stage.governor.set_level("shard", "nope", "off", actor=OPS, reason="")
    with pytest.raises(UsageError, match="no level turbo"):
        stage.governor.set_level("fleet", "", "turbo", actor=OPS, reason="")
