"""Pools as the daemon makes their manager, shows them, and takes requests about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.pool.ledger import PoolInstance
from sidestep.autopilot.pool.manager import PoolManager
from sidestep.autopilot.pool.routes import EngineRoutes
from sidestep.autopilot.protocol import Answer, Done
from sidestep.autopilot.protocol_pools import (
    DrillPool,
    ListPools,
    PoolApp,
    PoolInstanceRow,
    PoolRequest,
    PoolRow,
    PoolsView,
)
from sidestep.autopilot.server_service import UnknownReference
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.backends.base import Router
from sidestep.backends.routing.engine import RouterEngine
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.newwork import SpeculativeWork
from sidestep.planning.pool.decide import REASONS
from sidestep.planning.pool.speculative import Tally


def pool_manager(
    fleet: FleetSpec, world: World, journal: Journal, log: Log, clock: Clock, router: Router | None, *,
    expected: Callable[[], Sequence[SpeculativeWork]], held: Callable[[], str],
) -> PoolManager:  # fmt: skip
    """The manager of the fleet's pools; it routes where the router takes endpoints beside a shard's owner."""
    routes = None
    if router is not None and isinstance(router, RouterEngine):
        routes = EngineRoutes(router, [shard.name for shard in fleet.shards if shard.keys is not None])
    return PoolManager(fleet, world, journal, clock, log.told("daemon"), routes=routes, expected=expected, held=held)


class PoolDesk:
    """Answers the requests of ``protocol_pools``."""

    def __init__(self, manager: PoolManager, log: Log) -> None:
        self.manager, self._log = manager, log

    def answer(self, request: PoolRequest, actor: Label) -> Answer:
        """One answer. Raises UnknownReference and SidestepError."""
        if isinstance(request, DrillPool):
            said = self.manager.drill(request.name)
            self._log.act(
                "drill", said, actor=actor, subject=f"pool {request.name}", reason=scrub(request.reason), always=True
            )
            return Done(scrub(said))
        return self._view(request)

    def _view(self, request: ListPools) -> PoolsView:
        manager = self.manager
        names = [str(pool.name) for pool in manager.pools]
        if request.name and request.name not in names:
            raise UnknownReference(f"there is no pool {request.name}", hint="see: sidestep pool")
        instances = manager.journal.pool_instances()
        rows = tuple(
            self._row(row, [one for one in instances if one.pool == name])
            for row, name in enumerate(names)
            if not request.name or name == request.name
        )
        return PoolsView(time=manager.shown.time if manager.shown else 0.0, pools=rows)

    def _row(self, row: int, mine: Sequence[PoolInstance]) -> PoolRow:
        manager, pool, shown = self.manager, self.manager.pools[row], self.manager.shown
        drill, tally = manager.journal.drills().get(pool.name), manager.journal.tallies().get(pool.name, Tally())
        decision = shown.decision if shown is not None else None
        return PoolRow(
            name=pool.name,
            priority=pool.priority,
            guarantee=pool.guarantee,
            most=pool.max,
            places=pool.places,
            ready_wanted=int(decision.ready[row]) if decision is not None else 0,
            fewer=float(decision.fewer[row]) if decision is not None else float("nan"),
            more=float(decision.more[row]) if decision is not None else float("nan"),
            states=dict(Counter(str(one.state) for one in mine)),
            apps=self._apps(row),
            instances=tuple(
                PoolInstanceRow(
                    name=scrub(one.name), host=one.host, state=str(one.state), app=one.app, port=one.port,
                    since=one.since, busy=manager.hands.busy(one),
                )
                for one in mine
            ),
            forecast=scrub(manager.foresight.why),
            activation=float(manager.activation.p95()[row]),
            activations=int(manager.activation.measured[row]),
            warming=float(manager.warming.p95()[row]),
            warmings=int(manager.warming.measured[row]),
            served=manager.served[row],
            drilled=drill.began if drill is not None else 0.0,
            drill_ended=drill is not None and drill.ended > 0,
            drill_ok=drill is not None and drill.ok,
            drill_seconds=drill.seconds if drill is not None else 0.0,
            drill_detail=drill.detail if drill is not None else Label(""),
            guesses_hit=tally.hits,
            guesses_missed=tally.misses,
            guesses_open=tally.open,
        )  # fmt: skip

    def _apps(self, row: int) -> tuple[PoolApp, ...]:
        shown = self.manager.shown
        if shown is None:
            return ()
        decision = shown.decision
        return tuple(
            PoolApp(
                app=scrub(app),
                load=shown.load[at],
                soon=shown.soon[at],
                wanted=int(decision.active[at]),
                serving=int(shown.counted.serving[at]),
                forecast=int(decision.forecast[at]),
                added=int(decision.added[at]),
                unmet=shown.unmet[at],
                reason=scrub(REASONS[int(decision.reason[at])]),
            )
            for at, (owner, app) in enumerate(self.manager.apps)
            if owner == row
        )
