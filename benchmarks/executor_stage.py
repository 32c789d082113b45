"""Real hosts with real shards, our executor over them, and ``stop; rsync; start`` between the same hosts."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Final, Self

from benchmarks.farm import Farm
from sidestep.autopilot.executor import Executor
from sidestep.autopilot.journal import Journal
from sidestep.backends.embedded.demo_fleet import COUNTER
from sidestep.backends.process import ProcessBackend
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.inventory import FleetSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import PlanState
from sidestep.fleet.placement import Owner
from sidestep.fleet.plans import Action, Basis, HostFact, PlacementFact, Plan, PlanStatus, Reason

FLEET: Final = "bench"
FIRST_PORT: Final = 7300
PEER_PORT: Final = 7290
#: processor seconds of a request: the least that the service knows
_COST: Final = 0.00002
_SERVE: Final = f"python3 -S -I {quote(str(COUNTER))} serve --durable --cost {_COST} --padding 8"
_READY: Final = f"python3 -S -I {quote(str(COUNTER))} ready"
_SOON: Final = 20.0


def durable(name: str, host: str, port: int) -> ShardSpec:
    """A counter whose state is its folder: what is acknowledged is on disk, with ballast beside it."""
    return ShardSpec(
        name=Label(name), app=Label("counter"), host=Label(host), driver="restart", start=f"exec {_SERVE}",
        ready=f"exec {_READY}", port=port,
    )  # fmt: skip


class Stage:
    """Our side: an executor with a journal of its own, and a connection to every host."""

    def __init__(self, servers: Farm, folder: Path, shards: Sequence[ShardSpec]) -> None:
        self.farm, self._folder = servers, folder
        self.fleet = FleetSpec(name=Label(FLEET), source="bench", hosts=servers.hosts, shards=tuple(shards))
        self.journal = Journal(folder / "journal.db")
        self.backend = ProcessBackend(FLEET)
        keys = HostKeys.load(servers.known_hosts)
        self.transports = {
            str(h.name): AsyncsshTransport(plain_target(h, identity=str(servers.identity)), keys) for h in servers.hosts
        }
        self.executor = Executor(
            fleet=self.fleet,
            journal=self.journal,
            backend_for=lambda _: self.backend,
            transport_for=self.transports.__getitem__,
            router=None,
            present=lambda plan: plan.basis,
        )

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(transport.connect() for transport in self.transports.values()))
        self.journal.adopt({s.name: Owner(s.host, 1) for s in self.fleet.shards}, Label("bench"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for shard, owner in self.journal.placement().owners.items():
            await self.backend.stop(self.transports[owner.host], self.fleet.shard(shard), 1 << 40)
        await asyncio.gather(*(transport.aclose() for transport in self.transports.values()))
        self.journal.close()

    async def start(self, shard: str, ballast: int = 0) -> None:
        """Start a shard where it belongs, with so many bytes beside its log."""
        spec = self.fleet.shard(shard)
        state = self._folder / str(spec.host) / "sidestep" / FLEET / shard / "state"
        state.mkdir(parents=True, mode=0o700)
        fill(state, ballast)
        await self.backend.start(self.transports[spec.host], spec, 1, self.fleet.host(spec.host).address)

    async def move(self, moves: Sequence[tuple[str, str]], policy: Policy) -> PlanStatus:
        """Run one plan that moves these shards to these hosts. Raises RuntimeError unless all of it succeeded."""
        placement, journal = self.journal.placement(), self.journal
        owners = {shard: placement.owners[Label(shard)] for shard, _ in moves}
        actions = tuple(
            Action(
                id=number, shard=Label(shard), source=owners[shard].host, destination=Label(to),
                token=owners[shard].token, priority=3, reason=Reason("contention", Label("benchmark")),
            )
            for number, (shard, to) in enumerate(moves, 1)
        )  # fmt: skip
        used = {a.source for a in actions} | {a.destination for a in actions}
        basis = Basis(
            hosts=tuple(HostFact(h.name, "READY", 8.0, 32 << 30) for h in self.fleet.hosts if h.name in used),
            placements=tuple(PlacementFact(Label(s), owner.host, owner.token) for s, owner in owners.items()),
        )
        plan = Plan(
            number=journal.next_number(), fleet=self.fleet.name, created=time.time(), expires=time.time() + 600.0,
            author=Label("bench"), snapshot=1, forecast="f", policy=policy, basis=basis, actions=actions,
            summary=Label("benchmark"),
        )  # fmt: skip
        digest = journal.add(plan).digest
        journal.set_state(digest, PlanState.APPROVED, actor=Label("bench"))
        status = await self.executor.run(digest)
        if status.state is not PlanState.SUCCEEDED:
            raise RuntimeError(f"plan {plan.number} is {status.state}: {status.note}")
        return status

    def where(self, shard: str) -> str:
        """The host that owns it."""
        return str(self.journal.placement().owners[Label(shard)].host)


class Peer:
    """What an operator types: stop here, rsync to there, start there; over ssh connections that stay open."""

    def __init__(self, servers: Farm, folder: Path, ballast: int) -> None:
        self._farm, self._at = servers, 0
        self._states = [folder / str(host.name) / "peer" / "state" for host in servers.hosts[:2]]
        # a socket's path may be no longer than 108 bytes, and ssh adds some for a moment
        short = self._sockets = tempfile.mkdtemp(prefix="ss-")
        self._ssh = ["ssh", "-F", str(servers.ssh_config), "-o", "ControlMaster=auto", "-o", "ControlPersist=120",
                     "-o", f"ControlPath={short}/%h"]  # fmt: skip
        for state in self._states:
            state.mkdir(parents=True, mode=0o700)
        fill(self._states[0], ballast)
        self._start(0)

    def move(self, *, ahead: bool = False) -> None:
        """Bring it to the other host; ``ahead`` copies once before the stop, so that less is left for it."""
        here, there = self._at, 1 - self._at
        if ahead:
            self._copy(here)
        self._stop(here)
        self._copy(here)
        self._start(there)
        self._at = there

    def close(self) -> None:
        """Stop it, and the connections."""
        self._stop(self._at)
        for host in self._farm.hosts[:2]:
            subprocess.run([*self._ssh, "-O", "exit", host.address], check=False, capture_output=True)
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _start(self, at: int) -> None:
        state, address = self._states[at], self._farm.hosts[at].address
        values = f"SHARD=peer TOKEN=1 ADDRESS={address} PORT={PEER_PORT} STATE={state}"
        self._on(
            at,
            f"export {values}; cd {state} && {{ setsid {_SERVE} </dev/null >/dev/null 2>&1 & echo $! >../pid; }}; "
            f"until {_READY} 2>/dev/null; do sleep 0.02; done",
        )

    def _stop(self, at: int) -> None:
        pid = self._states[at].parent / "pid"
        self._on(at, f"p=$(cat {pid}); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.02; done")

    def _copy(self, at: int) -> None:
        """From that host to the other, as its user would: rsync over ssh."""
        shell, to = f"ssh -F {self._farm.ssh_config}", self._farm.hosts[1 - at].address
        self._on(at, f"rsync -a --delete -e {quote(shell)} {self._states[at]}/ {to}:{self._states[1 - at]}/")

    def _on(self, at: int, command: str) -> None:
        address = self._farm.hosts[at].address
        done = subprocess.run([*self._ssh, address, command], check=False, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr[-500:]}")


class Probe:
    """The client of a shard at one port of two hosts, in a process of its own."""

    def __init__(self, servers: Farm, port: int) -> None:
        places = [word for host in servers.hosts[:2] for word in (host.address, str(port))]
        command = [sys.executable, "-m", "benchmarks.executor_probe", *places]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def longest(self) -> float:
        """The longest time (ms) without an answer since the last call."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def fill(folder: Path, size: int) -> None:
    """Bytes that do not compress, in files of at most 8 MiB."""
    for number in range(math.ceil(size / (8 << 20))):
        (folder / f"ballast-{number}").write_bytes(os.urandom(min(8 << 20, size - number * (8 << 20))))


def missing() -> str:
    """The tool that the peer needs and this machine has not, or ""."""
    return next((tool for tool in ("ssh", "rsync", "setsid") if shutil.which(tool) is None), "")
