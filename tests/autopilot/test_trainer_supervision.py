"""The daemon's side of the trainer: promotions are kept and handed on, and nothing that it does stops the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sidestep.autopilot.trainer import Trainer
from sidestep.autopilot.trainer_past import Grid, grid_of, parts
from sidestep.autopilot.trainer_store import KEPT, Change, Kept, TrainerStore
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.history import History, RingSpec
from sidestep.fleet.inventory import CandidateSpec, FleetSpec, HostSpec, OracleSpec, Policy, TrainerSpec
from sidestep.fleet.labels import Label
from sidestep.forecasting import wire
from sidestep.forecasting.training import protocol
from sidestep.forecasting.training.messages import Adoption, Champion

#: far more than anything takes; tests wait for events, never for time
PATIENCE = 240.0
SEASON, STEP, HOSTS = 24, 60.0, 8
NOW = 1_700_000_040.0 // 60 * 60


def fleet_of(tmp_path: Path, **trainer: float) -> FleetSpec:
    daily = CandidateSpec(
        name=Label("daily"),
        model="sktime.forecasting.naive.NaiveForecaster",
        params='{"sp": "season"}',
        group="web",
        metrics=("cpu",),
    )
    return FleetSpec(
        name=Label("f"),
        source=str(tmp_path / "f.toml"),
        hosts=tuple(HostSpec(name=Label(f"h{i}"), address="a", groups=(Label("web"),)) for i in range(HOSTS)),
        shards=(),
        policy=Policy(horizon=480.0),
        oracle=OracleSpec(
            model="persistence",
            season=SEASON * STEP,
            step=STEP,
            candidates=(daily,),
            trainer=TrainerSpec(**{"every": 3600.0, "budget": 5.0, **trainer}),
        ),
    )


def history_of(steps: int, *, until: float = NOW) -> History:
    """A jagged day on every host, minute by minute, that ends at a time."""
    history = History([RingSpec(1.0, 120), RingSpec(STEP, 2880)], interval=STEP)
    names = tuple(f"host h{i} {metric}" for i in range(HOSTS) for metric in ("cpu", "memory"))
    rng = np.random.default_rng(1)
    shape = rng.uniform(2, 12, SEASON)
    for at in range(steps):
        values = np.zeros((HOSTS, 2))
        values[:, 0] = shape[(at + 3 * np.arange(HOSTS)) % SEASON] + 0.3 * rng.standard_normal(HOSTS)
        history.append(until - STEP * (steps - at), names, values.ravel())
    history.append(until, names, np.full(2 * HOSTS, np.nan))
    return history


class Held:
    """Time that stands still on the wall; sleeping takes a moment."""

    def __init__(self) -> None:
        self.wall = NOW

    def clock(self) -> Clock:
        async def sleep(seconds: float) -> None:
            await asyncio.sleep(0.01 if seconds else 0)

        return Clock(wall=lambda: self.wall, monotonic=time.monotonic, sleep=sleep)


class Listener:
    """What the trainer said and handed on; ``until`` waits for something to be so."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.adoptions: list[Adoption] = []
        self._news = asyncio.Event()

    def report(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    async def adopt(self, adoption: Adoption) -> None:
        self.adoptions.append(adoption)
        self._news.set()

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not there():
                self._news.clear()
                await self._news.wait()

    def has(self, *words: str) -> bool:
        return any(all(word in line for word in words) for line in self.lines)


@asynccontextmanager
async def running(trainer: Trainer) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(trainer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def made(fleet: FleetSpec, tmp_path: Path, listener: Listener, held: Held, history: History) -> Trainer:
    return Trainer(
        fleet,
        history=lambda: history,
        adopt=listener.adopt,
        state=tmp_path,
        clock=held.clock(),
        report=listener.report,
        delay=0.0,
    )


async def replaced(trainer: Trainer, old: int) -> int:
    """The id of the trainer's next process that is ready."""
    async with asyncio.timeout(PATIENCE):
        while trainer.pid in {0, old}:
            await asyncio.sleep(0.02)
    return trainer.pid


@pytest.mark.slow
async def test_a_promotion_is_logged_handed_on_kept_and_taken_up_again_after_a_restart(tmp_path: Path) -> None:
    """S1.5, S1.6: the whole way, with the real process and a real forecaster of sktime."""
    listener, held, history = Listener(), Held(), history_of(400)
    fleet = fleet_of(tmp_path)
    trainer = made(fleet, tmp_path, listener, held, history)
    async with running(trainer):
        await replaced(trainer, 0)
        held.wall += 3600.0  # the first round is due
        await listener.until(
            lambda: listener.has("oracle: promoted", "on group web, cpu: scaled CRPS", "of persistence")
        )
        await listener.until(lambda: any(adoption.champions for adoption in listener.adoptions))
    assert any(
        change.line.startswith("promoted") for change in TrainerStore(tmp_path / "champions.json").load()[0].changes
    )
    again = Listener()
    held.wall = NOW
    async with running(made(fleet, tmp_path, again, held, history)):
        await again.until(lambda: any(adoption.curves for adoption in again.adoptions))
    adoption = next(each for each in again.adoptions if each.curves)
    assert adoption.champions[0].group == "web"
    assert adoption.curves[0].model == adoption.champions[0].model
    assert adoption.curves[0].start == NOW
    assert not again.has("promoted")


@pytest.mark.slow
async def test_a_killed_and_a_stopped_trainer_are_replaced_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1.26: ticks come at their pace while the trainer is killed, and while it is stopped."""
    monkeypatch.setattr("sidestep.autopilot.trainer.DEADLINE", 10.0)
    monkeypatch.setattr("sidestep.autopilot.trainer.TURN", 0.2)
    listener, held = Listener(), Held()
    trainer = made(fleet_of(tmp_path), tmp_path, listener, held, history_of(200))
    ticks, late = 0, 0.0

    async def loop() -> None:
        nonlocal ticks, late
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            ticks, late = ticks + 1, max(late, time.monotonic() - began)

    ticking = asyncio.create_task(loop())
    async with running(trainer):
        first = await replaced(trainer, 0)
        os.kill(first, signal.SIGKILL)
        second = await replaced(trainer, first)
        assert listener.has("the trainer ended by signal 9; starting it again")
        os.kill(second, signal.SIGSTOP)
        await replaced(trainer, second)
        assert listener.has("the trainer did not answer in 10 s; starting it again")
        assert not Path(f"/proc/{second}").exists(), "a stopped trainer must not be left behind"
        last = trainer.pid
    ticking.cancel()
    assert ticks > 50
    assert late < 5.0, "the loop must never wait for the trainer"
    assert not Path(f"/proc/{last}").exists()


async def test_an_oracle_that_fails_to_adopt_is_said_and_changes_nothing(tmp_path: Path) -> None:
    listener = Listener()

    def fails(_: Adoption) -> None:
        raise RuntimeError("no worker")

    trainer = Trainer(
        fleet_of(tmp_path), history=lambda: history_of(1), adopt=fails, state=tmp_path, report=listener.report
    )
    champion = Champion("web", "cpu", "daily", 0.1, 0.2, NOW)
    state = protocol.State(
        False, True, ("promoted daily on x",), Adoption((champion,), ()), True, (protocol.Standing(champion, 0.1),)
    )
    await trainer._take(state)
    assert listener.has("an adoption was not taken: RuntimeError: no worker")
    assert [change.line for change in trainer.changes] == ["promoted daily on x"]
    assert TrainerStore(tmp_path / "champions.json").load()[0].standings[0].champion == champion


async def test_a_fleet_file_without_a_trainer_starts_none(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path)
    fleet = msgspec.structs.replace(
        fleet, oracle=msgspec.structs.replace(fleet.oracle, trainer=TrainerSpec(enabled=False))
    )
    trainer = Trainer(fleet, history=lambda: history_of(1), adopt=lambda _: None, state=tmp_path)
    await trainer.run()
    assert trainer.pid == 0 and trainer.idle == "disabled in the fleet file"
    nothing = Trainer(
        msgspec.structs.replace(fleet_of(tmp_path), hosts=()),
        history=lambda: history_of(1), adopt=lambda _: None, state=tmp_path,
    )  # fmt: skip
    await nothing.run()
    assert nothing.idle == "nothing is forecast"
    assert Trainer(fleet_of(tmp_path), history=lambda: history_of(1), adopt=lambda _: None, state=tmp_path).idle == ""


def test_a_broken_file_of_champions_is_put_aside_and_said(tmp_path: Path) -> None:
    store = TrainerStore(tmp_path / "champions.json")
    assert store.load() == (Kept(), "")
    for data in (b"", b"{", b'{"version": 99}', b'{"standings": 4}', b"\xff" * 50):
        store.path.write_bytes(data)
        kept, said = store.load()
        assert kept == Kept()
        assert "champions begin anew" in said
        assert not store.path.exists()
        assert (tmp_path / "champions.broken").read_bytes() == data


def test_the_file_keeps_the_newest_changes_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    store = TrainerStore(tmp_path / "champions.json")
    changes = tuple(Change(float(n), f"line {n}") for n in range(KEPT + 5))
    store.save(Kept(round=7.0, changes=changes, weights=b"\0\xff"))
    kept, said = store.load()
    assert (kept.changes, kept.weights, said) == (changes[5:], b"\0\xff", "")
    assert [path.name for path in tmp_path.iterdir()] == ["champions.json"]


# --- the past --------------------------------------------------------------------------


def read(part: protocol.Learn) -> tuple[np.ndarray, np.ndarray]:
    times = np.frombuffer(part.times, "<f8")
    return times, wire.from_bytes(part.values, (len(times), len(part.names)), "values")


def test_the_past_is_told_in_closed_steps_and_only_what_is_new() -> None:
    history = history_of(50)
    grid = Grid(1, STEP)
    names = ("host h1 cpu", "host h0 memory", "host nobody cpu")
    (whole,) = parts(history, grid, names, -np.inf, NOW + 10)
    times, values = read(whole)
    assert (len(times), times[-1]) == (50, NOW - STEP)
    assert np.isnan(values[:, 2]).all()
    assert np.isfinite(values[:, :2]).all()
    (rest,) = parts(history, grid, names, NOW - 3 * STEP, NOW + 10)
    np.testing.assert_array_equal(read(rest)[1], values[-3:])
    assert list(parts(history, grid, names, NOW, NOW + 10)) == []
    assert list(parts(history, grid, (), -np.inf, NOW)) == []


def test_sums_and_pressure_are_found_under_the_names_of_the_history() -> None:
    history = History([RingSpec(STEP, 100)], interval=STEP)
    names = ("host a net_rx", "host a net_tx", "host a pressure_io")
    for at in range(10):
        history.append(NOW + STEP * at, names, np.array([at, 100.0, 7.0]))
    history.append(NOW + STEP * 10, names, np.full(3, np.nan))
    (part,) = parts(history, Grid(0, STEP), ("host a psi_io", "host a net"), -np.inf, NOW + STEP * 10)
    np.testing.assert_allclose(read(part)[1], np.column_stack([np.full(10, 7.0), 100 + np.arange(10)]))


def test_slots_are_put_together_to_the_oracles_step_and_long_pasts_come_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = history_of(60)
    one = np.concatenate([read(p)[1] for p in parts(history, Grid(1, STEP), ("host h0 cpu",), -np.inf, NOW)])
    grid = Grid(1, 3 * STEP)
    monkeypatch.setattr("sidestep.autopilot.trainer_past.PART", 12)
    told = [read(p) for p in parts(history, grid, ("host h0 cpu",), -np.inf, NOW)]
    assert len(told) >= 5
    times = np.concatenate([t for t, _ in told])
    assert (np.diff(times) == 180).all()
    offset = int(-(NOW - 60 * STEP) % 180 // STEP)
    whole = one[offset : offset + (60 - offset) // 3 * 3].reshape(-1, 3).mean(axis=1)
    found = np.concatenate([v for _, v in told])[:, 0]
    np.testing.assert_allclose(found[-len(whole) :], whole, rtol=1e-5)


def test_the_grid_is_the_coarsest_that_has_enough_and_never_finer_than_the_oracles() -> None:
    rings = [RingSpec(1.0, 900), RingSpec(60.0, 2880), RingSpec(900.0, 3360)]
    history = History(rings, interval=60.0)
    assert grid_of(history, ("host a cpu",), 1.0, 3600.0) is None
    for at in range(600):
        history.append(NOW + 60.0 * at, ("host a cpu",), np.array([1.0]))
    assert grid_of(history, ("host a cpu",), 1.0, 3600.0) == Grid(1, 60.0)
    assert grid_of(history, ("host a cpu",), 90.0, 3600.0) == Grid(1, 120.0)
    assert grid_of(history, ("host a cpu",), 1.0, 60.0) == Grid(0, 1.0)
    for at in range(600, 600 + 15 * 420):
        history.append(NOW + 60.0 * at, ("host a cpu",), np.array([1.0]))
    assert grid_of(history, ("host a cpu",), 1.0, 3600.0) == Grid(2, 900.0)
