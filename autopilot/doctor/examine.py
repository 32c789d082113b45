"""Trying one host after the other question, all hosts at the same time; a host that hangs costs its own deadline."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from sidestep.autopilot.doctor import judge, probe
from sidestep.autopilot.doctor.findings import Examined, Finding
from sidestep.backends.process.able import ability
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.stream import follow
from sidestep.backends.ssh import oracle
from sidestep.backends.ssh.asyncssh_transport import SESSIONS
from sidestep.backends.ssh.base import Channel, Transport
from sidestep.backends.ssh.carry import shell
from sidestep.backends.ssh.gates import Gates, Permit, lane_of
from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.resolve import fleet_known_hosts, fleet_ssh_config, resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.fleet.errors import ConfigError, HostError, HostUnreachable
from sidestep.fleet.extensions import PluginError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.plugins.transports import Connectors

#: hosts under examination for every handshake that may be under way
AT_ONCE: Final = 4
#: runs of a command that does nothing
RUNS: Final = 5
#: seconds: a handshake that hangs lets others begin; sshd's first word; a first sample; the script
HANGS: Final = 1.0
BANNER: Final = 3.0
SAMPLE: Final = 15.0
SCRIPT: Final = 20.0
#: ssh -G at a time, and the seconds that one may take
ASKING: Final = 4
ANSWER: Final = 5.0
_LOOK: Final = 0.02


@dataclass
class Surgery:
    """What all examinations share: keys, identities, jump hosts, gates."""

    fleet: FleetSpec
    config: SshConfig
    keys: HostKeys
    deadline: float
    ring: KeyRing
    tunnels: Tunnels
    gates: Gates
    connectors: Connectors = field(default_factory=Connectors)
    asking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ASKING))


@asynccontextmanager
async def surgery(fleet: FleetSpec, deadline: float) -> AsyncIterator[Surgery]:
    """Open everything that is shared; closed at the end. Raises ConfigError for files that cannot be read."""
    config = await asyncio.to_thread(fleet_ssh_config, fleet)
    keys = await asyncio.to_thread(HostKeys.load, *fleet_known_hosts(fleet))
    ring, tunnels = KeyRing.of(fleet), Tunnels()
    gates = Gates(fleet.handshakes, fleet.handshakes_per_address)
    try:
        yield Surgery(fleet, config, keys, deadline, ring, tunnels, gates)
    finally:
        await tunnels.aclose()
        await ring.aclose()


async def examine_all(hosts: Sequence[HostSpec], shared: Surgery, done: Callable[[Examined], None]) -> list[Examined]:
    """Every host, in the order given; ``done`` is told as each is."""
    room = asyncio.Semaphore(AT_ONCE * shared.fleet.handshakes)

    async def one(host: HostSpec) -> Examined:
        async with room:
            result = await Examination(host, shared).run()
        done(result)
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(host)) for host in hosts]
    return [task.result() for task in tasks]


class Examination:
    """One host: what was found so far survives whatever comes next."""

    def __init__(self, host: HostSpec, shared: Surgery) -> None:
        self._host, self._name, self._shared = host, str(host.name), shared
        self._findings: list[Finding] = []
        self._facts: dict[str, str | float] = {}
        self._doing = "resolving"
        self._left = shared.deadline

    async def run(self) -> Examined:
        """Everything that can be found within the deadline."""
        try:
            target = resolve(self._host, self._shared.fleet, self._shared.config)
            await self._compare(target)
            if target.jumps or await self._named(target):
                transport = self._shared.connectors.connect(
                    self._host, target, self._shared.keys, ring=self._shared.ring, tunnels=self._shared.tunnels
                )
                try:
                    await self._examine(target, transport)
                finally:
                    await transport.aclose()
        except (ConfigError, PluginError) as error:
            self._findings.append(judge.configuration(self._name, error))
        except TimeoutError:
            self._findings.append(judge.out_of_time(self._name, self._shared.deadline, self._doing))
        except HostError as error:
            self._findings.append(judge.refused(self._name, error))
        except Exception as error:  # noqa: BLE001 - a surprise with one host must not end the others
            self._findings.append(judge.surprised(self._name, error))
        return Examined(host=self._host.name, findings=tuple(self._findings), facts=self._facts)

    @asynccontextmanager
    async def _within(self, doing: str) -> AsyncIterator[None]:
        """Do something on the host's own time: what waiting for a gate takes does not count."""
        self._doing = doing
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(self._left, 0.0)):
                yield
        finally:
            self._left -= time.monotonic() - began

    # -- before the connection

    async def _compare(self, target: SshTarget) -> None:
        """Ask ssh how it would go there."""
        if self._shared.fleet.ssh_config == "none" or shutil.which("ssh") is None:
            return
        async with self._shared.asking, self._within("asking ssh -G"):
            said = await _output(oracle.question(self._host, self._shared.fleet))
        if said is not None:
            self._findings.append(judge.differs(self._name, oracle.differences(target, said)))

    async def _named(self, target: SshTarget) -> bool:
        async with self._within("resolving its name"):
            try:
                await asyncio.get_running_loop().getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                self._findings.append(judge.no_name(self._name, target.address, str(error)))
                return False
        return True

    # -- the connection

    async def _examine(self, target: SshTarget, transport: Transport) -> None:
        try:
            async with self._shared.gates.handshake(lane_of(target)) as permit:
                await self._connect(transport, permit)
        except HostError as error:
            self._findings.append(await self._explained(target, error))
            return
        user = target.user or getpass.getuser()
        said = (await self._shared.ring.credentials(target)).said
        self._findings += judge.connected(self._name, user, said, [hop.name for hop in target.jumps])
        limit = self._shared.gates.limit(lane_of(target))
        if limit < self._shared.fleet.handshakes_per_address:
            self._findings.append(judge.crowded(self._name, limit, self._shared.fleet.handshakes_per_address))
        skew, error_of = np.nan, 0.0
        if self._host.sampler != "sftp":
            skew, error_of = await self._look(transport)
        sampled = await self._sample(transport)
        if np.isfinite(sampled):
            skew, error_of = sampled, 0.0
        self._findings.append(judge.clock(self._name, float(skew), error_of))

    async def _connect(self, transport: Transport, permit: Permit) -> None:
        async def aside() -> None:
            await asyncio.sleep(HANGS)
            permit.step_aside()

        hanging = asyncio.ensure_future(aside())
        try:
            async with self._within("connecting"):
                await transport.connect()
        finally:
            hanging.cancel()

    async def _explained(self, target: SshTarget, error: HostError) -> Finding:
        """The finding for a connection that failed; where nothing answered, what a plain connection sees."""
        if target.jumps and judge.about_jump(error):
            return judge.jump_failed(self._name, error)
        if not isinstance(error, HostUnreachable) or target.jumps:
            return judge.refused(self._name, error)
        async with self._within("looking at its port"):
            tcp, banner = await _knock(target.address, target.port, min(target.connect_timeout, BANNER))
        return judge.unreachable(self._name, error, tcp=tcp, banner=banner)

    # -- on the host

    async def _look(self, transport: Transport) -> tuple[float, float]:
        """Run the script, open sessions, take times; the clock's skew and how far that may be wrong."""
        skew, error_of = np.nan, 0.0
        try:
            async with self._within("running a command"):
                before = time.time()
                done = await transport.run(probe.SCRIPT, timeout=SCRIPT)
                after = time.time()
        except HostError as error:
            self._findings.append(judge.no_shell(self._name, error))
            return skew, error_of
        seen = probe.parse(done.stdout)
        if seen is None:
            self._findings.append(judge.no_shell(self._name, None, done.stdout + done.stderr))
            return skew, error_of
        self._findings += judge.within(self._name, seen)
        self._facts |= {key: str(seen.said[key]) for key in ("user", "shell", "kernel") if key in seen.said}
        if seen.time:
            skew, error_of = seen.time - (before + after) / 2, judge.COARSE + (after - before) / 2
        await self._sessions(transport)
        await self._latency(transport)
        await self._memory(transport)
        return skew, error_of

    async def _sessions(self, transport: Transport) -> None:
        opened: list[Channel] = []
        why = ""
        try:
            async with self._within("opening sessions"):
                for _ in range(SESSIONS):
                    opened.append(await transport.open(shell("exec cat")))
        except HostUnreachable:
            raise
        except HostError as error:
            why = str(error.args[0])
        finally:
            await asyncio.gather(*(channel.aclose() for channel in opened), return_exceptions=True)
        self._findings.append(judge.sessions(self._name, len(opened), SESSIONS, why))

    async def _memory(self, transport: Transport) -> None:
        """Whether processes can move with their memory, where a shard of the fleet wants that."""
        if any(shard.driver == "criu" for shard in self._shared.fleet.shards):
            with suppress(HostError):
                async with self._within("trying criu"):
                    self._findings.append(judge.memory(self._name, await ability(transport)))

    async def _latency(self, transport: Transport) -> None:
        times = []
        with suppress(HostError):
            for _ in range(RUNS):
                began = time.perf_counter()
                async with self._within("running commands that do nothing"):
                    await transport.run(":")
                times.append(time.perf_counter() - began)
        self._findings += judge.latency(self._name, times)
        if times:
            self._facts["latency"] = float(np.median(times))

    async def _sample(self, transport: Transport) -> float:
        """Wait for a first sample; the clock's skew, NaN if there is none."""
        panel = Panel([self._name])
        following = asyncio.ensure_future(
            follow(transport, self._shared.fleet.name, 1.0, lambda: panel.intake(0), kind=self._host.sampler)
        )
        error: HostError | None = None
        try:
            async with self._within("waiting for a sample"), asyncio.timeout(SAMPLE):
                while not (np.isfinite(panel.seen[0]) or following.done()):
                    await asyncio.wait((following,), timeout=_LOOK)
            failed = panel.decode(time.time())
            error = failed[0][1] if failed else None
            if following.done():
                following.result()
        except TimeoutError:
            if self._left <= 0:
                raise
        except HostError as failure:
            error = failure
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError, HostError):
                await following
        if panel.seq[0] < 0:
            self._findings.append(judge.not_sampled(self._name, error, SAMPLE))
            return float(np.nan)
        facts = {key: str(value) for key, value in panel.facts[0].items()}
        self._facts |= {**facts, "sampler": panel.kinds[0]}
        self._findings += judge.sampled(self._name, panel.kinds[0], self._host.sampler, facts)
        self._findings += judge.capacity(self._host, facts)
        return float(panel.skew[0])


async def _knock(address: str, port: int, seconds: float) -> tuple[str, bytes | None]:
    """Why there is no plain connection (empty: there is), and what the other side says first."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return "silent", None
    except ConnectionRefusedError:
        return "refused", None
    except OSError as error:
        return error.strerror or type(error).__name__, None
    try:
        async with asyncio.timeout(seconds):
            return "", await reader.read(255)
    except TimeoutError:
        return "", None
    except OSError:
        return "", b""
    finally:
        writer.close()


async def _output(command: Sequence[str]) -> str | None:
    """What a command of this machine prints; None when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=Path("/"),
    )  # fmt: skip
    try:
        async with asyncio.timeout(ANSWER):
            out, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode("utf-8", "replace") if process.returncode == 0 else None
