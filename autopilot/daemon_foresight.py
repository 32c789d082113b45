"""What the daemon looks ahead with: the oracle, what it is told of, what its forecasts were worth, and its trainer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from sidestep.autopilot.accuracy_store import AccuracyStore
from sidestep.autopilot.calendar_memory import read_learned
from sidestep.autopilot.calendar_newwork import NewWork
from sidestep.autopilot.calendar_store import CalendarStore, local_zone, open_calendar
from sidestep.autopilot.daemon_care import Care
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_newwork import Coming
from sidestep.autopilot.history_keeper import Keeper
from sidestep.autopilot.history_past import past_of
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.trainer import Trainer
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.snapshot import Snapshot
from sidestep.forecasting.client import Oracle


@dataclass(frozen=True)
class Foresight:
    """The parts; ``calendar`` is None where its file cannot be used. ``keep`` takes every tick's snapshot."""

    oracle: Oracle
    boards: AccuracyStore
    calendar: CalendarStore | None
    care: Care
    trainer: Trainer
    coming: Coming
    keep: Callable[[Snapshot], None]


def foresight(
    fleet: FleetSpec,
    *,
    world: World,
    journal: Journal,
    keeper: Keeper,
    state: Path,
    clock: Clock,
    log: Log,
    stack: AsyncExitStack,
) -> Foresight:
    """Make them, with their files in the ``state`` folder; ``stack`` closes those."""
    report, learned = log.told("forecast"), state / "calendar.learned"
    oracle = Oracle(
        fleet.oracle,
        fleet.policy,
        interval=fleet.interval,
        report=report,
        past=lambda before: past_of(keeper.history, fleet, before, clock.wall()),
    )
    oracle.recall(read_learned(learned))
    boards = AccuracyStore(state / "accuracy.db", report, clock=clock.wall)
    stack.callback(boards.close)
    calendar = open_calendar(state / "calendar.db", report, clock=clock.wall)
    if calendar is not None:
        stack.callback(calendar.close)
    work = NewWork(state / "newwork.json", zone=calendar.zone if calendar is not None else local_zone())
    coming = Coming(work, horizon=fleet.policy.horizon, clock=clock, report=report)
    stack.callback(coming.end)
    care = Care(
        fleet,
        oracle,
        tasks=lambda: world.panel.tasks,
        events=calendar,
        boards=boards,
        homes=lambda: {str(shard): str(owner.host) for shard, owner in journal.placement().owners.items()},
        memory=learned,
        coming=coming,
        clock=clock,
        report=report,
    )
    trainer = Trainer(
        fleet, history=lambda: keeper.history, adopt=oracle.adopt, state=state, clock=clock, report=report
    )

    def keep(snapshot: Snapshot) -> None:
        keeper.take(snapshot, world.panel)
        coming.look(snapshot)

    return Foresight(oracle, boards, calendar, care, trainer, coming, keep)
