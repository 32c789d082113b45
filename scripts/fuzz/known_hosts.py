"""known_hosts files: any text is read, or refused with file and line; no question about a host then raises."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sidestep.backends.ssh.hostkeys import HostKeys
from sidestep.fleet.errors import ConfigError

PARTS = ("sidestep.backends.ssh.hostkeys", "sidestep.backends.ssh.hostkeys_file", "sidestep.fleet.errors")

#: the public half of a key that was made for this and thrown away
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
_ASKED = (("h1", 22), ("h1", 2222), ("10.0.0.7", 22), ("::1", 22), ("", 22), ("a*?!b", 1))


@contextmanager
def in_memory(data: bytes) -> Iterator[Path]:
    """A file of that content, in memory where there is such a folder, that its owner alone may read."""
    folder = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    path = folder / f"sidestep-fuzz-{os.getpid()}"
    path.touch(mode=0o600)
    try:
        path.write_bytes(data)
        yield path
    finally:
        path.unlink()


def seeds() -> Iterator[bytes]:
    """Every form of line that the format has."""
    yield f"h1 {KEY} comment\n# comment\n\n".encode()
    yield f"h1,[h1]:2222,10.0.0.* {KEY}\n@revoked * {KEY}\n".encode()
    yield f"@cert-authority *.example.org,!bad.example.org {KEY}\n".encode()
    yield f"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {KEY}\n".encode()
    yield b"h1 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQC7\nh1 sk-new@openssh.com AAAA\n"
    # found by fuzzing: a type that is no text
    yield b"h1 ssh\xabrsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQC7\n"


def run(data: bytes) -> None:
    """Load them as a file, and ask for some hosts."""
    with in_memory(data) as path:
        try:
            keys = HostKeys.load(path)
        except ConfigError as error:
            assert str(error.args[0]).isprintable(), "an error is not printable"
            assert error.file == str(path)
            return
    for address, port in _ASKED:
        trust = keys.trust(address, port)
        assert not set(trust.trusted) & set(trust.revoked), "a revoked key is trusted"
        error = keys.explain("host", address, port, trust.trusted[0] if trust.trusted else None)
        assert str(error.args[0]).isprintable(), "an error is not printable"
