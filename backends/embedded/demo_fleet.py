"""The fleet file of a demonstration: embedded hosts, counter shards, a compressed day."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Final

from sidestep.backends.embedded.hosts import EmbeddedFleet
from sidestep.backends.embedded.scenario import Scenario
from sidestep.backends.embedded.traffic import APP, key_range, router_socket
from sidestep.fleet.inventory import FleetSpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import scrub

#: the counter service, which every host of this machine can read
COUNTER: Final = Path(__file__).resolve().with_name("counter.py")
FIRST_PORT: Final = 7001
#: sizes of the shards' states in turn, bytes
PADDING: Final = (64 << 10, 128 << 10, 256 << 10, 512 << 10)


def counter_shard(
    name: str,
    host: str,
    *,
    port: int,
    keys: tuple[int, int] | None = None,
    cost: float = 0.002,
    padding: int = PADDING[1],
    priority: int = 3,
) -> ShardSpec:
    """A counter as a shard of the hook driver: ``cost`` processor seconds a request, ``padding`` bytes of ballast."""
    program = f"python3 -S -I {quote(str(COUNTER))}"
    return ShardSpec(
        name=scrub(name),
        app=scrub(APP),
        host=scrub(host),
        driver="hook",
        start=f"exec {program} serve --standby --report --cost {cost} --padding {padding}",
        save=f"exec {program} save",
        load=f"exec {program} load",
        quiesce=f"exec {program} quiesce",
        resume=f"exec {program} resume",
        ready=f"exec {program} ready",
        port=port,
        keys=keys,
        priority=priority,
    )


def demo_spec(fleet: EmbeddedFleet, plot: Scenario, folder: Path) -> FleetSpec:
    """The fleet of a scenario on started embedded hosts."""
    count = len(plot.loads)
    return FleetSpec(
        name=scrub("demo"),
        source=str(folder / "fleet.toml"),
        ssh_config="none",
        hosts=fleet.hosts,
        shards=tuple(
            counter_shard(
                load.name,
                fleet.hosts[load.host].name,
                port=FIRST_PORT + index,
                keys=key_range(index, count),
                cost=plot.cost,
                padding=PADDING[index % len(PADDING)],
            )
            for index, load in enumerate(plot.loads)
        ),
        policy=Policy(quantile=0.8, threshold_cpu=plot.threshold, horizon=60.0, min_duration=5.0),
        oracle=OracleSpec(model="trend", season=plot.day, step=1.0),
        interval=1.0,
        known_hosts=str(fleet.known_hosts),
        identity=str(fleet.identity),
        router=str(router_socket(folder)),
        banner=scrub("EMBEDDED"),
        notice=scrub(plot.notice),
    )
