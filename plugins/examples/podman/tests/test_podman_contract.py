"""The backend keeps every rule of the contract, in containers that really run, on real hosts over real SSH."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from sidestep_podman.subject import PodmanSubject
from sidestep_podman.words import container

from sidestep.plugins import HostError, Label, Move, ShardSpec, SidestepError, Sizes, StepName, Transport
from sidestep.testing import EmbeddedGround, check_backend_now


@pytest.fixture(scope="module")
def subject() -> PodmanSubject:
    """Containers that run here; skipped with the reason where none does."""
    try:
        made = PodmanSubject()
    except SidestepError as error:
        pytest.skip(f"NO PODMAN: {error}")
    if reason := made.refusal():
        pytest.skip(f"NO PODMAN: no container runs here: {reason}")
    return made


def on_a_host(subject: PodmanSubject, folder: Path, doing: Callable[[Transport, str], Awaitable[None]]) -> None:
    async def run() -> None:
        async with EmbeddedGround(folder) as ground:
            host = ground.hosts[0]
            transport = ground.transport(host)
            await transport.connect()
            try:
                await doing(transport, ground.address(host))
            finally:
                await subject.backend().stop(transport, subject.shard(1, Label("h1")), 1 << 30)
                await transport.aclose()

    asyncio.run(run())


def test_the_backend_keeps_the_contract(subject: PodmanSubject) -> None:
    """One step of each rule; ``sidestep plugin check podman`` tries all."""
    card = check_backend_now(subject, sample=1)
    assert card.ok, card.text()


def test_limits_are_changed_in_place_and_told_as_the_kernel_has_them(subject: PodmanSubject, tmp_path: Path) -> None:
    async def resize(transport: Transport, address: str) -> None:
        backend, shard = subject.backend(), replace(subject.shard(1, Label("h1")), limit_cpu=0.5, limit_memory=64 << 20)
        began = await backend.start(transport, shard, 1, address)
        assert await backend.sizes(transport, shard, 1) == Sizes(cpu=0.5, memory=64 << 20)
        assert await backend.resize(transport, shard, 1, Sizes(cpu=0.75, memory=128 << 20)) == Sizes(
            cpu=0.75, memory=128 << 20
        )
        with pytest.raises(HostError, match="would be ended"):
            await backend.resize(transport, shard, 1, Sizes(cpu=1, memory=4096))
        with pytest.raises(HostError, match="token 1, not 2"):
            await backend.resize(transport, shard, 2, Sizes(cpu=1))
        assert await backend.resize(transport, shard, 1, Sizes()) == Sizes()
        (seen,) = await backend.discover(transport)
        assert (seen.pid, seen.started) == (began.pid, began.started)

    on_a_host(subject, tmp_path, resize)


def test_an_image_that_is_not_there_is_told_before_anything_stands_still(
    subject: PodmanSubject, tmp_path: Path
) -> None:
    async def start(transport: Transport, address: str) -> None:
        shard = replace(subject.shard(1, Label("h1")), start="localhost/nobody:9 run")
        with pytest.raises(HostError, match="podman pull localhost/nobody:9") as error:
            await subject.backend().start(transport, shard, 1, address)
        assert error.value.host == "h1"

    on_a_host(subject, tmp_path, start)


def test_why_memory_cannot_go_along_is_told_before_anything_stands_still(
    subject: PodmanSubject, tmp_path: Path
) -> None:
    async def prepare(transport: Transport, address: str) -> None:
        backend, shard = subject.backend(), subject.shard(1, Label("h1"))
        await backend.start(transport, shard, 1, address)
        move = Move(key="m", shard=shard, source=Label("h1"), destination=Label("h1"), old_token=1, new_token=1,
                    destination_address="127.0.0.1")  # fmt: skip
        result = await backend.step(StepName.PREPARE, move, transport, transport, {})
        able = (
            shutil.which("criu") and subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0
        )
        assert result.notes["memory"] == ("yes" if able else "")
        assert ("; with its memory" if able else "; without its memory: h1: ") in result.detail

    on_a_host(subject, tmp_path, prepare)


def shard(start: str) -> ShardSpec:
    return ShardSpec(name=Label("s"), app=Label("a"), host=Label("h"), start=start)


def test_a_declaration_is_read_into_options_image_and_command() -> None:
    assert container("h", "start", shard("--env=A='b c' docker.io/library/redis:7 redis-server --dir /state")) == (
        "'--env=A=b c' docker.io/library/redis:7 redis-server --dir /state",
        "docker.io/library/redis:7",
    )


@pytest.mark.parametrize("start", ["", "--env=A=b", "--name=mine i", "--restart=always i", "-e A=b i", "--rm i", "'"])
def test_a_declaration_that_would_break_a_rule_is_refused(start: str) -> None:
    with pytest.raises(HostError):
        container("h", "start", shard(start))
