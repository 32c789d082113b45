"""S2.29: a shell that stands ready keeps apart what programs say, and runs none that did not come whole."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from shell import Shell

from sidestep.backends.process.standing import ShellLost, StandingShell, stand

PATIENCE = 60.0


async def standing(host: Shell, **texts: str) -> StandingShell:
    found = await stand(host, texts, "common=known\n")
    assert found is not None
    return found


async def test_output_complaints_and_status_come_back_as_they_were() -> None:
    """Whatever they hold, and after a greeting of the host's."""
    shell = await standing(Shell(greeting="welcome\n"), op="main() { echo $common $given; }")
    said = await shell.run(b"given=it\nop </dev/null", timeout=PATIENCE)
    assert (said.status, said.stdout, said.stderr.strip()) == (0, b"known it\n", b"")
    said = await shell.run(b"printf 'a=1\\n\\nb'\nprintf 'x=1\\nraw=\\n' >&2\n(exit 9)", timeout=PATIENCE)
    assert (said.status, said.stderr.strip()) == (9, b"x=1\nraw=")
    assert said.stdout.startswith(b"a=1\n\n")
    said = await shell.run(b"echo ${given:-nothing}; trap 'echo end' EXIT; exit 3", timeout=PATIENCE)
    assert (said.status, said.stdout) == (3, b"nothing\nend\n")  # a process of its own: nothing is left of the others
    shell.end()


async def test_any_bytes_go_through_it_both_ways(tmp_path: Path) -> None:
    shell = await standing(Shell(), take="main() { cat; }")
    data = bytes(range(256)) * 5000 + b"\n" + os.urandom(77)
    path = tmp_path / "file"
    put = f"head -c {len(data)} >{path}".encode()
    assert (await shell.run(put, timeout=PATIENCE, give=data)).status == 0
    assert path.read_bytes() == data
    said = await shell.run(f"echo raw={len(data)}\ncat {path}".encode(), timeout=PATIENCE, take=len(data))
    assert (said.status, said.stdout) == (0, data)
    said = await shell.run(b"echo cannot >&2; exit 4", timeout=PATIENCE, take=10)
    assert (said.status, said.stderr.strip()) == (4, b"cannot")
    shell.end()


async def test_what_is_given_to_a_program_that_fails_is_never_run(tmp_path: Path) -> None:
    """It may hold what looks like a program, between marks."""
    host = Shell()
    shell = await standing(host)
    path = tmp_path / "made"
    said = await shell.run(b"exit 7", timeout=PATIENCE, give=f"mark\n: >{path}\nmark\n".encode() * 2)
    assert said.status == 7
    assert await host.started[0].process.wait() == 0
    assert not path.exists() and not shell.ready


async def test_a_host_never_says_more_than_it_was_asked_for() -> None:
    shell = await standing(Shell())
    with pytest.raises(ShellLost):
        await shell.run(b"echo raw=11\nprintf 'hello world'", timeout=PATIENCE, take=10)
    assert not shell.ready


async def test_stages_of_a_program_are_told_as_they_end(tmp_path: Path) -> None:
    """The next one does not wait for anybody; meanwhile the shell has no time for other programs."""
    shell = await standing(Shell())
    path = tmp_path / "made"
    program = f"echo a=1\necho stage=one\n: >{path}\necho stage=two\necho raw=3\nprintf abc".encode()
    await shell.begin(program, ["one", "two", "three"], timeout=PATIENCE)
    with pytest.raises(ShellLost):
        await shell.run(b"echo", timeout=PATIENCE)
    assert shell.awaits("one") and not shell.awaits("two")
    assert (await shell.stage(timeout=PATIENCE)).stdout == b"a=1\n"
    assert (await shell.stage(timeout=PATIENCE)).stdout == b""
    assert path.exists()
    assert (await shell.stage(timeout=PATIENCE, take=3)).stdout == b"abc"
    assert (await shell.run(b"echo on", timeout=PATIENCE)).stdout == b"on\n"
    shell.end()


async def test_a_program_ends_with_the_stage_that_fails() -> None:
    shell = await standing(Shell())
    await shell.begin(
        b"echo stage=one\necho why >&2\nexit 5\necho stage=two", ["one", "two", "three"], timeout=PATIENCE
    )
    assert (await shell.stage(timeout=PATIENCE)).status == 0
    said = await shell.stage(timeout=PATIENCE)
    assert (said.status, said.stderr.strip()) == (5, b"why")
    assert not shell.awaits("three")
    assert (await shell.run(b"echo on", timeout=PATIENCE)).stdout == b"on\n"
    shell.end()


async def test_a_program_that_does_not_come_whole_is_not_run(tmp_path: Path) -> None:
    """The connection may be lost within a word."""
    host = Shell()
    await standing(host)
    path = tmp_path / "made"
    channel = host.started[0]
    await channel.write(f"mark\n: >{path}\nmar".encode())
    await channel.finish_input()
    assert await channel.process.wait() == 0
    assert not path.exists()


async def test_a_shell_that_is_gone_says_so(tmp_path: Path) -> None:
    """And what it held its lock with is the process of the program, which is gone with it."""
    host = Shell()
    shell = await standing(host)
    said = await shell.run(b"echo $self $$", timeout=PATIENCE)
    own, shells = said.stdout.split()
    assert own != shells
    assert int(shells) == host.started[0].process.pid
    host.started[0].process.kill()
    with pytest.raises(ShellLost):
        await shell.run(b"echo", timeout=PATIENCE)
    assert not shell.ready


async def test_a_host_without_one_is_no_error() -> None:
    class Refusing(Shell):
        async def open(self, command: str) -> object:  # type: ignore[override]
            return await super().open("exit 0")

    assert await stand(Refusing(), {}, "") is None
    await asyncio.sleep(0)
