"""From the fleet file and ssh_config to the target that is dialled, jump hosts and all.

What the fleet file says wins, as a command line's options do: user, port, identity, jump
and known_hosts. The host is looked up in ssh_config by its address in the fleet file.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from sidestep.backends.ssh import algorithms
from sidestep.backends.ssh.sshconfig import Said, Settings, SshConfig
from sidestep.backends.ssh.sshconfig_words import expand, seconds, variables
from sidestep.backends.ssh.target import KEEPALIVE_COUNT, SshTarget
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import scrub

USER_KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
GLOBAL_KNOWN_HOSTS: Final = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
#: hosts on the way to one host
CHAIN: Final = 8
_FAMILIES: Final[dict[str, Literal["any", "inet", "inet6"]]] = {"any": "any", "inet": "inet", "inet6": "inet6"}
_YES: Final = {"yes": True, "true": True, "no": False, "false": False}


class Asked(Struct, frozen=True):
    """A host as asked for: by the fleet file or by a ProxyJump."""

    name: str
    address: str
    port: int = 0
    user: str = ""
    jump: str = ""


def resolve(host: HostSpec, fleet: FleetSpec, config: SshConfig) -> SshTarget:
    """How ``host`` is reached. Pure but for the environment, the user's name and this machine's.

    Raises ConfigError, naming file and line, when what ssh_config says about this host cannot be used.
    """
    # The fleet file cannot say "22 and nothing else": 22 is what it says when it says nothing.
    asked = Asked(host.name, host.address, 0 if host.port == 22 else host.port, host.user, host.jump)
    target = _Resolver(fleet, config).target(asked)
    if chosen := host.identity or fleet.identity:
        target = replace(target, identities=(str(beside(fleet, chosen)),), identities_only=True,
                         identities_optional=False)  # fmt: skip
    return target


def fleet_known_hosts(fleet: FleetSpec) -> tuple[str, ...]:
    """The known_hosts files of hosts for which ssh_config names none; the first is the one that we write to.

    It is the fleet's, or one of our own: what is trusted here is not trusted by every ssh of the user.
    """
    if fleet.known_hosts:
        return (str(beside(fleet, fleet.known_hosts)),)
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "sidestep", "known_hosts")
    return (str(own), *(str(Path(p).expanduser()) for p in USER_KNOWN_HOSTS + GLOBAL_KNOWN_HOSTS))


def fleet_ssh_config(fleet: FleetSpec) -> SshConfig:
    """The ssh_config that the fleet file names, or the user's. Reads files; raises ConfigError."""
    named = fleet.ssh_config if fleet.ssh_config in ("", "none") else str(beside(fleet, fleet.ssh_config))
    return SshConfig.load(named)


def beside(fleet: FleetSpec, path: str) -> Path:
    """A path of the fleet file, which may be relative to that file's folder."""
    return Path(fleet.source).absolute().parent / Path(path).expanduser()


class _Resolver:
    """Resolves one host; jump hosts are hosts of their own."""

    def __init__(self, fleet: FleetSpec, config: SshConfig) -> None:
        self._fleet, self._config = fleet, config

    def target(self, asked: Asked, above: tuple[str, ...] = (), *, alone: bool = False) -> SshTarget:
        """One host with the way to it.

        ``above`` are those it is a jump host for, innermost last; ``alone`` leaves its own way out.
        Raises ConfigError, and _Circle when it is among those above.
        """
        jump = asked.jump or ("none" if alone else "")
        read = _Reader(self._config.settings(asked.address, asked.user, jump=jump), asked)
        place = f"{read.user or me()}@{read.address}:{read.port}"
        if place in above or len(above) > CHAIN:
            raise _Circle(" through ".join((*above, place)))
        return SshTarget(
            name=scrub(asked.name),
            address=read.address,
            port=read.port,
            user=read.user,
            host_key_alias=read.one("hostkeyalias").lower(),
            identities=read.files("identityfile"),
            identities_optional=True,
            certificates=read.files("certificatefile"),
            identities_only=read.flag("identitiesonly"),
            agent=read.agent(),
            jumps=() if alone else self._jumps(asked, read, (*above, place)),
            connect_timeout=float(read.number("connecttimeout", seconds) or self._fleet.connect_timeout),
            keepalive=float(read.number("serveraliveinterval", seconds) or self._fleet.keepalive),
            keepalive_count=read.number("serveralivecountmax", _count) or KEEPALIVE_COUNT,
            ciphers=read.algorithms("ciphers"),
            kex=read.algorithms("kexalgorithms"),
            macs=read.algorithms("macs"),
            host_key_algorithms=read.algorithms("hostkeyalgorithms"),
            family=read.family(),
            known_hosts=() if self._fleet.known_hosts else read.known_hosts(),
        )

    def _jumps(self, asked: Asked, read: _Reader, above: tuple[str, ...]) -> tuple[SshTarget, ...]:
        said = read.settings.first.get("proxy")
        if said is None or said.keyword != "proxyjump" or said.value.lower() == "none":
            return ()
        try:
            hops = [hop_of(part) for part in read.expand(said.value, "hnpr").split(",")]
            # ssh logs in to the first hop as to any host, through that host's own jumps; the others are told their way.
            first = self.target(hops[0], above)
            rest = [self.target(hop, above, alone=True) for hop in hops[1:]]
        except (ValueError, _Circle) as error:
            message = f"goes in a circle: {error}" if isinstance(error, _Circle) else str(error)
            if asked.jump:
                key = f"hosts.{asked.name}.jump"
                raise ConfigError(self._fleet.source, 0, key, scrub(asked.jump), message) from error
            raise said.error(message) from error
        return (*first.jumps, *(self._known(hop) for hop in (replace(first, jumps=()), *rest)))

    def _known(self, target: SshTarget) -> SshTarget:
        """A jump host with the fleet's identity, unless ssh_config gives it one."""
        if target.identities or not self._fleet.identity:
            return target
        identity = str(beside(self._fleet, self._fleet.identity))
        return replace(target, identities=(identity,), identities_only=True, identities_optional=False)


class _Circle(Exception):
    """A host is its own jump host, or the way is too long to be meant."""


def hop_of(text: str) -> Asked:
    """One host of a ProxyJump: ``[user@]host[:port]`` or ``ssh://[user@]host[:port]``. Raises ValueError."""
    user, _, place = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    if place.startswith("["):
        address, _, tail = place[1:].partition("]")
        port = tail.removeprefix(":")
        if tail and not tail.startswith(":"):
            raise ValueError(f"cannot be read as a jump host: {text}")
    elif place.count(":") > 1:
        address, port = place, ""
    else:
        address, _, port = place.partition(":")
    if not address or address.startswith("-") or (port and not (port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"cannot be read as a jump host: {text}; write [user@]host[:port]")
    return Asked(address, address, int(port or 0), user)


def _count(text: str) -> int:
    if not text.isdigit():
        raise ValueError("is not a whole number")
    return int(text)


class _Reader:
    """Settings of one host as typed values, with tokens replaced."""

    def __init__(self, settings: Settings, asked: Asked) -> None:
        self.settings = settings
        self._tokens: dict[str, str] = {"h": asked.address, "n": asked.address}
        self.address = self._text("hostname", "h") or asked.address
        self.port = asked.port or self.number("port", _port) or 22
        self.user = asked.user or self.one("user")
        self._tokens = tokens(asked.address, self.address, self.port, self.user, self.one("hostkeyalias").lower())

    def one(self, keyword: str) -> str:
        """The first value as written; empty without one."""
        said = self.settings.first.get(keyword)
        return said.value if said else ""

    def flag(self, keyword: str) -> bool:
        """A yes or no; no without one."""
        said = self.settings.first.get(keyword)
        if said is None:
            return False
        if said.value.lower() not in _YES:
            raise said.error("must be yes or no")
        return _YES[said.value.lower()]

    def number(self, keyword: str, read: Callable[[str], int]) -> int:
        """A number; 0 without one, and for "none"."""
        said = self.settings.first.get(keyword)
        if said is None or said.value.lower() == "none":
            return 0
        try:
            return read(said.value)
        except ValueError as error:
            raise said.error(str(error)) from error

    def family(self) -> Literal["any", "inet", "inet6"]:
        """The address family."""
        said = self.settings.first.get("addressfamily")
        if said is None:
            return "any"
        if said.value.lower() not in _FAMILIES:
            raise said.error("must be any, inet or inet6")
        return _FAMILIES[said.value.lower()]

    def files(self, keyword: str) -> tuple[str, ...]:
        """Files that add up, "none" left out but not forgotten: it keeps the default files away."""
        lines = self.settings.every.get(keyword, [])
        found = tuple(self._path(said, said.value) for said in lines if said.value.lower() != "none")
        return found or (("none",) if lines else ())

    def known_hosts(self) -> tuple[str, ...]:
        """The files that ssh would look into, if it is told any; else none."""
        chosen = [self.settings.first.get(k) for k in ("userknownhostsfile", "globalknownhostsfile")]
        if chosen == [None, None]:
            return ()
        files: list[str] = []
        for said, standard in zip(chosen, (USER_KNOWN_HOSTS, GLOBAL_KNOWN_HOSTS), strict=True):
            if said is None:
                files += [str(Path(p).expanduser()) for p in standard]
            elif said.value.lower() != "none":
                files += [self._path(said, word) for word in said.words]
        return tuple(files) or ("/dev/null",)

    def agent(self) -> str:
        """The agent's socket: empty is the environment's."""
        said = self.settings.first.get("identityagent")
        if said is None or said.value == "SSH_AUTH_SOCK":
            return ""
        if said.value.lower() == "none":
            return "none"
        if said.value.startswith("$") and not said.value.startswith("${"):
            return os.environ.get(said.value[1:], "") or "none"
        return self._path(said, said.value)

    def algorithms(self, keyword: str) -> tuple[str, ...]:
        """A list of algorithms; empty is ours."""
        said = self.settings.first.get(keyword)
        if said is None:
            return ()
        try:
            return algorithms.chosen(keyword, said.value)
        except ValueError as error:
            raise said.error(str(error), "ssh -Q lists names; leave the option out to use sidestep's list") from error

    def expand(self, text: str, tokens: str) -> str:
        """Text with the given tokens replaced. Raises ValueError."""
        return expand(text, {t: self._tokens[t] for t in tokens})

    def _text(self, keyword: str, tokens: str) -> str:
        said = self.settings.first.get(keyword)
        try:
            return self.expand(said.value, tokens) if said else ""
        except ValueError as error:
            assert said is not None
            raise said.error(str(error)) from error

    def _path(self, said: Said, text: str) -> str:
        try:
            path = Path(expand(variables(text, os.environ), self._tokens)).expanduser()
        except (ValueError, RuntimeError) as error:
            raise said.error(str(error)) from error
        return str(path.absolute())


def me() -> str:
    """Our login name, looked up once for the environment that says it: a thousand hosts ask for it."""
    return _login(os.getuid(), *map(os.environ.get, ("LOGNAME", "USER", "LNAME", "USERNAME")))


@lru_cache(maxsize=4)
def _login(*_: object) -> str:
    return getpass.getuser()


def tokens(asked: str, address: str, port: int, user: str, alias: str) -> dict[str, str]:
    """What the ``%`` tokens of ssh_config stand for, of a host that was asked for as ``asked``."""
    local = socket.gethostname()
    user = user or me()
    return {
        "h": address,
        "n": asked,
        "p": str(port),
        "r": user,
        "u": me(),
        "i": str(os.getuid()),
        "d": str(Path.home()),
        "l": local,
        "L": local.split(".", 1)[0],
        "k": alias or asked,
        "C": hashlib.sha1(f"{local}{address}{port}{user}".encode(errors="surrogateescape")).hexdigest(),  # noqa: S324 - ssh's own
    }


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError("is not a port between 1 and 65535")
    return int(text)
