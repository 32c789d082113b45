"""What the daemon does with its guesses of new work: it says them once, keeps them, and never fails for them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from test_calendar_newwork import DAY, HOUR, nights, snapshot

from sidestep.autopilot.calendar_newwork import NewWork
from sidestep.autopilot.daemon_care import Care
from sidestep.autopilot.daemon_newwork import Coming
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.accuracy import AccuracyBoard
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState
from sidestep.fleet.occasions import Occasion


class Hands(Clock):
    """A clock that is set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Rounds(Hands):
    """Every sleep passes at once; after so many the daemon ends."""

    def __init__(self, now: float, rounds: int) -> None:
        super().__init__(now)
        self.rounds = rounds

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.rounds -= 1
        if not self.rounds:
            raise asyncio.CancelledError


class Deaf:
    """An oracle that is told and has nothing to say."""

    async def know(self, occasions: tuple[Occasion, ...], homes: dict[str, str] | None = None) -> None:
        pass

    async def learned(self) -> bytes:
        return b""

    async def scores(self) -> AccuracyBoard | None:
        return None


async def test_new_work_is_said_once_when_it_is_near_and_again_the_next_night(tmp_path: Path) -> None:
    """S4.13: marked speculative, with time, chance and reason."""
    work, said = NewWork(tmp_path / "newwork.json"), list[str]()
    clock = Hands(nights(work, 3, unknown=1200.0))
    coming = Coming(work, horizon=600.0, clock=clock, report=said.append)
    midnight = clock.now
    await coming.guess()
    assert [each.name for each in coming.expected] == ["report"] and said == []
    while clock.now < midnight + 2 * HOUR - 120:
        clock.now += 120
        coming.look(snapshot(clock.now, ShardState.STOPPED))
        await coming.guess()
    (line,) = said
    for word in ("speculative", "report of reports", "in 60m", "seen 3 times"):
        assert word in line
    while clock.now < midnight + DAY + 2 * HOUR:
        clock.now += 60
        running = 2 * HOUR <= clock.now % DAY < 3 * HOUR
        coming.look(snapshot(clock.now, ShardState.RUNNING if running else ShardState.STOPPED))
        await coming.guess()
    assert len(said) == 2
    assert coming.hit_rates()[0].hits >= 1


async def test_what_was_learned_is_there_after_the_daemon_ends(tmp_path: Path) -> None:
    work, said = NewWork(tmp_path / "newwork.json"), list[str]()
    clock = Hands(nights(work, 3))
    first = Coming(work, horizon=600.0, clock=clock, report=said.append)
    await first.guess()
    first.end()
    again = Coming(NewWork(tmp_path / "newwork.json"), horizon=600.0, clock=clock, report=said.append)
    await again.guess()
    assert again.expected == first.expected != () and said == []


async def test_neither_a_damaged_file_nor_a_full_disk_ends_a_daemon(tmp_path: Path) -> None:
    path, said = tmp_path / "newwork.json", list[str]()
    path.write_text("{")
    coming = Coming(NewWork(path), horizon=600.0, clock=Hands(0.0), report=said.append)
    assert len(said) == 1 and "begins anew" in said[0]
    path.mkdir()
    coming.end()
    assert "is lost" in said[1]


async def test_a_tick_waits_for_no_guess_and_a_strange_snapshot_is_said_by_those_who_care(tmp_path: Path) -> None:
    host = HostSpec(name=Label("h0"), address="127.0.0.1", cpu=1.0, memory=1 << 30)
    fleet = FleetSpec(name=Label("f"), source="", hosts=(host,), shards=(), policy=Policy(horizon=3600.0))
    said, clock = list[str](), Rounds(DAY, 40)
    path = tmp_path / "newwork.json"
    coming = Coming(NewWork(path), horizon=600.0, clock=clock, report=said.append)
    care = Care(
        fleet, Deaf(), tasks=lambda: [()], events=None, boards=None, coming=coming, clock=clock, report=said.append
    )
    good = snapshot(DAY, ShardState.RUNNING)
    coming.look(replace(good, time=DAY, shards=replace(good.shards, states=())))
    with pytest.raises(asyncio.CancelledError):
        await care.run()
    assert len(said) == 1 and "new work" in said[0]
    assert path.exists(), "kept within five minutes"


async def test_lines_in_the_log_are_few_however_much_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    work, said = NewWork(), list[str]()
    clock = Hands(nights(work, 3))
    (one,) = work.expected(clock.now, 3 * HOUR)
    kind = type(one)
    fields = {name: getattr(one, name) for name in one.__struct_fields__}
    many = tuple(kind(**{**fields, "name": f"r{at}"}) for at in range(300))
    monkeypatch.setattr(work, "expected", lambda now, ahead: many)
    coming = Coming(work, horizon=DAY, clock=clock, report=said.append)
    await coming.guess()
    assert len(said) == 11 and "190 more" in said[-1] and len(coming.expected) == 200
