"""What a move costs: moves a minute, how long its users wait, and what the controller spends on it.

Real OpenSSH servers on loopback, real shards: a durable counter, whose acknowledged requests are on
disk, with ballast beside its log. A client asks each shard a thousand times a second, at both hosts;
the longest time in which nobody answers is the *downtime*. ``stop; rsync; start`` moves the same
service between the same hosts in the same turns, over ssh connections that stay open; it checks no
digest, knows no token, and leaves the shard nowhere when it is interrupted. The restart is that
of ``python -m benchmarks.restart``.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import restart
from benchmarks.executor_stage import FIRST_PORT, PEER_PORT, Peer, Probe, Stage, durable, missing
from benchmarks.farm import Farm, farm
from benchmarks.harness import Goal, Report, Sample, Spread, interleave, main
from sidestep.autopilot.config_file import load_fleet
from sidestep.fleet.inventory import Policy

#: bytes of ballast, and moves of each
SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "64 KiB": (64 << 10, 60),
    "4 MiB": (4 << 20, 60),
    "64 MiB": (64 << 20, 30),
}
QUICK: Final[Mapping[str, tuple[int, int]]] = {"64 KiB": (64 << 10, 4), "4 MiB": (4 << 20, 3)}
#: shards of the plan whose moves a minute are counted, and its hosts
SHARDS, HOSTS = 12, 4
_AT_ONCE: Final = Policy(observe=0.0)
_Rows = dict[str, dict[str, Spread]]


def quantile(values: list[float], share: float) -> float:
    """The value that this share of the others does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _figures(values: Mapping[str, list[float]]) -> dict[str, Spread]:
    """Median and extremes of each, and of downtimes and freezes the 99th percentile besides."""
    rows = {key: Spread.of(found) for key, found in values.items()}
    for key, found in values.items():
        if key.endswith("_ms"):
            rows[f"{key[:-3]}_p99_ms"] = Spread.of([quantile(found, 0.99)])
    return rows


async def freezes(servers: Farm, folder: Path, sizes: Mapping[str, tuple[int, int]]) -> _Rows:
    """Downtime of moves of ours, of the peer, and of the peer that copies ahead, in turns."""
    rows: _Rows = {}
    names = {size: f"s{number}" for number, size in enumerate(sizes)}
    shards = [durable(name, servers.hosts[0].name, FIRST_PORT + n) for n, name in enumerate(names.values())]
    (folder / "freeze").mkdir()
    async with Stage(servers, folder, shards) as stage:
        for number, (size, (ballast, moves)) in enumerate(sizes.items()):
            await stage.start(names[size], ballast)
            peer = await asyncio.to_thread(Peer, servers, folder / f"peer-{number}", ballast)
            ours, theirs = Probe(servers, FIRST_PORT + number), Probe(servers, PEER_PORT)
            try:
                rows |= await _turns(stage, names[size], peer, (ours, theirs), size, moves)
            finally:
                ours.close()
                theirs.close()
                await asyncio.to_thread(peer.close)
    return rows


async def _turns(stage: Stage, shard: str, peer: Peer, probes: tuple[Probe, Probe], size: str, moves: int) -> _Rows:
    ours: dict[str, list[float]] = {"downtime_ms": [], "freeze_ms": [], "cpu_s": []}
    theirs: dict[str, list[float]] = {"downtime_ms": []}
    ahead: dict[str, list[float]] = {"downtime_ms": []}
    hosts = [str(host.name) for host in stage.farm.hosts]
    await asyncio.sleep(0.3)  # both clients have had their first answers
    for _ in range(moves):
        probes[0].longest()
        began = _cpu()
        status = await stage.move([(shard, hosts[1 - hosts.index(stage.where(shard))])], _AT_ONCE)
        ours["cpu_s"].append(_cpu() - began)
        ours["downtime_ms"].append(probes[0].longest())
        ours["freeze_ms"].append(status.actions[0].freeze_ms)
        for step in status.actions[0].steps:
            ours.setdefault(f"of it {step.name} ms", []).append(step.ms)
        for kept, first in ((theirs, False), (ahead, True)):
            probes[1].longest()
            await asyncio.to_thread(peer.move, ahead=first)
            kept["downtime_ms"].append(probes[1].longest())
    return {
        f"move of {size}": _figures(ours),
        f"stop; rsync; start of {size}": _figures(theirs),
        f"rsync; stop; rsync; start of {size}": _figures(ahead),
    }


async def rates(servers: Farm, folder: Path, runs: int, count: int = SHARDS) -> _Rows:
    """Moves a minute of a plan that takes shards from every host to the next."""
    shards = [durable(f"r{n}", servers.hosts[n % HOSTS].name, FIRST_PORT + 100 + n) for n in range(count)]
    policies = {"one at a time": Policy(concurrent=1), "policy": Policy(), "policy, observed for 0 s": _AT_ONCE}
    seen: dict[str, list[float]] = {name: [] for name in policies}
    hosts = [str(host.name) for host in servers.hosts]
    async with Stage(servers, folder, shards) as stage:
        for shard in shards:
            await stage.start(shard.name, 64 << 10)
        for _ in range(runs):
            for name, policy in policies.items():
                to = [(str(s.name), hosts[(hosts.index(stage.where(s.name)) + 1) % HOSTS]) for s in shards]
                began = time.perf_counter()
                await stage.move(to, policy)
                seen[name].append(count * 60.0 / (time.perf_counter() - began))
    return {f"plan of moves, {name}": {"moves_per_min": Spread.of(found)} for name, found in seen.items()}


def restarts(folder: Path, runs: int) -> _Rows:
    """Seconds from exec until the fleet is seen and held again."""
    (folder / "state").mkdir(mode=0o700)
    file = restart.fleet_file(folder)
    restart.fill(folder / "state" / "journal.db", load_fleet(file))
    restart.restart(file, folder)

    def once() -> Sample:
        return restart.restart(file, folder)

    return interleave({"restart": once}, runs)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(quick: bool) -> Report:
    """Moves over real SSH: rate, downtime beside ``stop; rsync; start``, restart, and CPU."""
    if tool := missing():
        raise RuntimeError(f"{tool} is not installed: the peer needs it")
    runs, sizes, shards = (1, QUICK, HOSTS) if quick else (5, SIZES, SHARDS)
    with tempfile.TemporaryDirectory(prefix="ss-move-") as made:
        folder = Path(made)
        again = folder / "restart"
        again.mkdir(mode=0o700)
        figures = restarts(again, 1 if quick else 5)
        for part in ("freezes", "rates"):
            (folder / part).mkdir()
        with farm(2, folder / "freezes") as servers:
            figures |= asyncio.run(freezes(servers, folder / "freezes", sizes))
        with farm(HOSTS, folder / "rates") as servers:
            figures |= asyncio.run(rates(servers, folder / "rates", runs, shards))
    return Report("executor", _goals(figures, sizes), figures, runs, quick, _notes(sizes, shards))


def _goals(figures: _Rows, sizes: Mapping[str, tuple[int, int]]) -> tuple[Goal, ...]:
    goals = []
    for size in sizes:
        ours, plain = figures[f"move of {size}"], figures[f"stop; rsync; start of {size}"]
        ahead = figures[f"rsync; stop; rsync; start of {size}"]
        for key, name in (("downtime_ms", "p50"), ("downtime_p99_ms", "p99")):
            peers = {"stop; rsync; start": plain[key].median, "rsync; stop; rsync; start": ahead[key].median}
            least = min(peers.values())
            goals.append(Goal(f"downtime of {size}, {name}", ours[key].median, "ms", round(least, 1), "<", peers))
    cpu = [figures[f"move of {size}"]["cpu_s"].median for size in sizes]
    rate = {name.rpartition(", ")[2]: rows["moves_per_min"].median for name, rows in figures.items() if "plan" in name}
    by_policy = figures["plan of moves, policy"]["moves_per_min"].median
    goals += [
        Goal("moves a minute as the policy has it", by_policy, "a minute", 30.0, ">", rate),
        Goal("restart to control regained", figures["restart"]["wall_s"].median, "s", 2.0, "<"),
        Goal("controller's CPU a move", statistics.median(cpu), "s", 0.25, "<"),
    ]
    return tuple(goals)


def _notes(sizes: Mapping[str, tuple[int, int]], shards: int) -> tuple[str, ...]:
    moves = ", ".join(f"{count} of {size}" for size, (_, count) in sizes.items())
    return (
        f"moves of each contender: {moves}; p99 of so few is nearly their worst",
        "the policy: 4 moves at a time and 1 a host, every destination watched for 2 s; downtimes with 0 s",
        "CPU: executor, journal and SSH in this process, without sampling and forecasts",
        f"hosts share this machine's disk and its cores; {shards} shards on {HOSTS} hosts for the rate",
    )


if __name__ == "__main__":
    main("executor", run)
