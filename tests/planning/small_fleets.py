"""Small fleets with forecasts, written down in a line or two for the planner's tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sidestep.fleet.contention import Contention
from sidestep.fleet.forecast import Forecast
from sidestep.fleet.inventory import Driver, FleetSpec, HostSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState, ShardState
from sidestep.fleet.placement import Owner, Placement
from sidestep.fleet.resources import DIMENSIONS
from sidestep.fleet.snapshot import HostColumns, ShardColumns, Snapshot
from sidestep.planning.load import foreseen
from sidestep.planning.uncertainty import NORMAL

NOW = 1_000_000.0
GIB = 1024**3


@dataclass
class ShardIn:
    """A shard: cores and bytes over the horizon (a number, or start and end), state size, neighbours avoided."""

    name: str
    host: str
    cpu: float | tuple[float, float] = 0.0
    memory: float | tuple[float, float] = 0.1 * GIB
    sd: float = 0.0
    state: float = 0.1 * GIB
    app: str = "kv"
    avoid: tuple[str, ...] = ()
    pinned: bool = False
    movable: bool = True
    shard_state: ShardState = ShardState.RUNNING
    priority: int = 3
    near: tuple[str, ...] = ()
    prefer_near: tuple[str, ...] = ()
    spread: str = ""
    requires: tuple[tuple[str, str], ...] = ()
    disk: float = 0.0
    guarantee_cpu: float = 0.0
    guarantee_memory: int = 0
    limit_cpu: float = 0.0
    limit_memory: int = 0
    keys: tuple[int, int] | None = None
    driver: Driver = "restart"


@dataclass
class HostIn:
    """A host: capacity and what it does beside its shards."""

    name: str
    cpu: float = 4.0
    memory: float = 8 * GIB
    state: HostState = HostState.READY
    cordoned: bool = False
    own_cpu: float = 0.0
    own_sd: float = 0.0
    zone: str = ""
    rack: str = ""
    disk: float = np.nan
    standby: bool = False
    cost: float = 0.0
    labels: tuple[tuple[str, str], ...] = ()
    #: why it cannot do what driver criu needs
    unable: str = ""


@dataclass
class Small:
    """A fleet at one instant, and the forecast that follows from its shards."""

    hosts: list[HostIn]
    shards: list[ShardIn]
    policy: Policy = field(default_factory=Policy)
    steps: int = 30
    step: float = 2.0
    confidence: str = "ok"

    def spec(self) -> FleetSpec:
        hosts = tuple(
            HostSpec(
                name=Label(h.name),
                address="127.0.0.1",
                cpu=h.cpu,
                memory=8 * GIB,
                cordoned=h.cordoned,
                zone=Label(h.zone),
                rack=Label(h.rack),
                standby=h.standby,
                cost=h.cost,
                labels=tuple((Label(k), Label(v)) for k, v in h.labels),
            )
            for h in self.hosts
        )
        shards = tuple(
            ShardSpec(
                name=Label(s.name),
                app=Label(s.app),
                host=Label(s.host),
                start="true",
                pinned=s.pinned,
                avoid=tuple(Label(a) for a in s.avoid),
                near=tuple(Label(a) for a in s.near),
                prefer_near=tuple(Label(a) for a in s.prefer_near),
                spread=s.spread,  # type: ignore[arg-type]
                requires=tuple((Label(k), Label(v)) for k, v in s.requires),
                disk=int(s.disk),
                priority=s.priority,
                guarantee_cpu=s.guarantee_cpu,
                guarantee_memory=s.guarantee_memory,
                limit_cpu=s.limit_cpu,
                limit_memory=s.limit_memory,
                keys=s.keys,
                queued=not s.host,
                driver=s.driver,
            )
            for s in self.shards
        )
        return FleetSpec(name=Label("small"), source="small.toml", hosts=hosts, shards=shards, policy=self.policy)

    def placement(self) -> Placement:
        owners = {Label(s.name): Owner(Label(s.host), row + 1) for row, s in enumerate(self.shards) if s.host}
        return Placement(len(self.shards), owners, {Label(s.name): 0 for s in self.shards if not s.host})

    def curves(self) -> np.ndarray:
        """(N, 2, T)"""
        ends = np.array([[_ends(s.cpu), _ends(s.memory)] for s in self.shards]).reshape(len(self.shards), 2, 2)
        ramp = np.linspace(0, 1, self.steps)
        return ends[..., :1] + (ends[..., 1:] - ends[..., :1]) * ramp

    def rows(self) -> np.ndarray:
        names = [h.name for h in self.hosts]
        return np.array([names.index(s.host) if s.host else -1 for s in self.shards], dtype=np.int32)

    def snapshot(self, number: int = 7) -> Snapshot:
        curves, rows = self.curves(), self.rows()
        blank = (len(DIMENSIONS) - 2,)
        shard_use = np.array([[*curves[i, :, 0], *np.zeros(blank)] for i in range(len(rows))]).reshape(len(rows), 6)
        use = np.zeros((len(self.hosts), len(DIMENSIONS)))
        shard_use[rows < 0] = np.nan
        np.add.at(use, rows[rows >= 0], shard_use[rows >= 0])
        use[:, 0] += [h.own_cpu for h in self.hosts]
        capacity = np.array([[h.cpu, h.memory, *[np.nan] * 4] for h in self.hosts]).reshape(-1, 6)
        hosts = HostColumns(
            names=tuple(Label(h.name) for h in self.hosts),
            states=tuple(h.state for h in self.hosts),
            reasons=tuple(Label("") for _ in self.hosts),
            zones=tuple(Label(h.zone) for h in self.hosts),
            racks=tuple(Label(h.rack) for h in self.hosts),
            disk=np.array([h.disk for h in self.hosts], dtype=np.float64),
            capacity=capacity,
            allocatable=capacity.copy(),
            use=use,
            pressure=np.zeros((len(self.hosts), 3)),
            age=np.zeros(len(self.hosts)),
            unable={h.name: Label(h.unable) for h in self.hosts if h.unable},
        )
        shards = ShardColumns(
            names=tuple(Label(s.name) for s in self.shards),
            apps=tuple(Label(s.app) for s in self.shards),
            states=tuple(s.shard_state if s.host else ShardState.PENDING for s in self.shards),
            host=rows,
            use=shard_use,
            state_bytes=np.array([s.state for s in self.shards], dtype=np.float64),
            priority=np.array([s.priority for s in self.shards], dtype=np.int32),
            token=np.arange(1, len(rows) + 1, dtype=np.int64),
            movable=np.array([s.movable for s in self.shards], dtype=np.bool_),
            disk=np.array([s.disk for s in self.shards], dtype=np.float64),
        )
        return Snapshot(number=number, time=NOW, generation=len(rows), hosts=hosts, shards=shards)

    def forecast(self) -> Forecast:
        """What an oracle would say that knows the curves, with the spread of a common factor."""
        curves, rows = self.curves(), self.rows()
        sd = np.zeros_like(curves)
        sd[:, 0] = np.array([s.sd for s in self.shards]).reshape(-1, 1)
        rho = self.policy.common_factor
        shape = (len(self.hosts), 2, self.steps)
        mean, var, dev = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        there = rows >= 0
        np.add.at(mean, rows[there], curves[there])
        np.add.at(var, rows[there], sd[there] ** 2)
        np.add.at(dev, rows[there], sd[there])
        curves[~there] = np.nan
        mean[:, 0] += np.array([h.own_cpu for h in self.hosts])[:, None]
        own = np.zeros(shape)
        own[:, 0] = np.array([h.own_sd for h in self.hosts])[:, None] ** 2
        spread = np.sqrt((1 - rho) * var + rho * dev**2 + own)
        return Forecast(
            id="forecast-1",
            snapshot=7,
            time=NOW,
            step=self.step,
            model=Label("test"),
            confidence=self.confidence,
            fallback=Label(""),
            hosts=(mean[..., None] + spread[..., None] * NORMAL).astype(np.float32),
            shard_mean=curves.astype(np.float32),
            shard_sd=sd.astype(np.float32),
        )

    def named(self, name: str) -> ShardIn:
        return next(s for s in self.shards if s.name == name)


def _ends(value: float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def acted_on(small: Small) -> tuple[Contention, ...]:
    """What is planned for: likely contention, and what only a move that begins now could still prevent."""
    foresight = foreseen(small.snapshot(), small.forecast(), small.policy)
    return (*foresight.contention, *foresight.imminent)
