"""Fixtures of the integration tests: hosts that run OpenSSH's own server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sshd_hosts import KEYGEN, SSHD, SshdHost, keygen, start_host


@pytest.fixture(scope="session")
def needs_sshd() -> None:
    """Skip, loudly, where there is no OpenSSH server; fail where there must be one."""
    if SSHD is not None and KEYGEN is not None:
        if os.geteuid() == 0:
            # The privilege separation folder that the init system makes on a host with sshd running.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        return
    reason = "OpenSSH's sshd and ssh-keygen are not installed (Debian: apt install openssh-server)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def client_identity(tmp_path_factory: pytest.TempPathFactory, needs_sshd: None) -> Path:
    """A private key that every test host lets in."""
    path = tmp_path_factory.mktemp("identity") / "id"
    keygen(path)
    return path


@pytest.fixture
async def sshd(
    tmp_path_factory: pytest.TempPathFactory, client_identity: Path
) -> AsyncIterator[Callable[..., SshdHost]]:
    """A maker of hosts: ``sshd("a")``, ``sshd("b", env="NAME=value")`` with a variable that its commands see."""
    hosts: list[SshdHost] = []

    def make(name: str, env: str = "", certificate: tuple[Path | str, ...] = ()) -> SshdHost:
        folder = tmp_path_factory.mktemp(f"sshd-{name}")
        hosts.append(start_host(folder, client_identity, name, env, certificate))
        return hosts[-1]

    yield make
    for host in hosts:
        await asyncio.gather(*(t.aclose() for t in host.transports), return_exceptions=True)
        host.cut() if host.process.poll() is None else None
        await asyncio.to_thread(host.process.wait)


@pytest.fixture(scope="module")
def shared_sshd(tmp_path_factory: pytest.TempPathFactory, client_identity: Path) -> Iterator[SshdHost]:
    """One host for the tests of a module that leave nothing behind and cut nothing."""
    host = start_host(tmp_path_factory.mktemp("sshd-shared"), client_identity, "shared")
    yield host
    host.cut()
    host.process.wait()
