"""The parts of a daemon, and how they are put together: nothing begins here."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from sidestep.autopilot.bandwidth import Bandwidth
from sidestep.autopilot.capsules.desk import CapsuleDesk, capsule_keeper
from sidestep.autopilot.daemon_control import ControlDesk
from sidestep.autopilot.daemon_foresight import Foresight, foresight
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.daemon_reconcile import Reconciler
from sidestep.autopilot.daemon_reports import Reports
from sidestep.autopilot.daemon_shards import Settlement
from sidestep.autopilot.executor import Executor
from sidestep.autopilot.executor_control import PlanControl
from sidestep.autopilot.failover.watch import LossWatch
from sidestep.autopilot.faults import NO_FAULTS, faults_from
from sidestep.autopilot.fencing.keeper import LeaseKeeper
from sidestep.autopilot.functions.shown import folder_beside, shown
from sidestep.autopilot.history_keeper import Keeper
from sidestep.autopilot.hold import Hold
from sidestep.autopilot.host_orders import OrderBook
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.loop import Parts
from sidestep.autopilot.loop_approval import Approvals
from sidestep.autopilot.loop_proposals import Proposals
from sidestep.autopilot.loop_runs import Runs
from sidestep.autopilot.pool.desk import PoolDesk, pool_manager
from sidestep.autopilot.queue.desk import expected
from sidestep.autopilot.resize.ledger import JournalSizing
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Backend, Resizer
from sidestep.backends.ssh.base import Transport
from sidestep.backends.ssh.pace import Paced
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.plans import Basis, Plan
from sidestep.forecasting.client import Oracle
from sidestep.plugins import BACKENDS, load
from sidestep.plugins.routers import load_router


@dataclass(frozen=True, kw_only=True)
class DaemonParts(Parts):
    """The loop's parts, and those that only the daemon itself works with."""

    oracle: Oracle
    ahead: Foresight
    keeper: Keeper
    reports: Reports
    executor: Executor
    settlement: Settlement
    reconciler: Reconciler
    steering: ControlDesk
    leases: LeaseKeeper


def make_parts(
    fleet: FleetSpec,
    stack: AsyncExitStack,
    journal: Journal,
    log: Log,
    *,
    state: Path,
    socket: Path,
    clock: Clock,
    transport: Callable[[HostSpec], Transport],
    lane: Callable[[HostSpec], str],
) -> DaemonParts:
    """Make everything and begin nothing; what has to be closed goes on the stack."""
    backends = load_backends(fleet)
    bandwidth = Bandwidth(lambda: world.fleet.policy.bandwidth, clock)
    for backend in backends.values():
        if isinstance(backend, Paced):
            backend.pace = bandwidth
        if isinstance(backend, Resizer):
            backend.sizing = JournalSizing(journal)

    def reach(name: str) -> Transport:
        return world.transport(name)

    router = load_router(fleet, reach)
    if router is not None:
        stack.push_async_callback(router.aclose)
    world = World(fleet, transport, clock=clock, report=log.told("host"), lane=lane)

    def present(plan: Plan) -> Basis:
        return settlement.foreign.marked(plan, world.basis(plan, journal.placement()))

    def busy() -> frozenset[str]:
        return executor.busy

    def strain(host: str) -> str:
        return steering.strain(host)

    def heard(host: str) -> float:
        return clock.monotonic() - world.health(host).age

    leases = LeaseKeeper(fleet, journal, backends, world.transport, log, clock=clock, heard=heard)
    capsules = capsule_keeper(fleet, world, journal, backends, log, clock, busy=busy, strain=strain, pace=bandwidth)
    losses = LossWatch(fleet, world, journal, clock, log, capsules)
    hold = Hold(state)
    settlement = Settlement(
        fleet, journal, backends, world.transport, log, busy=busy, poisoned=lambda: losses.poisoned, capsules=capsules,
        wall=clock.wall,
    )  # fmt: skip
    stack.push_async_callback(settlement.revival.aclose)
    executor = Executor(
        fleet=fleet,
        journal=journal,
        backend_for=lambda shard: backends[shard.backend],
        transport_for=world.transport,
        router=router,
        present=present,
        clock=clock.wall,
        changed=lambda _: log.mirror(),
        doubt=settlement.doubt,
        faults=faults_from(os.environ) or NO_FAULTS,
        held=hold.why,
        strain=strain,
        rescue=losses,
        fencer=leases,
        capsules=capsules,
    )

    keeper = Keeper(
        fleet.history,
        state / "history",
        interval=fleet.interval,
        clock=clock.wall,
        report=log.told("daemon"),
    )

    losses.let_go = executor.served

    def moving() -> frozenset[str]:
        return executor.moving

    ahead = foresight(
        fleet, world=world, journal=journal, keeper=keeper, state=state, clock=clock, log=log, stack=stack
    )
    reports = Reports(fleet, world, router, state=state, socket=socket, clock=clock, report=log.told("daemon"))
    runs = Runs(journal, executor, clock, log)
    control = PlanControl(journal=journal, executor=executor, hold=hold, log=log, start=runs.start)
    steering = ControlDesk(control=control, declare_off=leases.declare_off, losses=losses)
    steering.capsules, steering.orders = CapsuleDesk(capsules, log), OrderBook(fleet, world, journal, clock, log)
    pools = pool_manager(
        fleet, world, journal, log, clock, router, expected=lambda: ahead.coming.expected, held=hold.why
    )  # fmt: skip
    steering.pools = PoolDesk(pools, log)
    steering.wall, folder = clock.wall, folder_beside(socket)
    steering.functions = lambda: shown(folder, clock.wall())
    proposals = Proposals(fleet, journal, clock, expected=lambda: expected(ahead.coming.expected))
    proposals.marked = settlement.foreign.marked
    proposals.sized = journal.sized
    approvals = Approvals(journal, runs, clock, present)
    approvals.refuses = executor.refusal
    reconciler = Reconciler(
        fleet, world, journal, settlement, router, busy=busy, served=executor.served, clock=clock, log=log
    )
    return DaemonParts(
        fleet=fleet,
        world=world,
        oracle=ahead.oracle,
        ahead=ahead,
        journal=journal,
        proposals=proposals,
        approvals=approvals,
        runs=runs,
        log=log,
        clock=clock,
        moving=moving,
        keep=ahead.keep,
        losses=losses,
        orders=steering.orders,
        capsules=capsules,
        pools=pools,
        keeper=keeper,
        reports=reports,
        executor=executor,
        settlement=settlement,
        foreign=settlement.foreign,
        reconciler=reconciler,
        steering=steering,
        leases=leases,
    )


def load_backends(fleet: FleetSpec) -> dict[str, Backend]:
    """The backends that the fleet's shards name, made for this fleet. Raises PluginError."""
    return {name: load(BACKENDS, name)(fleet.name) for name in sorted({s.backend for s in fleet.shards})}
