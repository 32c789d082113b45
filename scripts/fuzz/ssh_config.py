"""ssh_config files: any text says how a host is reached, or is refused with file and line."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.fuzz.known_hosts import in_memory
from sidestep.backends.ssh.resolve import resolve
from sidestep.backends.ssh.sshconfig import SshConfig
from sidestep.fleet.errors import ConfigError
from sidestep.fleet.inventory import FleetSpec, HostSpec
from sidestep.fleet.labels import Label

PARTS = ("sidestep.backends.ssh", "sidestep.fleet.errors", "sidestep.fleet.labels")

_HOSTS = (
    HostSpec(name=Label("h1"), address="h1"),
    HostSpec(name=Label("web"), address="10.0.0.7", port=2222, user="me"),
    HostSpec(name=Label("far"), address="far.example", jump="u@j1:22,j2"),
)
_FLEET = FleetSpec(name=Label("f"), source="/nowhere/fleet.toml", hosts=_HOSTS, shards=())


def seeds() -> Iterator[bytes]:
    """Blocks of every kind, options that are used, ignored and refused."""
    yield b"Host h1\n  HostName 10.0.0.1\n  Port 2200\n  User me\n  IdentityFile ~/.ssh/%h\n  IdentitiesOnly yes\n"
    yield b"Host * !web\n ProxyJump u@j1:2222,[::1]:22\nHost j?\n HostName=%h.lan\n ProxyJump none\n"
    yield b'Match host "far*" user me\n UserKnownHostsFile "~/a b" ~/c\n HostKeyAlias x\n ConnectTimeout 1m30s\n'
    yield b"Match exec true\n Port 1\nProxyCommand nc %h %p\nStrictHostKeyChecking no\nIgnoreUnknown Foo*\nFooBar 1\n"
    yield b"Ciphers +aes128-ctr\nHostKeyAlgorithms ^ssh-ed25519\nIdentityAgent ${HOME}/s\nAddressFamily inet\n# x\n"
    # found by fuzzing: a user whose name is no text
    yield b"Host h1\n User m\xf6\n"


def run(data: bytes) -> None:
    """Load them as a file, and resolve some hosts."""
    if b"include" in data.lower():
        return  # would read whatever files this machine has
    with in_memory(data) as path:
        try:
            config = SshConfig.load(path)
        except ConfigError as error:
            assert str(error.args[0]).isprintable(), "an error is not printable"
            return
    assert all(isinstance(name, str) for name in config.names())
    for host in _HOSTS:
        try:
            target = resolve(host, _FLEET, config)
        except ConfigError as error:
            assert str(error.args[0]).isprintable(), "an error is not printable"
        else:
            assert 0 < target.port < 1 << 16, "no port"
