"""Downtime of a stateful move between two systemd hosts, by driver, beside ``systemctl stop; rsync; systemctl start``.

Runs inside a test fleet (docs/testfleet.md):
``python -m scripts.testfleet run -- python -m benchmarks.moves``. Both services are the same shell program with its
state in a folder of 200 files; one file in a hundred changes between the copying ahead and the stop. Ours is the time
from the first byte of ``freeze`` to the end of ``resume`` over persistent connections, without the executor's journal
(about 4 ms a step); theirs is the time of three commands over the same connections, rsync with an SSH session of its
own as everybody runs it. rsync digests nothing; ours compares digests of everything at both ends. What a step takes is
what its caller waits for: hosts begin with some of capture, restore and verify while the step before is answered.
Driver ``criu`` moves a process that has as many bytes in its memory, and no files; where no criu works with the kernel
the notes say why it is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import Goal, Report, Spread, main_with
from scripts.testfleet import criu
from scripts.testfleet.fleet import Fleet
from scripts.testfleet.shell import Impossible
from sidestep.backends.base import Move
from sidestep.backends.process.able import ability
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.backends.systemd import SystemdBackend
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import Driver, HostSpec, ShardSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import MOVE_STEPS, StepName

FILES: Final = 200
#: seconds after which no file that was just written is packed again: what is written in the second before the one in
#: which a seed begins is, so with less than two a part of the files would be carried twice, by the clock's fraction
OLD: Final = 2.2
SHARE: Final = 0.2
FROZEN: Final = (
    StepName.FREEZE, StepName.CAPTURE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY, StepName.RESUME,
)  # fmt: skip
STEPS: Final = tuple(step for step in MOVE_STEPS if step not in {StepName.COMMIT, StepName.ROUTE})
UNIT: Final = "[Service]\nType=exec\nExecStart=/bin/sh -c 'exec sleep 100000'\n"
KEY: Final = "/etc/bench-key"
TOOLS: Final = "/opt/bench"

#: a process with so much in its memory, which cannot be packed any smaller
HOLDS: Final = 'exec python3 -c \'import os, time; held = os.urandom({size}); open("up", "w"); time.sleep(1e6)\''

Found = dict[str, dict[str, list[float]]]


class Stage:
    """Two hosts of one layout, the one with state and both with rsync."""

    def __init__(self, fleet: Fleet) -> None:
        plans = [state.plan for state in fleet.state().hosts.values() if state.plan.layout == "hybrid"]
        if len(plans) < 2:
            raise UsageError("fewer than two hosts of the hybrid layout", hint="python -m scripts.testfleet run -- ...")
        self.fleet, self.names = fleet, [plan.name for plan in plans[:2]]
        self.addresses = [plan.address for plan in plans[:2]]
        keys = HostKeys.load(fleet.places.known_hosts)
        self.ends = [
            AsyncsshTransport(
                plain_target(
                    HostSpec(name=Label(plan.name), address=plan.address, user="root"),
                    identity=str(fleet.places.identity), connect_timeout=30.0,
                ),
                keys,
            )
            for plan in plans[:2]
        ]  # fmt: skip
        self.backend = SystemdBackend("bench")
        self.runs = 0
        self.drivers: list[Driver] = ["restart", "hook"]
        self.note = ""

    async def ready(self) -> None:
        """Programs and keys are there."""
        tool, libraries = _rsync()
        for end in self.ends:
            await end.connect()
            await self.run(end, f"mkdir -p {TOOLS}")
            for path in (tool, *libraries):  # in a folder of their own: the host's libraries stay its own
                await _put(end, f"{TOOLS}/{path.name}", path.read_bytes())
            script = f'#!/bin/sh\nLD_LIBRARY_PATH={TOOLS} exec {TOOLS}/rsync "$@"\n'
            await _put(end, "/usr/local/bin/rsync", script.encode())
            await _put(end, KEY, self.fleet.places.identity.read_bytes())
            await _put(end, "/etc/systemd/system/bench.service", UNIT.encode())
            await self.run(
                end,
                f"chmod 600 {KEY}; chmod 755 {TOOLS}/rsync /usr/local/bin/rsync;"
                " mkdir -p /var/lib/bench; systemctl daemon-reload",
            )
        await self.ready_for_memory()

    async def ready_for_memory(self) -> None:
        """Driver criu joins in if it can; else the note says why not."""
        try:
            packed = criu.archive()
        except Impossible as error:
            self.note = f"driver criu is missing: {error}"
            return
        for end in self.ends:
            await _put(end, "/opt/criu.tar", packed)
            await self.run(end, "tar -C / -xzf /opt/criu.tar && rm /opt/criu.tar")
        seen = [await ability(end) for end in self.ends]
        lacks = [f"{end.host}: {s.code}: {s.text}" for end, s in zip(self.ends, seen, strict=True) if s.code]
        self.note = f"driver criu is missing: {'; '.join(lacks)}" if lacks else f"driver criu by criu {seen[0].criu}"
        if not lacks:
            self.drivers.append("criu")

    async def run(self, end: Any, command: str) -> None:
        """Run it, or say why not."""
        done = await end.run(command, timeout=600)
        if done.status:
            raise UsageError(f"{command}: {done.stderr.decode(errors='replace').strip()}")

    async def ours(self, driver: Driver, size: int) -> dict[StepName, float]:
        """Milliseconds of every step in which one move by that driver stands still."""
        self.runs += 1
        hooks: dict[str, str] = {}
        if driver == "hook":
            hooks = {"save": "cat data", "load": "cat >data", "quiesce": "true", "resume": "true"}
        start, ready = ("exec sleep 100000", "true") if driver != "criu" else (HOLDS.format(size=size), "test -f up")
        shard = ShardSpec(
            name=Label(f"s-{self.runs}"), app=Label("s"), host=Label(self.names[0]), backend="systemd", driver=driver,
            start=start, ready=ready, **hooks,
        )  # fmt: skip
        move = Move(
            key=f"m-{self.runs}", shard=shard, source=Label(self.names[0]), destination=Label(self.names[1]),
            old_token=1, new_token=2, destination_address=self.addresses[1], observe=0.0, deadline=600.0,
        )  # fmt: skip
        source, destination = self.ends
        folder = f".local/state/sidestep/bench/{shard.name}/state"
        try:
            await self.run(source, f"mkdir -p {folder} && cd {folder} && {_fill(driver, size)}")
            await self.backend.start(source, shard, 1, self.addresses[0])
            await asyncio.sleep(OLD)
            notes: dict[str, str] = {}
            frozen = dict[StepName, float]()
            for step in STEPS:
                if step is StepName.FREEZE and driver == "restart":
                    await self.run(source, f"cd {folder} && {_churn(size)}")
                began = time.perf_counter()
                result = await self.backend.step(step, move, source, destination, dict(notes))
                if step in FROZEN:
                    frozen[step] = (time.perf_counter() - began) * 1e3
                notes |= result.notes
            return frozen
        finally:
            for end in self.ends:
                await self.backend.stop(end, shard, 9)
                await end.run("rm -rf .local/state/sidestep/bench")

    async def theirs(self, size: int) -> float:
        """Milliseconds of stop, rsync and start."""
        source, destination = self.ends
        try:
            await self.run(source, f"cd /var/lib/bench && {_fill('restart', size)} && systemctl start bench")
            ssh = f"ssh -i {KEY} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
            began = time.perf_counter()
            await self.run(source, "systemctl stop bench")
            await self.run(source, f"rsync -a -e '{ssh}' /var/lib/bench/ {self.addresses[1]}:/var/lib/bench/")
            await self.run(destination, "systemctl start bench")
            return (time.perf_counter() - began) * 1e3
        finally:
            for end in self.ends:
                await end.run("systemctl stop bench; rm -rf /var/lib/bench; mkdir -p /var/lib/bench")

    async def aclose(self) -> None:
        """Leave nothing."""
        for end in self.ends:
            await end.run(
                f"rm -rf {KEY} {TOOLS} {criu.FOLDER} {criu.COMMAND} /usr/local/bin/rsync"
                " /var/lib/bench /etc/systemd/system/bench.service; systemctl daemon-reload"
            )
            await end.aclose()


def _fill(driver: Driver, size: int) -> str:
    if driver == "hook":
        return f"head -c {size} /dev/urandom >data"
    if driver == "criu":
        return "true"
    return f"n=0; while [ $n -lt {FILES} ]; do head -c {size // FILES} /dev/urandom >f$n; n=$((n + 1)); done; sync"


def _churn(size: int) -> str:
    return "; ".join(f"head -c {size // FILES} /dev/urandom >f{n}" for n in range(max(1, FILES // 100)))


def _rsync() -> tuple[Path, list[Path]]:
    """The machine's rsync and what it is linked with, for hosts that have none: they run the same release."""
    tool = Path("/usr/bin/rsync")
    if not tool.exists():
        raise UsageError("no rsync here to compare with", hint="apt install rsync")
    said = subprocess.run(["ldd", str(tool)], check=True, capture_output=True, text=True).stdout
    found = [Path(word) for line in said.splitlines() for word in line.split() if word.startswith("/")]
    return tool, [path for path in found if not path.name.startswith(("libc.", "ld-linux"))]


async def _put(end: Any, path: str, content: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    await end.send(path, chunks())


async def measure(sizes: tuple[int, ...], runs: int) -> tuple[Found, Found, str]:
    """Milliseconds by contender and size, in turns but for criu; of every step of ours; what is to be known of criu."""
    stage = Stage(Fleet(os.environ.get("SIDESTEP_TESTFLEET", "")))
    try:
        await stage.ready()
        found: Found = {name: {} for name in (*stage.drivers, "stop-rsync-start")}
        steps: Found = {driver: {} for driver in stage.drivers}

        async def one(driver: Driver, size: int) -> None:
            took, key = await stage.ours(driver, size), f"{size // 1_000_000} MB"
            found[driver].setdefault(key, []).append(sum(took.values()))
            for step, ms in took.items():
                steps[driver].setdefault(f"{step} ms p50 {key}", []).append(ms)

        for size in sizes:
            key = f"{size // 1_000_000} MB"
            for _ in range(runs):
                for driver in stage.drivers[:2]:
                    await one(driver, size)
                found["stop-rsync-start"].setdefault(key, []).append(await stage.theirs(size))
                _tell(key, found)
            for _ in range(runs):  # afterwards: others are measured as they were without it
                for driver in stage.drivers[2:]:
                    await one(driver, size)
                    _tell(key, found)
    finally:
        await stage.aclose()
    return found, steps, stage.note


def _tell(key: str, found: Found) -> None:
    newest = {name: round(rows[key][-1]) for name, rows in found.items() if key in rows}
    print(key, newest, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> Report:
    """Measure; the report."""
    if not os.environ.get("SIDESTEP_TESTFLEET"):
        raise UsageError("no test fleet", hint="python -m scripts.testfleet run -- python -m benchmarks.moves")
    sizes = (20_000_000,) if options.quick else (20_000_000, 200_000_000)
    runs = options.runs or (2 if options.quick else 7)
    found, steps, memory = asyncio.run(measure(sizes, runs))
    goals, figures = [], dict[str, dict[str, Spread]]()
    for key in found["restart"]:
        theirs = statistics.median(found["stop-rsync-start"][key])
        ours = statistics.median(found["restart"][key])
        goals.append(Goal(f"freeze with pre-copy, {key}", ours / theirs, "of stop-rsync-start", SHARE, "<="))
    for name, rows in found.items():
        figures[name] = {}
        for key, values in rows.items():
            figures[name][f"downtime_ms p50 {key}"] = Spread.of(values)
            figures[name][f"downtime_ms p99 {key}"] = Spread.of([_p99(values)])
        figures[name] |= {step: Spread.of(values) for step, values in steps.get(name, {}).items()}
    note = f"p99 of {runs} runs is near their maximum; load of the machine {os.getloadavg()[0]:.0f}"
    return Report("moves", tuple(goals), figures, runs, options.quick, (note, memory))


def _p99(values: list[float]) -> float:
    return max(values) if len(values) < 2 else statistics.quantiles(values, n=100, method="inclusive")[98]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0, help="runs of each contender and size")
    main_with("moves", run, parser)


if __name__ == "__main__":
    main()
