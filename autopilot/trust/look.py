"""Looking at a host's key: what it shows, and what known_hosts says about it already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import asyncssh
from msgspec import Struct

from sidestep.autopilot.trust.expected import Expected
from sidestep.backends.ssh.algorithms import HOST_KEYS
from sidestep.backends.ssh.dial import shown_key
from sidestep.backends.ssh.hostkeys import HostKeys, Trust, known_as
from sidestep.backends.ssh.identity import KeyRing
from sidestep.backends.ssh.resolve import USER_KNOWN_HOSTS, fleet_known_hosts, fleet_ssh_config, resolve
from sidestep.backends.ssh.target import SshTarget
from sidestep.backends.ssh.tunnels import Tunnels
from sidestep.fleet.errors import ConfigError, HostError, SidestepError
from sidestep.fleet.inventory import FleetSpec, HostSpec

#: hosts that are looked at together
TOGETHER: Final = 16
#: kinds of keys that are asked for one after the other when a fingerprint is to be found
_ECDSA: Final = tuple(name for name in HOST_KEYS if name.startswith("ecdsa"))
_KINDS: Final = (("ssh-ed25519",), _ECDSA, ("rsa-sha2-512", "rsa-sha2-256"))


Verdict = Literal["known", "unknown", "expected"]


class Look(Struct, frozen=True, kw_only=True):
    """What came of looking at one host."""

    host: HostSpec
    verdict: Verdict | None = None
    target: SshTarget | None = None
    key: asyncssh.SSHKey | None = None
    #: the file that its key would be written to
    file: Path | None = None
    #: why it is refused
    error: SidestepError | None = None


class Looker:
    """Looks at the hosts of one fleet. ``aclose`` leaves the jump hosts."""

    def __init__(self, fleet: FleetSpec) -> None:
        self._fleet = fleet
        self._config = fleet_ssh_config(fleet)
        self._keys = HostKeys.load(*fleet_known_hosts(fleet))
        self._ring, self._tunnels = KeyRing.of(fleet), Tunnels()
        self._gate = asyncio.Semaphore(TOGETHER)

    async def look_all(
        self, hosts: Sequence[HostSpec], expected: Expected | None, done: Callable[[Look], None]
    ) -> tuple[Look, ...]:
        """Look at every host; ``done`` is called as they answer."""

        async def one(host: HostSpec) -> Look:
            async with self._gate:
                look = await self.look(host, expected)
            done(look)
            return look

        return tuple(await asyncio.gather(*(one(host) for host in hosts)))

    async def look(self, host: HostSpec, expected: Expected | None = None) -> Look:
        """Look at one host, without logging in to it; its jump hosts must be trusted already."""
        try:
            target = resolve(host, self._fleet, self._config)
            keys, trust = await self._keys.judge(target)
            file = self._file(target)
            if expected is not None and not expected.about(target):
                raise HostError(host.name, "trust", "nothing is expected of it", hint="add it to the list")
            key = await self._shown(target, trust, expected)
            verdict = _verdict(target, keys, trust, key, expected)
        except SidestepError as error:
            return Look(host=host, error=error)
        return Look(host=host, verdict=verdict, target=target, key=key, file=file)

    async def aclose(self) -> None:
        """Leave the jump hosts and the agents."""
        await self._tunnels.aclose()
        await self._ring.aclose()

    async def _shown(self, target: SshTarget, trust: Trust, expected: Expected | None) -> asyncssh.SSHKey:
        """The key that the host shows: of a kind that is known or expected of it, if it has one. Raises HostError."""
        known = _names(trust)
        kinds = _KINDS if expected is not None and not known else (sorted(HOST_KEYS, key=lambda n: n not in known),)
        first: asyncssh.SSHKey | None = None
        failed: HostError | None = None
        for kind in kinds:
            try:
                key = await shown_key(target, kind, self._keys, self._ring, self._tunnels)
            except HostError as error:  # Some servers hang up when they have no key of a kind.
                failed = failed or error
                continue
            if key is not None and (expected is None or expected.has(target, key)):
                return key
            first = first or key
        if first is None:
            raise failed or HostError(
                target.name, "trust", "it shows no host key of a kind that is used", hint="run ssh-keygen -A on it"
            )
        return first

    def _file(self, target: SshTarget) -> Path:
        file = Path((target.known_hosts or fleet_known_hosts(self._fleet))[0])
        users = {Path(path).expanduser() for path in USER_KNOWN_HOSTS}
        if file in users and not self._fleet.known_hosts:
            raise ConfigError(
                self._fleet.source, 0, "ssh.known_hosts", None,
                f"ssh_config has {target.name} in {file}, which is yours and not the fleet's to write to",
                hint="name the file under [ssh] in the fleet file: known_hosts = \"~/.ssh/known_hosts\"",
            )  # fmt: skip
        return file


def _verdict(
    target: SshTarget, keys: HostKeys, trust: Trust, key: asyncssh.SSHKey, expected: Expected | None
) -> Verdict:
    """What is to be done with a key. Raises HostError when it must not be recorded."""
    if key in trust.trusted:
        return "known"
    if key in trust.revoked or trust.trusted:
        # Changed or revoked: there is no way to go on from here but by removing the line.
        raise keys.explain(target.name, *known_as(target), key)
    if expected is None:
        return "unknown"
    if expected.has(target, key):
        return "expected"
    said = f"it shows {key.get_algorithm()} {key.get_fingerprint()}, which is not what is expected of it"
    raise HostError(target.name, "trust", said, hint="do not connect before you know why; somebody may listen in")


def _names(trust: Trust) -> list[str]:
    names = [str(key.get_algorithm()) for key in trust.trusted]
    return [*names, "rsa-sha2-512", "rsa-sha2-256"] if "ssh-rsa" in names else names
