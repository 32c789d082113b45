"""What the daemon answers about the future: forecasts of hosts, shards and apps, demand vectors, events."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_doubles import STEPS, FakeOracle
from test_daemon_requests import OPS, Desk

from sidestep.autopilot.accuracy_store import AccuracyStore
from sidestep.autopilot.daemon_demand import demand_vectors
from sidestep.autopilot.protocol import GetDemand, GetLog
from sidestep.autopilot.protocol_oracle import (
    AddOccasion,
    ForecastView,
    GetForecast,
    GetOracle,
    GetScores,
    ListOccasions,
    OccasionList,
    OracleView,
    RemoveOccasion,
    ScoreList,
)
from sidestep.autopilot.server import UnknownReference
from sidestep.autopilot.trainer_store import Change, Kept
from sidestep.fleet.accuracy import COLUMNS, AccuracyBoard, section
from sidestep.fleet.contention import at_quantile
from sidestep.fleet.demand import parse_demand, round_up
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.labels import Label
from sidestep.fleet.newwork import HitRate, SpeculativeWork
from sidestep.fleet.occasions import Occasion
from sidestep.fleet.resources import SHARD_SERIES
from sidestep.fleet.snapshot import Snapshot
from sidestep.fleet.sums import summed
from sidestep.forecasting.training.messages import Champion
from sidestep.forecasting.training.protocol import Standing


class KnottedOracle(FakeOracle):
    """Says all series of shards at knots, shards apart from each other."""

    async def forecast(self, snapshot: Snapshot):  # type: ignore[no-untyped-def]
        plain = await super().forecast(snapshot)
        knots = (1, 20, 40, STEPS)
        spread = np.linspace(0.2, 2.0, len(LEVELS), dtype=np.float32)
        rows = np.arange(1, 4, dtype=np.float32)[:, None, None, None]
        scale = np.array([0.1, 1e8, 10.0, 5.0], dtype=np.float32)[None, :, None, None]
        values = rows * scale * np.ones((3, 4, len(knots), 1), np.float32) * spread
        values[:, 0, 2:] *= 2
        hosts = np.ones((3, 6, len(knots), 1), np.float32) * spread
        return replace(
            plain, knots=knots, shard_knots=values, host_knots=hosts,
            windows=(10, STEPS), host_peaks=np.ones((3, 6, 2, 1), np.float32) * spread,
            chance=np.full((3, 2), 0.7), proven=np.array([[True, False]] * 3), reactive=np.array([[False, True]] * 3),
        )  # fmt: skip


class BareOracle(FakeOracle):
    """Says nothing at knots, as a model of last resort may."""

    async def forecast(self, snapshot: Snapshot):  # type: ignore[no-untyped-def]
        return replace(await super().forecast(snapshot), knots=(), shard_knots=np.zeros((0, 0, 0, 0), np.float32))


class Calendar:
    """Events in memory."""

    def __init__(self) -> None:
        self.kept: dict[int, Occasion] = {}

    def add(self, occasion: Occasion) -> int:
        self.kept[len(self.kept) + 1] = occasion
        return len(self.kept)

    def rows(self, now: float) -> tuple[tuple[int, Occasion], ...]:
        return tuple(self.kept.items())

    def remove(self, number: int) -> Occasion | None:
        return self.kept.pop(number, None)


class Guessed:
    """One guess of new work, one of two settled ones right."""

    expected = (
        SpeculativeWork(
            name=Label("report"), app=Label("reports"), kind="seasonal", begins=1.0, lasts=1.0, chance=0.5, demand=(),
            quota=1, expires=2.0, reason=Label("seen"),
        ),
    )  # fmt: skip

    def hit_rates(self) -> tuple[HitRate, ...]:
        return (HitRate(kind="seasonal", hits=1, misses=1, open=0),)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    desk.oracle.__class__ = KnottedOracle
    watching = asyncio.create_task(desk.world.run())
    await desk.tick(2)
    yield desk
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    desk.journal.close()


async def view(desk: Desk, name: str, metric: str = "cpu", kind: str = "") -> ForecastView:
    found = await desk.service.oracle(GetForecast(name, metric, kind), OPS)
    assert isinstance(found, ForecastView)
    return found


def columns(found: ForecastView) -> tuple[np.ndarray, np.ndarray]:
    ahead = np.frombuffer(found.ahead, "<f4")
    return ahead, np.frombuffer(found.values, "<f4").reshape(len(ahead), len(found.levels))


async def test_a_hosts_forecast_has_every_step_and_says_how_far_to_trust_it(desk: Desk) -> None:
    """S5.5, S5.6."""
    desk.oracle.peak = 3.0
    await desk.tick(3)
    found = await view(desk, "h1")
    ahead, values = columns(found)
    assert (found.kind, found.unit, found.model, found.confidence) == ("host", "cores", "fake", "ok")
    assert list(ahead) == list(range(1, STEPS + 1)) and values.shape == (STEPS, len(LEVELS))
    assert values[30, LEVELS.index(0.5)] == pytest.approx(3.0, rel=0.05)
    assert found.allocatable > 0 and found.threshold == pytest.approx(0.8)
    (chance,) = found.chances
    assert (chance.host, chance.dimension, chance.proven, chance.reactive) == ("h1", "cpu", True, False)
    assert chance.chance > 0 and math.isfinite(chance.starts_at)
    assert len(np.frombuffer(found.windows, "<f4")) == 2
    memory = await view(desk, "h1", "memory")
    assert [c.proven for c in memory.chances] == [False] and [c.reactive for c in memory.chances] == [True]


async def test_series_that_are_only_at_knots_are_forecast_too(desk: Desk) -> None:
    found = await view(desk, "h2", "psi_cpu")
    ahead, values = columns(found)
    assert found.unit == "percent" and list(ahead) == [1, 20, 40, 60]
    assert values.shape == (4, len(LEVELS)) and found.chances == ()
    assert (await view(desk, "s1", "write_ops")).unit == "ops/s"


async def test_an_apps_forecast_is_the_sum_of_its_shards_with_the_common_factor(desk: Desk) -> None:
    """S1.7: not a sum of quantiles."""
    picture = desk.loop.picture
    assert picture is not None and picture.forecast is not None
    _, values = columns(await view(desk, "a"))
    parts = picture.forecast.shard_knots[:, 0].astype(float)
    assert np.allclose(values, summed(parts, LEVELS, picture.policy.common_factor), rtol=1e-5)
    assert (values[:, -1] < parts.sum(axis=0)[:, -1]).all()
    one = await view(desk, "s2")
    assert np.allclose(columns(one)[1], parts[1], rtol=1e-6)
    assert [c.host for c in one.chances] and math.isnan(one.allocatable)


async def test_without_knots_shards_are_forecast_in_cpu_and_memory_only(desk: Desk) -> None:
    desk.oracle.__class__ = BareOracle
    desk.oracle.fallback = "worker starting"
    await desk.tick()
    assert columns(await view(desk, "s1"))[1].shape == (30, len(LEVELS))
    with pytest.raises(SidestepError, match="fake forecasts cpu and memory only") as caught:
        await view(desk, "s1", "read_ops")
    assert "worker starting" in caught.value.hint


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (GetForecast("h9"), UnknownReference, "no host, shard or app h9"),
        (GetForecast("h1", kind="shard"), UnknownReference, "no shard h1"),
        (GetForecast("h1", kind="rack"), UsageError, "rack is no kind"),
        (GetForecast("h1", metric="read_ops"), UsageError, "read_ops is not forecast of a host"),
        (GetForecast("s1", metric="psi_cpu"), UsageError, "psi_cpu is not forecast of a shard"),
        (GetForecast("\x1b[2J"), UnknownReference, "<1b>"),
    ],
)
async def test_what_cannot_be_forecast_is_said_with_near_names(
    desk: Desk, request_: GetForecast, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        await desk.service.oracle(request_, OPS)
    assert getattr(caught.value, "hint", "")
    if request_.name == "h9":
        assert "did you mean h" in str(caught.value)


async def test_without_a_forecast_the_reason_is_told(desk: Desk) -> None:
    desk.oracle.error = SidestepError("worker gone")
    await desk.tick()
    with pytest.raises(SidestepError, match=r"no forecast yet.*worker gone"):
        await view(desk, "h1")
    answer = await desk.service.oracle(GetOracle(), OPS)
    assert isinstance(answer, OracleView) and "worker gone" in answer.fallback and answer.confidence == "insufficient"


async def test_a_demand_vector_is_the_shards_together_at_the_policys_quantile(desk: Desk) -> None:
    """S3.11, S3.4: the vector's timestamp is the future instant, its io is forecast."""
    picture = desk.loop.picture
    assert picture is not None and picture.forecast is not None
    (text,) = (await desk.service.get_demand(GetDemand("a", 40.0))).vectors
    vector = parse_demand(text)
    parts = picture.forecast.shard_knots[:, :, 2].astype(float)
    together = [summed(parts[:, column], LEVELS, picture.policy.common_factor) for column in range(len(SHARD_SERIES))]
    wanted = [float(at_quantile(each[None].astype(np.float32), picture.policy.quantile)[0]) for each in together]
    found = vector.resources
    assert found.cpu.cores == pytest.approx(wanted[0], rel=1e-3)
    assert found.memory.gb == pytest.approx(wanted[1] / 2**30, abs=1e-3)
    assert (found.io.read_ops, found.io.write_ops) == (pytest.approx(wanted[2], 1e-3), pytest.approx(wanted[3], 1e-3))
    assert vector.quantiles is not None and list(vector.quantiles.read_ops) == sorted(vector.quantiles.read_ops)
    assert vector.timestamp > (parse_demand((await desk.service.get_demand(GetDemand())).vectors[0])).timestamp


async def test_a_profile_has_one_vector_a_horizon_also_for_one_shard(desk: Desk) -> None:
    """S1.7, S3.4."""
    vectors = [parse_demand(v) for v in (await desk.service.get_demand(GetDemand("s3", profile=True))).vectors]
    assert [v.shard for v in vectors] == ["s3"] * 6 and {v.application_id for v in vectors} == {"a"}
    assert len({v.timestamp for v in vectors}) == 6
    assert vectors[-1].resources.cpu.cores > vectors[0].resources.cpu.cores


@pytest.mark.parametrize("quanta", [(0.5, 2.0), (0.3, 0.0), (0.0, 0.25)])
async def test_demands_are_rounded_up_to_whole_quanta(desk: Desk, quanta: tuple[float, float]) -> None:
    """S3.12."""
    cores, gigabytes = quanta
    picture = desk.loop.picture
    assert picture is not None
    (plain,) = demand_vectors(picture, GetDemand("a", 30.0))
    (whole,) = demand_vectors(picture, GetDemand("a", 30.0, quantum_cpu=cores, quantum_memory=gigabytes * 2**30))
    pairs = (
        (plain.resources.cpu.cores, whole.resources.cpu.cores, cores),
        (plain.resources.memory.gb, whole.resources.memory.gb, gigabytes),
    )
    for before, after, quantum in pairs:
        if quantum:
            assert after / quantum == pytest.approx(round(after / quantum))
            assert before - 1e-3 <= after < before + quantum + 1e-3
        else:
            assert after == before
    assert whole.granularity is not None and parse_demand(whole.encode()) == whole


async def test_demand_beyond_the_forecast_or_of_no_app_is_refused(desk: Desk) -> None:
    for at in (-1.0, 61.0, float("nan")):
        with pytest.raises(UsageError, match="forecast"):
            await desk.service.get_demand(GetDemand("a", at))
    with pytest.raises(UnknownReference, match="no app or shard b"):
        await desk.service.get_demand(GetDemand("b", 1.0))
    for quantum in (-1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="quantum"):
            await desk.service.get_demand(GetDemand("a", quantum_cpu=quantum))


async def test_while_too_little_was_seen_vectors_say_so(desk: Desk) -> None:
    """S3.5."""
    desk.oracle.confidence = "insufficient"
    await desk.tick()
    (text,) = (await desk.service.get_demand(GetDemand("a"))).vectors
    assert parse_demand(text).confidence == "insufficient"


@settings(deadline=None)
@given(st.lists(st.floats(0, 64), min_size=1, max_size=8), st.sampled_from([0.25, 0.5, 1.0]))
def test_whole_quanta_conserve_what_is_needed(needs: list[float], quantum: float) -> None:
    """S3.12: what is handed out covers the need and wastes less than one quantum a demand."""
    granted = sum(round_up(need, quantum) for need in needs)
    assert sum(needs) <= granted + 1e-6 and granted < sum(needs) + quantum * len(needs) + 1e-6


def event(desk: Desk, **changes: object) -> Occasion:
    given = {"name": Label("sale"), "kind": "event", "begins": desk.clock.wall() + 3600, "lasts": 600.0, **changes}
    return Occasion(**given)  # type: ignore[arg-type]


async def test_events_are_kept_with_their_actor_in_the_log(desk: Desk) -> None:
    object.__setattr__(desk.service, "calendar", Calendar())
    added = await desk.service.oracle(AddOccasion(event(desk, effect=1.5), "black friday"), OPS)
    assert isinstance(added, OccasionList) and added.occasions[0].id == 1
    listed = await desk.service.oracle(ListOccasions(), OPS)
    assert isinstance(listed, OccasionList) and listed.occasions == added.occasions
    await desk.service.oracle(RemoveOccasion(1, "wrong day"), OPS)
    log = (await desk.service.get_log(GetLog())).events[-2:]
    assert [(row.actor, row.kind) for row in log] == [("ops", "forecast")] * 2
    assert "black friday" in log[0].text and "wrong day" in log[1].text
    with pytest.raises(UnknownReference, match="no event 1"):
        await desk.service.oracle(RemoveOccasion(1), OPS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": Label(" ")}, "needs a name"),
        ({"begins": math.nan}, "no time"),
        ({"begins": 0.0}, "begins"),
        ({"period": 1.0}, "every"),
        ({"lasts": -1.0}, "lasts"),
        ({"lasts": 7200.0, "period": 3600.0}, "lasts"),
        ({"effect": math.inf}, "effect"),
        ({"effect": -1.0}, "effect"),
        ({"hosts": (Label("h9"),)}, "no host h9"),
        ({"apps": (Label("b"),)}, "no app b"),
    ],
)
async def test_an_event_that_cannot_be_is_refused(desk: Desk, changes: dict[str, object], said: str) -> None:
    object.__setattr__(desk.service, "calendar", Calendar())
    with pytest.raises(UsageError, match=said) as caught:
        await desk.service.oracle(AddOccasion(event(desk, **changes)), OPS)
    assert caught.value.hint
    assert desk.service.calendar.kept == {}


async def test_a_daemon_without_stores_says_so(desk: Desk) -> None:
    for request in (ListOccasions(), GetScores()):
        with pytest.raises(SidestepError, match="keeps no"):
            await desk.service.oracle(request, OPS)


async def test_a_forecast_carries_the_account_of_its_own_series(desk: Desk, tmp_path: Path) -> None:
    """S4.22: per shard and horizon, stored and queryable."""
    store = AccuracyStore(tmp_path / "accuracy.db", pytest.fail, clock=desk.clock.wall)
    values = np.zeros((2, 1, 2, len(COLUMNS)))
    values[..., :4] = 50.0, 0.4, 0.81, 0.95
    values[1, :, :, 1] = -0.2
    part = section("host", "value", ("h1", "h2"), ("cpu",), (10.0, 60.0), values, models=("fake",))
    assert store.put(AccuracyBoard(time=desk.clock.wall(), sections=(part,)))
    object.__setattr__(desk.service, "scores", store)
    found = await view(desk, "h1")
    assert (found.scope, found.scored) == ("series", 100)
    assert (found.skill, found.coverage80, found.coverage95) == pytest.approx((0.4, 0.81, 0.95), abs=0.005)
    assert (await view(desk, "h3")).scope == "fleet"
    worst = await desk.service.oracle(GetScores(), OPS)
    assert isinstance(worst, ScoreList) and [(row.name, row.horizon) for row in worst.rows] == [
        ("h2", 60.0),
        ("h1", 60.0),
    ]
    one = await desk.service.oracle(GetScores("h1", limit=1), OPS)
    assert isinstance(one, ScoreList) and (len(one.rows), one.more) == (1, 1)
    assert await desk.service.oracle(GetScores("h3"), OPS) == ScoreList(())
    with pytest.raises(UnknownReference, match="no host, shard or app h9"):
        await desk.service.oracle(GetScores("h9"), OPS)
    for wrong in (GetScores(limit=0), GetScores(kind="rack")):
        with pytest.raises(UsageError):
            await desk.service.oracle(wrong, OPS)
    store.close()


class Training:
    """A trainer that has held one round."""

    pid, drifted, idle = 41, True, ""
    champion = Champion(group="db", metric="cpu", model="ets", score=0.4, versus=0.5, since=5.0)
    kept = Kept(
        round=1.0,
        standings=(Standing(champion=champion, cost=0.1),),
        changes=(Change(1.0, "promoted a"), Change(2.0, "promoted b")),
    )


async def test_which_model_serves_what_and_why_is_told(desk: Desk) -> None:
    """S3.5: per-app models beside the global one."""
    object.__setattr__(desk.service, "trainer", Training())
    answer = await desk.service.oracle(GetOracle(), OPS)
    assert isinstance(answer, OracleView)
    assert [(row.group, row.metric, row.model) for row in answer.models] == [("", "", "fake"), ("db", "cpu", "ets")]
    assert [text for _, text in answer.changes] == ["promoted b", "promoted a"]
    assert (answer.proven, answer.reactive, answer.drifted) == (3, 3, True)
    assert answer.coming == () and answer.hit_rates == ()
    object.__setattr__(desk.service, "coming", Guessed())
    answer = await desk.service.oracle(GetOracle(), OPS)
    assert isinstance(answer, OracleView) and answer.coming == Guessed.expected and answer.hit_rates[0].rate == 0.5
    assert "process 41" in answer.trainer and "round ended" in answer.trainer
    idle = Training()
    idle.idle = "disabled in the fleet file"
    object.__setattr__(desk.service, "trainer", idle)
    answer = await desk.service.oracle(GetOracle(), OPS)
    assert isinstance(answer, OracleView) and answer.trainer == "disabled in the fleet file"
