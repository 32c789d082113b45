"""The worker puts the calendar on its forecasts, and the daemon tells the worker what is to come."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np

from sidestep.autopilot.calendar_memory import read_learned
from sidestep.autopilot.calendar_store import CalendarStore
from sidestep.autopilot.daemon_care import Care
from sidestep.backends.sampler.schedule import ScheduledTask
from sidestep.fleet.accuracy import AccuracyBoard
from sidestep.fleet.forecast import LEVELS, MEDIAN
from sidestep.fleet.inventory import FleetSpec, HostSpec, OracleSpec, Policy
from sidestep.fleet.labels import Label
from sidestep.fleet.occasions import Occasion, announced
from sidestep.forecasting import wire
from sidestep.forecasting.service import Service

STEP, NOW = 60.0, 1_760_000_000.0
NAMES = wire.Names(("h0", "h1"), (), ())


def row(number: int, time: float) -> wire.Row:
    use = np.full((2, 6), 1.0) + np.random.default_rng(number).normal(0, 0.02, (2, 6))
    return wire.Row(number, time, wire.to_bytes(use), b"", NAMES if number == 0 else None)


def curves(answer: wire.Answer) -> tuple[np.ndarray, np.ndarray]:
    hosts = wire.from_bytes(answer.hosts, (2, 6, len(answer.knots), len(LEVELS)), "hosts")
    if not answer.peaks:
        return hosts, hosts[:, :, :0]
    return hosts, wire.from_bytes(answer.peaks, (2, 6, len(answer.windows), len(LEVELS)), "peaks")


def test_an_event_raises_what_is_served_at_once_and_so_the_highest_value_to_expect() -> None:
    """S4.4: quantiles stay in order, the band is wider, and windows that end before the event stay as they are."""
    service = Service(OracleSpec(step=STEP, season=0.0), 3600.0)
    for number in range(90):
        service.learn(row(number, NOW + number * STEP))
    before, peaks_before = curves(service.answer(wire.Ask((row(90, NOW + 90 * STEP),), LEVELS)))
    service.know(wire.Know((announced("sale", begins=NOW + 110 * STEP, lasts=7200.0, effect=2.0, hosts=("h0",)),)))
    answer = service.answer(wire.Ask((row(91, NOW + 91 * STEP),), LEVELS))
    after, peaks = curves(answer)
    late = np.array(answer.knots) > 22
    assert np.abs(after[0, 0][late][:, MEDIAN] - 2.0).max() < 0.35
    assert np.abs(after[1] - before[1]).max() < 0.3, "the other host"
    assert np.abs(after[0, 1] - before[0, 1]).max() < 0.3, "memory"
    assert (np.diff(after[0, 0], axis=-1) >= -1e-6).all()
    wide, narrow = (np.ptp(each[0, 0][late], axis=-1).min() for each in (after, before))
    assert wide > narrow
    long = np.array(answer.windows) > 25
    assert long.any()
    assert (peaks[0, 0][long] > peaks_before[0, 0][long] + 0.6).all()
    assert np.abs(peaks[0, 0][~long] - peaks_before[0, 0][~long]).max(initial=0) < 0.4
    assert np.abs(peaks[1] - peaks_before[1]).max() < 0.4


def test_a_worker_after_another_one_goes_on_with_what_that_one_learned() -> None:
    """A job every three hours on h0 that one of its shards does; the second worker has seen none of it."""
    first, second = (Service(OracleSpec(step=STEP, season=0.0, model="trend"), 3600.0) for _ in range(2))
    names = wire.Names(("h0", "h1"), ("s0", "s1"), ("shop", "shop"))
    timer = Occasion(name=Label("job"), kind="timer", hosts=(Label("h0"),), begins=NOW + 3600, period=10800.0)
    know = wire.Know((timer,), {"s0": "h0", "s1": "h1"})
    rng = np.random.default_rng(3)

    def at(number: int) -> wire.Row:
        time = NOW + number * STEP
        hosts, shards = 1 + rng.normal(0, 0.02, (2, 6)), 1 + rng.normal(0, 0.02, (2, 4))
        if 0 <= (time - STEP / 2 - timer.begins) % 10800 < 1200:
            hosts[0, 0] += 1.5
            shards[0, 0] += 1.5
        return wire.Row(
            number, time, wire.to_bytes(hosts), wire.to_bytes(shards), names if number in {0, 770} else None
        )

    first.learn(at(0))
    first.know(know)
    for number in range(1, 770):
        first.learn(at(number))
    kept = first.learned().data
    second.learn(at(770))
    second.know(wire.Know(know.occasions, know.homes, b"damaged"))
    second.know(wire.Know(know.occasions, know.homes, kept))
    for number in range(771, 775):
        second.learn(at(number))
    # the next job is at 3600 + 4 * 10800 s: five steps later
    answer = second.answer(wire.Ask((at(775),), LEVELS))
    assert answer.notes == ()
    late = (np.array(answer.knots) > 7) & (np.array(answer.knots) < 22)
    hosts, _ = curves(answer)
    shards = wire.from_bytes(answer.shards, (2, 4, len(answer.knots), len(LEVELS)), "shards")
    assert np.abs(hosts[0, 0][late][:, MEDIAN] - 2.5).max() < 0.5
    assert np.abs(hosts[1, 0][late][:, MEDIAN] - 1.0).max() < 0.3
    assert np.abs(shards[0, 0][late][:, MEDIAN] - 2.5).max() < 0.6
    assert np.abs(shards[1, 0][late][:, MEDIAN] - 1.0).max() < 0.3


class Listener:
    """An oracle that only listens."""

    def __init__(self) -> None:
        self.told: tuple[Occasion, ...] = ()

    async def know(self, occasions: tuple[Occasion, ...], homes: dict[str, str] | None = None) -> None:
        self.told, self.homes = occasions, homes

    async def learned(self) -> bytes:
        return b"what was learned"

    async def scores(self) -> AccuracyBoard | None:
        return None


class Still:
    """A clock that stands."""

    def wall(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


async def test_the_oracle_is_told_of_events_and_of_the_timers_of_hosts(tmp_path: Path) -> None:
    """S2.6: ``panel.tasks`` and the store's events, and what makes no sense is left out."""
    host = HostSpec(name=Label("h0"), address="127.0.0.1", cpu=1.0, memory=1 << 30)
    fleet = FleetSpec(name=Label("f"), source="", hosts=(host,), shards=(), policy=Policy(horizon=3600.0))
    tasks = (
        ScheduledTask(Label("backup"), NOW + 600, 86400.0),
        ScheduledTask(Label("often"), NOW + 60, 60.0),
        ScheduledTask(Label("root.report"), NOW + 700, None),
    )
    store, oracle = CalendarStore(tmp_path / "calendar.db", clock=lambda: NOW), Listener()
    store.add(announced("sale", begins=NOW + 60, lasts=60.0))
    store.add(announced("over", begins=NOW - 600, lasts=60.0))
    memory = tmp_path / "calendar.learned"
    care = Care(
        fleet, oracle, tasks=lambda: [tasks], events=store, boards=None, homes=lambda: {"s": "h0"}, memory=memory,
        clock=Still(), report=lambda text: None,
    )  # fmt: skip
    assert read_learned(memory) == b""
    await care.tell()
    assert oracle.homes == {"s": "h0"}
    await care.remember()
    assert read_learned(memory) == b"what was learned"
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    assert [each.name for each in oracle.told] == ["sale", "backup", "root.report"]
    assert [name for _, name in [(n, e.name) for n, e in store.rows(NOW)]] == ["sale", "backup", "root.report"]
