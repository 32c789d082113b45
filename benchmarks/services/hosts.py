"""Hosts of the test fleet as a benchmark needs them: programs brought there, HAProxy on one, ledgers read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from benchmarks.routing_daemon import PATIENCE
from benchmarks.routing_stage import HAPROXY
from benchmarks.services import program
from scripts.testfleet.fleet import Fleet
from sidestep.backends.haproxy.config import CONFIG
from sidestep.backends.ssh.asyncssh_transport import AsyncsshTransport
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.target import plain_target
from sidestep.fleet.errors import UsageError
from sidestep.fleet.inventory import HostSpec
from sidestep.fleet.labels import Label

HOW: Final = "python -m scripts.testfleet run -n 5 -- .venv/bin/python -m benchmarks.services"
#: where programs lie on hosts, where HAProxy lies and has its files, and the names of what we start there
PROGRAM: Final = "/srv/ledger/ledger.py"
_PROGRAM: Final = Path(program.__file__).read_bytes()
TOOLS: Final = "/opt/haproxy"
FILES: Final = "/var/lib/sidestep-router"
SOCKET: Final = "/run/sidestep-router-master.sock"
UNIT: Final = "bench-haproxy.service"
NOISE: Final = "bench-noise.service"
#: what Debian's python3 has and its python3-minimal lacks: all single modules, and these packages
STDLIB: Final = Path("/usr/lib/python3.11")
PACKAGES: Final = ("asyncio", "concurrent", "ctypes", "json", "lib-dynload")
#: hosts with shards; one more has HAProxy
SHARDED: Final = 4


class Hosts:
    """Four hosts for shards and one for HAProxy, by name; all are real, with systemd as PID 1."""

    def __init__(self) -> None:
        name = os.environ.get("SIDESTEP_TESTFLEET", "")
        if not name:
            raise UsageError("no test fleet", hint=HOW)
        if not HAPROXY:
            raise UsageError("no haproxy here to bring to a host", hint="apt-get install haproxy")
        self.fleet = Fleet(name)
        plans = [state.plan for state in self.fleet.state().hosts.values()]
        plans = [plan for plan in plans if (plan.layout, plan.interpreter) == ("hybrid", "python")]
        if len(plans) < SHARDED + 1:
            raise UsageError(f"{len(plans)} hosts of the hybrid layout with Python: 5 are needed", hint=HOW)
        self.names = [plan.name for plan in plans[:SHARDED]]
        self.router = plans[SHARDED].name
        self.address = {plan.name: plan.address for plan in plans[: SHARDED + 1]}
        keys = HostKeys.load(self.fleet.places.known_hosts)
        self._ends = {name: AsyncsshTransport(self._target(name), keys) for name in self.address}

    def _target(self, name: str) -> Any:
        spec = HostSpec(name=Label(name), address=self.address[name], user="root")
        return plain_target(spec, identity=str(self.fleet.places.identity), connect_timeout=30.0)

    def specs(self, cpu: float) -> tuple[HostSpec, ...]:
        """The hosts as a fleet file has them; those for shards have that many cores."""
        made = [
            HostSpec(name=Label(name), address=self.address[name], user="root", cpu=cpu, memory=1 << 30)
            for name in self.names
        ]
        lone = HostSpec(name=Label(self.router), address=self.address[self.router], user="root", cordoned=True)
        return (*made, lone)

    async def ready(self, *, full_python: bool) -> None:
        """Bring programs; for pools also what python3-minimal lacks."""
        await asyncio.gather(*(end.connect() for end in self._ends.values()))
        await asyncio.gather(*(self._equip(name, full_python=full_python) for name in self.names))
        tool, libraries = Path(HAPROXY), list(_linked(HAPROXY))
        await self.run(self.router, f"mkdir -p {TOOLS} {FILES}")
        for path in (tool, *libraries):
            await self.put(self.router, f"{TOOLS}/{path.name}", path.read_bytes())
        await self.run(self.router, f"chmod 755 {TOOLS}/haproxy")

    async def _equip(self, name: str, *, full_python: bool) -> None:
        await self.run(name, "mkdir -p /srv/ledger /var/lib/ledger; rm -f /var/lib/ledger/*")
        await self.put(name, PROGRAM, _PROGRAM)
        if full_python:
            await self.put(name, "/tmp/stdlib.tar", _stdlib())
            await self.run(name, f"tar -C {STDLIB} -xf /tmp/stdlib.tar && rm /tmp/stdlib.tar")

    async def start_haproxy(self, files: dict[str, bytes]) -> None:
        """A master and a worker as a unit of the router's host."""
        for name, data in files.items():
            await self.put(self.router, f"{FILES}/{name}", data)
        line = f"{TOOLS}/haproxy -W -q -f {FILES}/{CONFIG} -S {SOCKET}"
        await self.run(
            self.router, f"systemd-run -q --unit={UNIT} -p LimitNOFILE=4096 -E LD_LIBRARY_PATH={TOOLS} {line}"
        )
        async with asyncio.timeout(PATIENCE):
            while (await self._ends[self.router].run(f"test -S {SOCKET}")).status:  # noqa: ASYNC110 - far away
                await asyncio.sleep(0.1)

    async def clean(self) -> None:
        """Nothing of a scene is left, and nothing runs but the hosts."""
        ends = " ".join([UNIT, NOISE, "'sidestep*.service'"])
        script = (
            f"systemctl kill -s KILL {ends} 2>/dev/null; systemctl stop {ends} 2>/dev/null; systemctl reset-failed;"
            " for f in ~/.local/state/sidestep/pools/*/*/; do pkill -KILL -f $f; done 2>/dev/null;"
            f" rm -rf ~/.local/state/sidestep {FILES}/* {SOCKET} /var/lib/ledger/*; exit 0"
        )
        await asyncio.gather(*(end.run(script, timeout=60) for end in self._ends.values()))

    async def aclose(self) -> None:
        """Clean, and hang up."""
        with contextlib.suppress(Exception):
            await self.clean()
        await asyncio.gather(*(end.aclose() for end in self._ends.values()), return_exceptions=True)

    async def run(self, host: str, command: str) -> str:
        """What it printed. Raises UsageError with what it said."""
        done = await self._ends[host].run(command, timeout=PATIENCE)
        if done.status:
            raise UsageError(f"{host}: {command[:200]}: {done.stderr.decode(errors='replace').strip()[-400:]}")
        return done.stdout.decode(errors="replace")

    async def put(self, host: str, path: str, content: bytes) -> None:
        """A file there."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        await self._ends[host].send(path, chunks(), timeout=PATIENCE)

    async def noise(self, host: str, seconds: float, most: float) -> None:
        """Work that is no shard: it takes more and more of a core, ``most`` of it from ``seconds`` on."""
        await self.put(host, "/srv/ledger/noise.py", _NOISE.encode())
        await self.run(host, f"systemd-run -q --unit={NOISE} python3 -S /srv/ledger/noise.py {seconds} {most}")

    async def quiet(self, host: str) -> None:
        """It ends."""
        await self.run(host, f"systemctl stop {NOISE}; systemctl reset-failed")

    async def ledger(self, ports: list[int]) -> list[str]:
        """Every entry of every shard that serves at one of these ports anywhere, and of all instances of pools."""
        entries: list[str] = []
        for name in self.names:
            for port in ports:
                entries += await _served(self.address[name], port)
            said = await self.run(name, "cat /var/lib/ledger/* 2>/dev/null; :")
            entries += [line.split()[1] for line in said.splitlines()]
        return entries


async def _served(address: str, port: int) -> list[str]:
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return []
    writer.write(b"GET /_/save HTTP/1.1\r\nHost: ledger\r\n\r\n")
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    text = await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
    writer.close()
    return [line.split()[1] for line in text.decode().splitlines()]


def _linked(path: str) -> Iterator[Path]:
    """The libraries that a program needs, but the C library: hosts run the same release."""
    said = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    for word in said.split():
        found = Path(word)
        if word.startswith("/") and not found.name.startswith(("libc.", "libm.", "ld-linux")):
            yield found


def _stdlib() -> bytes:
    if not (STDLIB / "asyncio").is_dir():
        raise UsageError(f"{STDLIB}: no asyncio here to bring to hosts", hint="apt-get install libpython3.11-stdlib")
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for part in (*PACKAGES, *(path.name for path in STDLIB.glob("*.py") if not path.is_symlink())):
            tar.add(STDLIB / part, part, filter=lambda one: None if "__pycache__" in one.name else one)
    return made.getvalue()


_NOISE: Final = """\
import sys, time
seconds, most = float(sys.argv[1]), float(sys.argv[2])
began = time.time()
while True:
    part = most * min(1.0, (time.time() - began) / seconds) if seconds else most
    until = time.thread_time() + 0.05 * part
    start = time.time()
    while time.thread_time() < until:
        pass
    time.sleep(max(0.0, 0.05 - (time.time() - start)))
"""
