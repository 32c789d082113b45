"""What the configuration declares: the fleet, its hosts, its shards and the policy.

Values only, already checked; ``config`` makes them from TOML. Sizes are bytes, times are
seconds, cpu is cores.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

from msgspec import Struct

from sidestep.fleet.actions import ActionSpec, Standing
from sidestep.fleet.labels import Label
from sidestep.fleet.pools import PoolSpec
from sidestep.fleet.routing import RouterSpec
from sidestep.fleet.sources import SourceSpec

RoundTripMode = Literal["auto", "on", "off"]
Level = Literal["off", "shadow", "advise", "semi", "full"]
Driver = Literal["restart", "hook", "criu"]
#: how a host is sampled; "sftp" reads the same numbers through SFTP alone, for keys that allow no command
SamplerKind = Literal["auto", "python", "perl", "awk", "sh", "sftp"]
#: what can fail as one, smallest first; "" is none
Domain = Literal["", "host", "rack", "zone"]
#: what makes a plan cheap: few moves, or few bytes
Preference = Literal["moves", "bytes"]
#: everything that the planner may propose, if the policy's ``kinds`` name it
Kind = Literal[
    "migrate", "resize", "split", "merge", "activate", "deactivate", "preempt", "failover", "drain", "place", "apply"
]
#: what becomes of a shard whose host is lost: it waits for the host, starts elsewhere with an empty state, or
#: comes back elsewhere from its newest capsule
Failover = Literal["wait", "restart", "capsule"]

#: what alerts are told about
AlertKind = Literal["contention", "hosts", "plans", "daemon"]


class HostSpec(Struct, frozen=True, kw_only=True):
    """One Linux host reached over SSH, with the capacity that may be handed out."""

    name: Label
    address: str
    port: int = 22
    user: str = ""
    #: cores and bytes, 0 where the host says itself what it has; the reserve is kept free and never handed out
    cpu: float = 0.0
    memory: int = 0
    reserve_cpu: float = 0.0
    reserve_memory: int = 0
    #: the same as a share of what a host that declares no capacity turns out to have
    reserve_cpu_percent: float = 0.0
    reserve_memory_percent: float = 0.0
    zone: Label = Label("")
    rack: Label = Label("")  #: smaller failure domain, within one zone
    #: bytes of storage that may be handed out; 0 is not known, and no limit
    disk: int = 0
    standby: bool = False  #: receives nothing until a plan activates it
    cost: float = 0.0  #: per hour, for the cost-aware policy
    cordoned: bool = False
    #: sorted; what policies and filters choose hosts by
    labels: tuple[tuple[Label, Label], ...] = ()
    #: groups of the fleet file that the host is in, sorted
    groups: tuple[Label, ...] = ()
    #: private key file of this host; empty is the fleet's
    identity: str = ""
    #: jump hosts as ProxyJump writes them; empty is what ssh_config says, "none" is none at all
    jump: str = ""
    sampler: SamplerKind = "auto"
    #: automation level of what touches this host; "" is the fleet's
    level: Level | Literal[""] = ""
    #: command run on the controller that returns 0 once this host is surely off; "" is none
    fence: str = ""
    #: socket there at which apps ask for locks; "" is none
    locks: str = ""
    #: the transport by the name of its plugin
    transport: str = "asyncssh"

    def capacity(self, cpus: float = math.nan, memory: float = math.nan) -> tuple[float, float]:
        """Cores and bytes: what is declared, else what was discovered; NaN is not known yet."""
        return self.cpu or cpus, self.memory or memory

    def allocatable(self, cpus: float = math.nan, memory: float = math.nan) -> tuple[float, float]:
        """Cores and bytes that may be handed out of that capacity; NaN is not known yet, or nothing is left."""
        cores, size = self.capacity(cpus, memory)
        return (
            _left(cores, self.reserve_cpu, self.reserve_cpu_percent),
            _left(size, self.reserve_memory, self.reserve_memory_percent),
        )


def _left(capacity: float, reserve: float, percent: float) -> float:
    left = capacity - reserve - capacity * percent / 100
    return left if left > 0 else math.nan


class ShardSpec(Struct, frozen=True, kw_only=True):
    """One shard as declared: where it starts, and the commands of its driver.

    Commands are run by the host's POSIX shell with ``SHARD``, ``TOKEN``, ``PORT``,
    ``ADDRESS`` and ``STATE`` (a directory of the shard's own on that host) in the
    environment. ``save`` writes the state to standard output, ``load`` reads it from
    standard input, ``quiesce`` makes the app refuse work, ``resume`` makes it serve.
    ``ready`` exits 0 once the app answers.
    """

    name: Label
    app: Label
    host: Label
    backend: str = "process"
    driver: Driver = "restart"
    start: str
    save: str = ""
    load: str = ""
    quiesce: str = ""
    resume: str = ""
    ready: str = ""
    port: int = 0
    #: half-open range of the app's 16-bit key space, for the routing table
    keys: tuple[int, int] | None = None
    priority: int = 3
    pinned: bool = False
    #: names of apps or shards that must not share a host with this one
    avoid: tuple[Label, ...] = ()
    #: names of apps (all of their shards) or shards that must share its host, and that had better be near
    near: tuple[Label, ...] = ()
    prefer_near: tuple[Label, ...] = ()
    #: failure domain over which its app is spread: no two shards share one while there are enough, then a fair share
    spread: Domain = ""
    #: sorted; labels that its host must have
    requires: tuple[tuple[Label, Label], ...] = ()
    disk: int = 0  #: bytes of storage that it takes
    #: cores and bytes that are never taken away, whatever else is in need
    guarantee_cpu: float = 0.0
    guarantee_memory: int = 0
    #: present limits, which a resize changes; 0 is none
    limit_cpu: float = 0.0
    limit_memory: int = 0
    splittable: bool = True  #: whether its keys may be divided, where it has any
    #: automation level of what is done to it; "" is the fleet's
    level: Level | Literal[""] = ""
    #: what becomes of it when its host is lost
    failover: Failover = "wait"
    #: hosts that keep a copy of its newest capsule, in failure domains of their own, and seconds between capsules
    replicas: int = 0
    replicate_every: float = 60.0
    #: whether it begins in the queue: the planner chooses its first host, and ``host`` is only a wish
    queued: bool = False
    #: whether its capsules are taken while it refuses work (``quiesce``), since its ``save`` needs that
    replicate_quiet: bool = False
    #: removes the keys LO to HI (half-open) of its state; having it says that save and load heed LO and HI, too
    drop: str = ""
    #: whether it runs only once another shard of its app was split, and has no keys before
    spare: bool = False
    #: bytes a second that it may read from and write to the disk of its state; 0 is no limit
    limit_read: int = 0
    limit_write: int = 0
    #: where the app expects its state folder, for backends that can put it there; "" is wherever STATE says
    state_path: str = ""


class Policy(Struct, frozen=True, kw_only=True):
    """When to act, how much, and how sure to be; part of every plan's digest.

    ``threshold_*`` are fractions of allocatable capacity. A host is in contention when
    demand at ``quantile`` stays above the threshold for ``min_duration`` seconds, or when
    tasks stand still for more than a fraction ``threshold_psi_*`` of the time (0 is off).
    Composition of named policies is over when this is made (``fleet.policies``). Fields from
    ``aggressiveness`` on came later: a plan of before reads back with their defaults and keeps
    its digest (``Plan.canonical``), so these defaults stay for ever, and new fields go to the end.
    """

    name: Label = Label("proactive")
    quantile: float = 0.8
    threshold_cpu: float = 0.8
    threshold_memory: float = 0.85
    threshold_psi_cpu: float = 0.4
    threshold_psi_memory: float = 0.2
    threshold_psi_io: float = 0.3
    min_probability: float = 0.5
    min_duration: float = 5.0
    horizon: float = 60.0
    #: never act later than predicted contention - estimated transfer - margin
    margin: float = 5.0
    max_moves: int = 8
    settle: float = 20.0
    #: predicted peak must fall by at least this fraction of capacity, or the move is not worth it
    min_gain: float = 0.02
    #: correlation between shards' forecast errors (sums of quantiles would raise far too many alarms)
    common_factor: float = 0.3
    expire: float = 300.0
    #: how long the destination is watched before the source is released
    observe: float = 2.0
    step_deadline: float = 15.0
    #: 1 only what is mandatory .. 5 anything that helps; ``fleet.policies.effective`` says what it does
    aggressiveness: int = 3
    prefer: Preference = "moves"
    #: what destinations are chosen by, the first first; names of ``planning.goals`` or of plugins
    goals: tuple[Label, ...] = (Label("headroom"),)
    kinds: tuple[Kind, ...] = ("migrate",)
    #: keep room for the loss of any one of these domains
    tolerate: Domain = ""
    #: moves that run at a time: in all, per host, app and zone; 0 is no cap
    concurrent: int = 4
    concurrent_per_host: int = 1
    concurrent_per_app: int = 0
    concurrent_per_zone: int = 0
    #: a shard is to be split when it takes more than this share of its host's allocatable cores,
    #: or answers more slowly (p95, seconds; 0 is off), in m of the last n windows
    split_cpu: float = 0.8
    split_latency: float = 0.0
    split_windows: tuple[int, int] = (3, 5)
    #: cores and bytes in whole multiples of which shards are sized
    quantum_cpu: float = 0.5
    quantum_memory: int = 2 << 30
    #: the optimiser's: the same seed and iterations make the same plan
    seed: int = 1
    iterations: int = 20_000
    #: whoever approves has to say why, and has to be somebody else than the plan's author
    reason_required: bool = False
    two_person: bool = False
    #: weekly ranges within which plans may be approved (empty: always), dates on which none may, and
    #: weekly ranges within which none is approved by itself; local time of ``zone`` (``fleet.windows``)
    windows: tuple[Label, ...] = ()
    freezes: tuple[Label, ...] = ()
    quiet: tuple[Label, ...] = ()
    zone: Label = Label("UTC")
    #: what level semi approves by itself: actions at least this important, plans of at most so many
    #: bytes, freezes of at most so many seconds, contention at least so likely and so many seconds ahead
    semi_priority: int = 3
    semi_bytes: int = 1 << 30
    semi_freeze: float = 1.0
    semi_probability: float = 0.7
    semi_lead_least: float = 0.0
    semi_lead_most: float = 3600.0
    #: bytes a second that all moves together may carry; 0 is no cap
    bandwidth: int = 0
    #: shards of strictly lower priority that one plan may send to the queue
    preempt_most: int = 2
    constraints: tuple[Label, ...] = ()  #: of plugins, hard (``planning.constraints``)


class CandidateSpec(Struct, frozen=True, kw_only=True):
    """A forecaster that competes with the oracle's own model: any importable sktime forecaster, by its path.

    ``params`` is JSON of its constructor's keyword arguments. ``group`` is a host group, an app, or
    "" for everything; ``metrics`` are names of HOST_SERIES and SHARD_SERIES.
    """

    name: Label
    model: str
    params: str = "{}"
    group: str = ""
    metrics: tuple[str, ...] = ("cpu",)


class TrainerSpec(Struct, frozen=True, kw_only=True):
    """How champions are chosen: every ``every`` seconds, by rolling origin on the newest ``history`` seconds.

    A challenger is promoted when its scaled CRPS is at least ``margin`` (a fraction) below the champion's.
    """

    enabled: bool = True
    every: float = 3600.0
    history: float = 14 * 86400.0
    margin: float = 0.03
    #: seconds of processor time that one round may take
    budget: float = 600.0


class OracleSpec(Struct, frozen=True, kw_only=True):
    """How the forecasting worker runs. ``season`` is the length of a day in seconds; 0 is none."""

    enabled: bool = True
    model: str = "aggregate"
    season: float = 86400.0
    candidates: tuple[CandidateSpec, ...] = ()
    trainer: TrainerSpec = TrainerSpec()
    #: grid step of the panel in seconds; 0 is automatic: a sixtieth of the horizon, but no less than the interval
    step: float = 0.0
    #: valid steps needed before a forecast counts (``confidence: insufficient`` until then)
    min_steps: int = 20
    deadline: float = 5.0


class HistorySpec(Struct, frozen=True, kw_only=True):
    """What is kept of the past on the controller's disk: for ``keep`` seconds, within ``max_bytes``.

    ``pictures`` are the seconds between two recorded pictures for ``sidestep replay``, 0 for none.
    """

    enabled: bool = True
    keep: float = 35 * 86400.0
    max_bytes: int = 8 << 30
    pictures: float = 5.0
    pictures_max_bytes: int = 2 << 30


class MetricsSpec(Struct, frozen=True, kw_only=True):
    """Where metrics are served: ``ADDRESS:PORT``; empty is nowhere."""

    listen: str = ""


class FailoverSpec(Struct, frozen=True, kw_only=True):
    """When a host is given up, and what is done then.

    A host that is DEAD for ``grace`` seconds is lost. Its shards run under a lease of ``lease`` seconds: a host
    that does not hear from us stops them by itself, and ``margin`` seconds later they may start elsewhere.
    Nothing is failed over while ``brake_hosts`` hosts or the share ``brake_share`` of the fleet are lost. A host
    that was lost gets nothing new for ``quarantine`` seconds; a shard that was on ``poison_hosts`` hosts as these
    were lost within ``poison_window`` seconds of its arrival is poisoned.
    """

    grace: float = 15.0
    lease: float = 15.0
    margin: float = 2.0
    brake_hosts: int = 10
    brake_share: float = 0.4
    quarantine: float = 600.0
    poison_hosts: int = 2
    poison_window: float = 3600.0


class AlertsSpec(Struct, frozen=True, kw_only=True):
    """Where alerts go, and how many; ``targets`` say where the addresses are, since these hold secrets.

    What is wrong for ``after`` seconds is told; ``limit`` messages an hour at most, the rest together
    in the next one.
    """

    targets: tuple[str, ...] = ()
    kinds: tuple[AlertKind, ...] = ("contention", "hosts", "plans", "daemon")
    after: float = 15.0
    limit: int = 20


class FleetSpec(Struct, frozen=True, kw_only=True, dict=True):
    """A whole fleet as one file declares it."""

    name: Label
    source: str
    hosts: tuple[HostSpec, ...]
    shards: tuple[ShardSpec, ...]
    policy: Policy = Policy()
    oracle: OracleSpec = OracleSpec()
    history: HistorySpec = HistorySpec()
    metrics: MetricsSpec = MetricsSpec()
    alerts: AlertsSpec = AlertsSpec()
    failover: FailoverSpec = FailoverSpec()
    level: Level = "advise"
    interval: float = 1.0  #: seconds between samples
    known_hosts: str = ""
    identity: str = ""
    #: the ssh_config to read: empty is the user's own if there is one, "none" is none
    ssh_config: str = ""
    #: where the passphrase of encrypted identities comes from: "file:PATH" or "command:LINE"; never the secret
    passphrase: str = ""
    connect_timeout: float = 5.0
    #: seconds between keepalives; a connection that misses two is lost
    keepalive: float = 5.0
    #: handshakes at a time: in all, and to one address or through one jump host
    handshakes: int = 32
    handshakes_per_address: int = 8
    #: whether hosts measure round trips to each other: "auto" is up to 64 hosts
    round_trips: RoundTripMode = "auto"
    #: unix socket of the router; empty when the fleet routes by itself
    router: str = ""
    #: automation levels of apps that have their own, sorted
    app_levels: tuple[tuple[Label, Label], ...] = ()
    #: ssh-keygen's file of allowed signers, whose signed approvals count; empty is nobody
    signers: str = ""
    #: says so on every screen: "" or "EMBEDDED" or "SIMULATED"
    banner: Label = Label("")
    #: shown beside the banner, such as "time runs 1440 times faster"
    notice: Label = Label("")
    #: how requests are routed; None where ``router`` says it, or nobody routes
    routing: RouterSpec | None = None
    pools: tuple[PoolSpec, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    actions: tuple[ActionSpec, ...] = ()
    standing: tuple[Standing, ...] = ()  #: actions that are in force now, as the journal knows

    def host(self, name: str) -> HostSpec:
        """The host of that name. Raises KeyError."""
        return self._by_name[0][name]

    def shard(self, name: str) -> ShardSpec:
        """The shard of that name. Raises KeyError."""
        return self._by_name[1][name]

    @cached_property
    def _by_name(self) -> tuple[dict[str, HostSpec], dict[str, ShardSpec]]:
        """Hosts and shards by name, made when somebody first asks; of two with one name the first counts."""
        return {h.name: h for h in reversed(self.hosts)}, {s.name: s for s in reversed(self.shards)}
