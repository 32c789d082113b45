"""Hosts that people close or empty, beside the loop: takes orders, shows them as states, and ends them in time.

An order is in the journal before anything follows from it, so that a restarted daemon goes on with it. All hosts
of one order are closed before anything is planned: nothing is moved onto a host that is emptied next. What is
proposed to empty a host is an ordinary plan; when the order is lifted, the host's state changes, and with it
what the plan relied on: the proposal is STALE, and of a plan that runs nothing more begins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.journal_hosts import HostOrder
from sidestep.autopilot.journal_store import JournalError
from sidestep.autopilot.protocol_hosts import (
    CordonHosts,
    DrainHosts,
    GetHostOrders,
    HostOrders,
    HostRequest,
    OrderedHost,
    UncordonHosts,
)
from sidestep.autopilot.server_service import UnknownReference
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import HostState
from sidestep.fleet.nearest import near
from sidestep.fleet.placement import Placement

_LONGEST: Final = 500
_DONE: Final = {"cordon": "accepts no new shards", "drain": "is being emptied"}


class Sight(Protocol):
    """The part of the world that is needed here."""

    def states(self) -> dict[str, HostState]:
        """Every host's present state."""
        ...

    def order(self, wanted: Mapping[str, tuple[HostState, Label]]) -> None:
        """These hosts, and no others, are so by order while they are up."""
        ...


class OrderBook:
    """Asked every tick, before the snapshot; and by people at any time."""

    def __init__(self, fleet: FleetSpec, sight: Sight, journal: Journal, clock: Clock, log: Log) -> None:
        self._fleet, self._sight, self._journal, self._clock, self._log = fleet, sight, journal, clock, log
        self._orders = journal.host_orders()
        self._held: tuple[Placement | None, Counter[Label]] = None, Counter()
        self._trouble = ""
        self._show()

    def switch(self, fleet: FleetSpec) -> None:
        """Go by another fleet file with the same hosts."""
        self._fleet = fleet

    def look(self) -> None:
        """End what is over, and show the hosts as they were ordered; DRAINED ones own no shard any more."""
        now = self._clock.wall()
        over = [order.host for order in self._orders if order.until and order.until <= now]
        try:
            if over:
                self._journal.lift_hosts(over, actor=AUTOPILOT, reason="its time is over")
                self._orders = self._journal.host_orders()
                self._log.mirror()
            self._trouble = ""
        except JournalError as error:
            if not self._trouble:
                self._trouble = str(error)
                self._log.say("error", f"{', '.join(over)}: to accept shards again, which cannot be kept: {error}")
        self._show()

    def answer(self, request: HostRequest, actor: Label) -> HostOrders:
        """One answer. Raises UsageError, UnknownReference and JournalError."""
        match request:
            case CordonHosts():
                said = self._order("cordon", request, actor)
            case DrainHosts():
                said = self._order("drain", request, actor)
            case UncordonHosts():
                said = self._lift(request, actor)
            case GetHostOrders():
                said = ""
        if said:
            self._orders = self._journal.host_orders()
            self._show()
        return HostOrders(rows=self._rows(), text=scrub(said, 4 * _LONGEST))

    def _order(self, wish: str, request: CordonHosts | DrainHosts, actor: Label) -> str:
        hosts, until = self._known(request.hosts), request.until
        if not math.isfinite(until) or until < 0:
            raise UsageError(f"until {until}: must be a unix time, or 0", hint="0 is until somebody lifts it")
        if until and until <= self._clock.wall():
            raise UsageError(f"{_time(until)} is past", hint="say when it is to end, or leave that out")
        new = self._journal.order_hosts(
            hosts, "drain" if wish == "drain" else "cordon", actor=actor, reason=request.reason, until=until
        )
        return "; ".join(f"{host} {_DONE[wish]}" + ("" if host in new else " already") for host in hosts)

    def _lift(self, request: UncordonHosts, actor: Label) -> str:
        hosts = self._known(request.hosts)
        standing = {order.host for order in self._orders}
        fixed = {spec.name for spec in self._fleet.hosts if spec.cordoned}
        if shut := [host for host in hosts if host in fixed and host not in standing]:
            raise UsageError(
                f"{', '.join(shut)}: cordoned in the fleet file",
                hint="write cordoned = false there, and have the daemon read it again",
            )
        gone = self._journal.lift_hosts(hosts, actor=actor, reason=request.reason)
        said = []
        for host in hosts:
            if host not in gone:
                said.append(f"{host} was not cordoned")
            else:
                still = "stays cordoned in the fleet file" if host in fixed else "accepts shards again"
                said.append(f"{host} {still}")
        return "; ".join(said)

    def _known(self, hosts: tuple[str, ...]) -> tuple[Label, ...]:
        """The hosts, each once, as they were named."""
        if not hosts:
            raise UsageError("no host is named", hint="name one or more")
        names = [str(spec.name) for spec in self._fleet.hosts]
        for host in hosts:
            if host not in names:
                raise UnknownReference(f"no host {scrub(host)}", hint=near(host, names))
        return tuple(dict.fromkeys(map(scrub, hosts)))

    def _show(self) -> None:
        self._sight.order({order.host: (self._state(order), _why(order)) for order in self._orders})

    def _state(self, order: HostOrder) -> HostState:
        if order.wish == "cordon":
            return HostState.CORDONED
        return HostState.DRAINING if self._owned()[order.host] else HostState.DRAINED

    def _owned(self) -> Counter[Label]:
        """Shards by host, counted when the placement is another one."""
        placement = self._journal.placement()
        if placement is not self._held[0]:
            self._held = placement, Counter(owner.host for owner in placement.owners.values())
        return self._held[1]

    def _rows(self) -> tuple[OrderedHost, ...]:
        states = self._sight.states() if self._orders else {}
        return tuple(
            OrderedHost(
                host=order.host, wish=order.wish, state=str(states.get(order.host, HostState.UNKNOWN)),
                shards=self._owned()[order.host], since=order.since, until=order.until, by=order.by,
                reason=order.reason,
            )
            for order in self._orders
        )  # fmt: skip


def _why(order: HostOrder) -> Label:
    said = f"{'drained' if order.wish == 'drain' else 'cordoned'} by {order.by}"
    said += f" until {_time(order.until)}" if order.until else ""
    return scrub(f"{said}: {order.reason}" if order.reason else said, 2 * _LONGEST)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
