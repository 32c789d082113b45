"""What happens when connections are lost: how soon it is seen, how soon all are back, what stays behind.

A storm cuts every connection of a fleet at once and heals it later; the same world runs with
neighbour wake (ours), with plain exponential back-off and with a fixed pause. A silent cut
stops the hosts without closing anything. The orphans are counted on real sshds.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.farm import SSHD, Farm, farm
from benchmarks.harness import Goal, Report, Spread, interleave, main
from sidestep.autopilot import eventloop
from sidestep.autopilot.world import World
from sidestep.autopilot.world_clock import Clock
from sidestep.autopilot.world_connect import Pace
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import HostState

PACES: Final[Mapping[str, Pace]] = {
    "neighbour wake": Pace(),
    "exponential": Pace(jitter=False, spread=None),
    "fixed pause": Pace(first=1.0, longest=1.0, jitter=False, spread=None),
}
#: share of the hosts that must be back
MOST: Final = 0.99
#: real hosts whose samplers are counted
REAL: Final = 20
_POLL: Final = 0.02
_NAME: Final = f"storm-{os.getpid()}"


class Streams:
    """Embedded hosts in processes of their own, and the words that cut and heal them."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self.folder = process, folder
        self.pids: list[int] = list(self._answer()["processes"])

    def say(self, word: str) -> None:
        """Say one word and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        self._answer()

    def still(self, stopped: bool) -> None:
        """Stop the hosts where they are, every socket open; or let them go on."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)

    def fleet(self) -> FleetSpec:
        """All hosts, without shards."""
        listed = json.loads((self.folder / "hosts.json").read_text("utf-8"))
        hosts = tuple(
            HostSpec(name=Label(h["name"]), address=h["address"], port=h["port"], user=h["user"]) for h in listed
        )
        return FleetSpec(name=Label("storm"), source="", hosts=hosts, shards=())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))


@contextmanager
def streams(hosts: int) -> Iterator[Streams]:
    """Embedded hosts for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="sidestep-storm-") as folder:
        command = [sys.executable, "-m", "benchmarks.streams", "--hosts", str(hosts), "--dir", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Streams(process, Path(folder))
            finally:
                process.communicate("quit\n", timeout=30)


class Counted(AsyncsshTransport):
    """Counts attempts to connect."""

    attempts = 0

    async def connect(self) -> None:
        """Connect and authenticate."""
        Counted.attempts += not self.connected
        await super().connect()


def world_of(hosts: Streams, pace: Pace, said: list[str]) -> World:
    """A world over these hosts, as the daemon has it."""
    keys, ring = HostKeys.load(hosts.folder / "known_hosts"), KeyRing()
    identity = str(hosts.folder / "identity")

    def transport(spec: HostSpec) -> Counted:
        return Counted(plain_target(spec, identity=identity), keys, ring=ring)

    return World(hosts.fleet(), transport, clock=Clock(), report=said.append, pace=pace)


async def all_up(world: World, deadline: float = 120.0) -> None:
    """Wait until every host is READY. Raises TimeoutError."""
    async with asyncio.timeout(deadline):
        while True:
            if set(world.states().values()) == {HostState.READY}:
                return
            await asyncio.sleep(_POLL)


async def storm(hosts: Streams, pace: Pace, outage: float, patience: float) -> dict[str, float]:
    """Seconds until shares of the hosts gave a new sample, since the last one can be reached again."""
    said: list[str] = []
    world = world_of(hosts, pace, said)
    running = asyncio.create_task(world.run())
    try:
        await all_up(world)
        said.clear()
        Counted.attempts = 0
        await asyncio.to_thread(hosts.say, "cut")
        await asyncio.sleep(outage)
        tried = Counted.attempts
        ordered = healed = time.monotonic()
        healing = asyncio.create_task(asyncio.to_thread(hosts.say, "heal"))
        back = np.full(len(world.panel.seen), np.inf)
        while time.monotonic() < healed + patience and np.isinf(back).any():
            await asyncio.sleep(_POLL)
            healed = healed if healing.done() else time.monotonic()
            new = (world.panel.seen > ordered) & np.isinf(back)
            back[new] = world.panel.seen[new]
    finally:
        running.cancel()
        await asyncio.wait((running,), timeout=30)
    finite = np.sort(np.clip(back - healed, 0.0, patience))
    return {
        "half_back_s": float(finite[len(finite) // 2]),
        "most_back_s": float(finite[int(np.ceil(MOST * len(finite))) - 1]),
        "all_back_s": float(finite[-1]),
        "attempts_a_host_while_down": tried / len(finite),
        "log_lines": float(len(said)),
    }


async def silent_cut(hosts: Streams) -> dict[str, float]:
    """Seconds until all hosts are SUSPECT and DEAD after they stopped without closing anything."""
    world = world_of(hosts, Pace(), [])
    running = asyncio.create_task(world.run())
    found: dict[str, float] = {}
    try:
        await all_up(world)
        hosts.still(True)
        cut = time.monotonic()
        while len(found) < 2 and time.monotonic() < cut + 60:
            states = set(world.states().values())
            if "suspected_s" not in found and HostState.READY not in states:
                found["suspected_s"] = time.monotonic() - cut
            if states == {HostState.DEAD}:
                found["down_s"] = time.monotonic() - cut
            await asyncio.sleep(_POLL)
    finally:
        hosts.still(False)
        running.cancel()
        await asyncio.wait((running,), timeout=30)
    return found


def samplers() -> int:
    """Processes on this machine that sample the fleet of the orphans' run."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found += any(_NAME.encode() in word for word in words) and b"sidestep.autopilot" not in words
    return found


def orphans(hosts: Farm, folder: Path) -> dict[str, float]:
    """Start a daemon over real hosts, kill it, and count the samplers that are left a second later."""
    lines = ["[fleet]", f'name = "{_NAME}"', "[ssh]", f'known_hosts = "{hosts.known_hosts}"']
    lines += [f'identity = "{hosts.identity}"', "[oracle]", "enabled = false"]
    for host in hosts.hosts:
        lines += [f"[hosts.{host.name}]", f'address = "{host.address}"', f"port = {host.port}", f'user = "{host.user}"']
    private = folder / "run"
    private.mkdir(mode=0o700, exist_ok=True)
    (folder / "fleet.toml").write_text("\n".join(lines) + "\n", "utf-8")
    command = [sys.executable, "-m", "sidestep.autopilot", "--fleet", str(folder / "fleet.toml")]
    command += ["--socket", str(private / "d.sock"), "--state", str(private)]
    with (folder / "daemon.log").open("ab") as log:
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert daemon.stdout is not None
        if not daemon.stdout.readline().startswith("ready"):
            raise RuntimeError((folder / "daemon.log").read_text("utf-8")[-2000:])
        end = time.monotonic() + 20
        while (before := samplers()) < len(hosts.hosts) and time.monotonic() < end:
            time.sleep(_POLL)
    finally:
        daemon.kill()
        killed = time.monotonic()
        daemon.wait()
    gone = math.nan
    while (passed := time.monotonic() - killed) < 1.0:
        left = samplers()
        if not left and math.isnan(gone):
            gone = passed
        time.sleep(_POLL)
    return {"samplers_before": float(before), "left_after_1_s": float(samplers()), "gone_after_s": gone}


def run(quick: bool) -> Report:
    """Storms, cuts and orphans."""
    count, runs, outage, patience = (100, 1, 4.0, 8.0) if quick else (1000, 3, 24.0, 45.0)
    notes = [f"{count} embedded hosts, every connection cut for {outage:g} s; time runs since all can be reached again"]
    with streams(count) as hosts:
        figures = interleave(
            {
                name: lambda pace=pace: eventloop.run(storm(hosts, pace, outage, patience))  # type: ignore[misc]
                for name, pace in PACES.items()
            },
            runs,
        )
        figures |= interleave({"silent cut": lambda: eventloop.run(silent_cut(hosts))}, runs)
    figures |= _orphans(runs, notes)
    ours = figures["neighbour wake"]["most_back_s"].median
    peers = {name: figures[name]["most_back_s"].median for name in PACES if name != "neighbour wake"}
    goals = [
        Goal("99 % of the hosts are back after a storm", ours, "s", 5.0, "<=", peers),
        Goal("a cut link is suspected", figures["silent cut"]["suspected_s"].median, "s", 3.0, "<="),
        Goal("and down", figures["silent cut"]["down_s"].median, "s", 15.0, "<="),
    ]
    if "kill -9" in figures:
        left = figures["kill -9"]["left_after_1_s"].high
        goals.append(Goal("samplers left on hosts 1 s after kill -9", left, "processes", 0.0, "=="))
    return Report("storm", tuple(goals), figures, runs, quick, tuple(notes))


def _orphans(runs: int, notes: list[str]) -> dict[str, dict[str, Spread]]:
    if SSHD is None:
        notes.append("orphans were not counted: OpenSSH's sshd is not installed")
        return {}
    with tempfile.TemporaryDirectory(prefix="sidestep-storm-") as name:
        folder = Path(name)
        with farm(REAL, folder) as hosts:
            return interleave({"kill -9": lambda: orphans(hosts, folder)}, runs)


if __name__ == "__main__":
    main("storm", run)
