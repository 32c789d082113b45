"""The console on a recording: the same screens, time that goes both ways, and nothing that acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from conftest import Console
from frames import START, Fleet, lively, make_plan, view_of
from test_recording import pictures, record

from sidestep.autopilot.client import AsyncClient
from sidestep.autopilot.protocol import Approve, GetLog
from sidestep.autopilot.protocol_replay import ReplayView, Seek
from sidestep.autopilot.recorder.otherwise import forecast_of, planned, snapshot_of
from sidestep.autopilot.recorder.player import Player
from sidestep.autopilot.recorder.recording import Recording
from sidestep.console.launch import open_console
from sidestep.console.replaying import Replay, ReplayApp, ReplayFeed, request_of, scrubber_line, time_of
from sidestep.console.text import ASCII, UNICODE, plain
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.forecast import LEVELS
from sidestep.fleet.inventory import Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures in which a plan is proposed and, from the tenth on, done."""
    fleet, plan = Fleet(level="full"), make_plan(12)
    fleet.plans = (view_of(plan),)
    before = pictures(10, fleet)
    fleet.plans = (view_of(plan, PlanState.SUCCEEDED, updated=START + 99),)
    return record(tmp_path_factory.mktemp("past"), [*before, *pictures(10, fleet, begin=before[-1].time + 5)])


@asynccontextmanager
async def replaying(source: Path, *arguments: str) -> AsyncIterator[Console]:
    feed = ReplayFeed(Replay(source, arguments))
    life = asyncio.create_task(feed.run())
    app = ReplayApp(feed, patterns=False)
    try:
        async with app.run_test(size=(140, 40), notifications=True) as pilot:
            console = Console(app, pilot)
            async with asyncio.timeout(60):
                while feed.view is None or feed.replay is None:
                    app.beat()
                    await asyncio.sleep(0.05)
            yield console
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def test_a_session_in_the_past(past: Path, socket: Path) -> None:
    """S7.9: the same console opens on a recording; keys move through time, and none act."""
    async with replaying(past, "--policy=threshold_cpu=0.5") as console:
        feed = console.app.given.feed
        await console.sees("REPLAY ")
        await console.sees("1/20")
        await console.press("right_square_bracket")
        await console.sees("2/20")
        await console.press("right_curly_bracket")
        await console.sees("3/20")
        await console.press("4")
        await console.sees("PROPOSED")
        await console.press("a")
        await console.sees("approve is disabled: this is a recording")
        console.app.goto(feed.replay.last)
        await console.sees("20/20")
        await console.sees("SUCCEEDED")
        await console.press("left_square_bracket", "H")
        await console.sees("hold is disabled: this is a recording")
        await console.press("slash", "h", "comma", "left_square_bracket")  # typed, not sought
        await console.sees("19/20")
        await console.press("escape", "5")
        await console.sees("row 19")
        await console.press("0")
        await console.until(lambda: "1/20" in console.text() and "row 19" not in console.text())
        await console.press("space")
        await console.until(lambda: feed.replay.playing)
        console.app.run_line("speed 3600")
        await console.sees("20/20")
        await console.press("question_mark")
        await console.sees("to the next decision")


async def test_nothing_of_a_recording_can_be_changed_and_a_daemon_is_none(past: Path, daemon, socket: Path) -> None:
    player = Player(Recording.open(past), "past")
    for way in (player.approve, player.steer, player.set_level, player.planning):
        with pytest.raises(SidestepError, match="this is a recording"):
            await way(Approve("0" * 64), "ana")
    client = await AsyncClient.connect(socket, name="test")
    with pytest.raises(SidestepError, match="no recording"):
        await client.call(Seek())
    await client.aclose()


async def test_where_one_is_after_every_kind_of_move(past: Path) -> None:
    recording = Recording.open(past)
    player = Player(recording, "past")
    assert (await player.replay(Seek(by=5))).at == 5
    assert (await player.replay(Seek(by=-99))).at == 0
    assert (await player.replay(Seek(to=recording.times[7] + 1))).at == 7
    assert (await player.replay(Seek(by=99))).at == 19
    assert (await player.replay(Seek(play=True))).at == 0  # played to the end: again from the beginning
    with pytest.raises(UsageError, match="speed"):
        await player.replay(Seek(speed=1e9))
    log = await player.get_log(GetLog(since=-5, limit=9))
    assert [event.seq for event in log.events] == [1]


def test_another_policy_plans_otherwise_from_what_was_on_screen() -> None:
    fleet = lively(hosts=6, shards=24)
    frame = fleet.frame(START + 40)
    given = Policy(horizon=60.0, threshold_cpu=0.6, max_moves=6)
    item, said = planned(frame, given, "mine.toml")
    assert item is not None, said
    assert {action.source for action in item.plan.actions} == {"h2"}
    assert item.plan.author == "policy mine.toml"
    assert item.status.state is PlanState.DRAFT
    assert planned(frame, given, "mine.toml")[0] == item
    none, said = planned(frame, msgspec.structs.replace(given, threshold_cpu=0.9), "lax.toml")
    assert none is None
    assert "no contention" in said


def test_unlikely_contention_is_planned_for_at_its_last_chance_but_not_on_a_recorded_fallback() -> None:
    """S5.22: how far demand strayed is no foresight, in a recording as little as live."""
    frame = lively(hosts=6, shards=24).frame(START + 40)
    given = Policy(horizon=60.0, threshold_cpu=0.78, max_moves=6)
    assert planned(frame, given, "mine.toml")[0] is None
    given = msgspec.structs.replace(given, margin=60.0)
    item, said = planned(frame, given, "mine.toml")
    assert item is not None, said
    assert {action.source for action in item.plan.actions} == {"h2"}
    fallen = msgspec.structs.replace(frame, oracle=Label("fallback: persistence: worker restarting"))
    assert planned(fallen, given, "mine.toml")[0] is None


def test_what_a_screen_shows_becomes_the_forecast_it_was_made_of() -> None:
    frame = lively().frame(START)
    snapshot = snapshot_of(frame)
    forecast = forecast_of(frame, snapshot)
    median = forecast.hosts[1, 0, 4, LEVELS.index(0.5)]
    assert median == pytest.approx(lively().load(1, START + 5) * 4, rel=0.01)
    assert (forecast.hosts[..., 1:] >= forecast.hosts[..., :-1]).all()
    assert forecast.shard_mean.shape == (12, 2, 60)


def test_the_scrubber_fits_any_width_and_marks_decisions() -> None:
    found = ReplayView(
        at=3, count=9, time=START + 50, first=START, last=START + 100, playing=True, speed=4.0, marks=(START + 10,)
    )
    for glyphs in (UNICODE, ASCII):
        for width in (40, 80, 200):
            text = plain(scrubber_line(found, width, glyphs))
            assert "4/9" in text
            assert "x4" in text
            assert len(text) <= max(width, 56)
    assert plain(scrubber_line(found, 100, ASCII)).isascii()
    assert request_of("faster", found) == Seek(speed=8.0)
    assert request_of("play", found) == Seek(play=False)
    assert time_of("2026-01-01T00:00:00+00:00", found) == 1767225600.0
    with pytest.raises(ValueError, match="isoformat"):
        time_of("noon", found)


def test_a_replay_needs_a_terminal_like_every_console(past: Path) -> None:
    with pytest.raises(UsageError, match="needs a terminal"):
        open_console(Replay(past), theme="dusk", ascii_only=False, read_only=True, replay=True)


async def test_what_is_wrong_with_a_recording_is_told_in_its_place(tmp_path: Path, socket: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    feed = ReplayFeed(Replay(tmp_path / "x.parquet"))
    await feed.run()
    assert feed.status.kind == "failed"
    assert "x.parquet cannot be read" in feed.status.text
