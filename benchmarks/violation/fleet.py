"""A simulated fleet under a trace: a planner looks at every step, and what it moves is elsewhere at the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.violation.traces import THRESHOLD, Trace
from sidestep.autopilot.planner import propose
from sidestep.fleet.forecast import LEVELS, Forecast
from sidestep.fleet.inventory import FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.plans import Plan
from sidestep.fleet.resources import DIMENSIONS, PLANNED
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot

F64 = NDArray[np.float64]
#: what is asked at every step: a forecast of what comes, or of nothing
Ask = Callable[[Snapshot], Awaitable[Forecast]]
#: bytes of state of every shard, and memory of every host: never in short supply here
STATE: Final = 64 << 20
MEMORY: Final = 1 << 40


@dataclass(frozen=True)
class Lived:
    """What became of a fleet since shards may move: minutes of hosts above their limit, moves, and host-steps.

    ``moves_later`` and ``minutes_later`` are those of it from the scored time on, once a placement was found.
    ``minutes_given`` are those of the very first step, which are in nothing else: it was over before anybody had
    decided anything, and so is the same for all.
    """

    minutes: float
    moves: int
    violations: int
    steps: int
    moves_later: int = 0
    minutes_later: float = 0.0
    minutes_given: float = 0.0

    @classmethod
    def of(cls, trace: Trace, above: NDArray[np.int64], moves: NDArray[np.int64]) -> Lived:
        """From hosts above their limit (T,) and moves (T,) of every step."""
        first, begin = trace.first, trace.begin
        violations, minutes = int(above[first + 1 :].sum()), trace.step / 60
        return cls(
            violations * minutes, int(moves[first:].sum()), violations, (len(trace.demand) - first - 1) * trace.hosts,
            int(moves[begin:].sum()), float(above[max(begin, first + 1) :].sum() * minutes),
            float(above[first] * minutes),
        )  # fmt: skip


def policy_of(trace: Trace, **changes: object) -> Policy:
    """An hour ahead, in steps of the trace; one step above the limit is contention."""
    given: dict[str, object] = {
        "horizon": 12.0 * trace.step, "min_duration": float(trace.step), "threshold_cpu": THRESHOLD,
        "threshold_psi_cpu": 0.0, "threshold_psi_memory": 0.0, "threshold_psi_io": 0.0, "settle": 0.0,
        "concurrent": 0, "concurrent_per_host": 0,
    }  # fmt: skip
    return Policy(**(given | changes))  # type: ignore[arg-type]


class Fleet:
    """Hosts of one size, and shards that are where their placement says."""

    def __init__(self, trace: Trace, policy: Policy) -> None:
        self.trace, self.policy = trace, policy
        self.hosts = tuple(Label(f"h{row}") for row in range(trace.hosts))
        self.shards = tuple(Label(f"s{row}") for row in range(trace.demand.shape[1]))
        homes = [self.hosts[row] for row in trace.home.tolist()]
        self.spec = FleetSpec(
            name=Label("simulated"),
            source="simulated",
            hosts=tuple(HostSpec(name=n, address="0", cpu=trace.capacity, memory=MEMORY) for n in self.hosts),
            shards=tuple(ShardSpec(name=n, app=n, host=h, start="x") for n, h in zip(self.shards, homes, strict=True)),
            policy=policy,
        )
        self.placement = Placement(1, {n: Owner(h, 1) for n, h in zip(self.shards, homes, strict=True)})
        self.home = trace.home.copy()
        self._row = {name: row for row, name in enumerate(self.hosts)}

    async def learn(self, ask: Ask) -> None:
        """Through the time before shards move."""
        for at in range(self.trace.first):
            await ask(self.present(at))

    async def live(self, ask: Ask) -> Lived:
        """Through the rest, in which shards move."""
        trace = self.trace
        moves, above = np.zeros(len(trace.demand), np.int64), np.zeros(len(trace.demand), np.int64)
        for at in range(trace.first, len(trace.demand)):
            snapshot = self.present(at)
            above[at] = violated(trace, np.bincount(self.home, trace.demand[at], trace.hosts))
            moves[at] = self.act(snapshot, await ask(snapshot))
        return Lived.of(trace, above, moves)

    def present(self, at: int) -> Snapshot:
        """What a daemon would have seen when step ``at`` was over."""
        demand = self.trace.demand[at]
        return self.snapshot(at, demand, np.bincount(self.home, demand, self.trace.hosts).astype(np.float64))

    def act(self, snapshot: Snapshot, forecast: Forecast) -> int:
        """Do what the planner proposes; how many moves that is."""
        if forecast.confidence != "ok":
            return 0
        plan = propose(
            snapshot, forecast, self.policy, self.placement, fleet=self.spec, number=snapshot.number,
            created=snapshot.time,
        )  # fmt: skip
        if not isinstance(plan, Plan):
            return 0
        done = [action for action in plan.actions if action.kind == "migrate"]
        for action in done:
            token = self.placement.owners[action.shard].token
            self.placement = self.placement.move(action.shard, action.destination, expected_token=token)
            self.home[self.shards.index(action.shard)] = self._row[action.destination]
        return len(done)

    def foreknown(self, snapshot: Snapshot, steps: int) -> Forecast:
        """What will be, for certain, that many steps ahead, as the shards are placed now; the last step goes on."""
        at = snapshot.number + np.arange(steps)
        coming = self.trace.demand[np.minimum(at, len(self.trace.demand) - 1)]
        mean = np.full((len(self.shards), PLANNED, steps), STATE, np.float32)
        mean[:, DIMENSIONS.index("cpu")] = coming.T
        hosts = np.zeros((self.trace.hosts, PLANNED, steps), np.float32)
        np.add.at(hosts, self.home, mean)
        return Forecast(
            id="foreknown", snapshot=snapshot.number, time=snapshot.time, step=float(self.trace.step),
            model=Label("foreknown"), confidence="ok", fallback=Label(""),
            hosts=np.broadcast_to(hosts[..., None], (*hosts.shape, len(LEVELS))), shard_mean=mean,
            shard_sd=np.zeros_like(mean),
        )  # fmt: skip

    def snapshot(self, at: int, demand: F64, use: F64) -> Snapshot:
        """The same, of demand (S,) and use of hosts (H,)."""
        count, cpu, memory = self.trace.hosts, DIMENSIONS.index("cpu"), DIMENSIONS.index("memory")
        capacity = np.full((count, len(DIMENSIONS)), np.nan)
        capacity[:, cpu], capacity[:, memory] = self.trace.capacity, MEMORY
        used, mine = np.zeros_like(capacity), np.zeros((len(self.shards), len(DIMENSIONS)))
        used[:, cpu], mine[:, cpu] = use, demand
        used[:, memory], mine[:, memory] = np.bincount(self.home, minlength=count) * STATE, STATE
        blank = (Label(""),) * count
        hosts = HostColumns(
            names=self.hosts, states=(HostState.READY,) * count, reasons=blank, zones=blank, capacity=capacity,
            allocatable=capacity, use=used, pressure=np.full((count, 3), np.nan), age=np.zeros(count),
        )  # fmt: skip
        shards = ShardColumns(
            names=self.shards, apps=self.shards, states=(ShardState.RUNNING,) * len(self.shards),
            host=self.home.astype(np.int32), use=mine, state_bytes=np.full(len(self.shards), float(STATE)),
            priority=np.full(len(self.shards), 3, np.int32),
            token=np.array([self.placement.owners[name].token for name in self.shards], np.int64),
            movable=np.ones(len(self.shards), np.bool_),
        )  # fmt: skip
        return Snapshot(
            number=at + 1, time=1.7e9 + (at + 0.5) * self.trace.step, generation=self.placement.generation,
            hosts=hosts, shards=shards,
        )  # fmt: skip


def violated(trace: Trace, use: NDArray[np.floating | np.integer]) -> int:
    """Hosts above their limit; a hair is arithmetic."""
    return int((use > THRESHOLD * trace.capacity * (1 + 1e-9)).sum())


def greedy(fleet: Fleet, demand: F64) -> int:
    """What a rule does: while a host is above its limit, the largest of its shards that fits goes to the emptiest."""
    trace, moves = fleet.trace, 0
    limit = THRESHOLD * trace.capacity
    use = np.bincount(fleet.home, demand, trace.hosts)
    for host in np.flatnonzero(use > limit).tolist():
        for shard in sorted(np.flatnonzero(fleet.home == host).tolist(), key=lambda row: -demand[row]):
            to = int(np.argmin(use))
            if use[host] > limit and use[to] + demand[shard] <= limit:
                fleet.home[shard] = to
                use[host], use[to], moves = use[host] - demand[shard], use[to] + demand[shard], moves + 1
    return moves
