"""The samplers' own ends: no lease, no input, nobody who reads. Run here, without SSH."""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

import pytest

from sidestep.backends.sampler import starts
from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS

DEADLINE = 20
KINDS = ("python", "perl", "awk", "sh")
every_kind = pytest.mark.parametrize("kind", KINDS)


@contextmanager
def running(kind: str, lease: float = 60, shell: str = "/bin/sh") -> Iterator[subprocess.Popen[bytes]]:
    argv = [shell, "-c", starts.command(kind, "test", 0.1)]  # type: ignore[arg-type]
    environment = {name: value for name, value in os.environ.items() if name != "SIDESTEP_HOST_TREE"}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=environment
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(starts.payload(kind, "test", lease))  # type: ignore[arg-type]
        process.stdin.flush()
        yield process
        if process.poll() is None:
            os.killpg(process.pid, 9)


def say(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin
    os.write(process.stdin.fileno(), line + b"\n")


def hear(process: subprocess.Popen[bytes], start: bytes) -> bytes:
    assert process.stdout
    while line := process.stdout.readline():
        if line.startswith(start):
            return line
    raise AssertionError("it ended")


@every_kind
def test_it_ends_with_its_input(kind: str) -> None:
    with running(kind) as process:
        hear(process, b"H2 ")
        assert process.stdin and process.stdout
        process.stdin.close()
        process.stdout.read()
        assert process.wait(DEADLINE) == 0


@every_kind
def test_it_ends_when_its_lease_is_not_renewed(kind: str) -> None:
    with running(kind, 0.3) as process:
        hear(process, b"H2 ")
        say(process, b"l0.3")
        assert process.stdout
        process.stdout.read()
        process.wait(DEADLINE)


@pytest.mark.parametrize("kind", ["python", "perl"])
def test_it_ends_with_its_lease_even_while_nobody_takes_what_it_says(kind: str) -> None:
    """A cut connection: its output is blocked, and the kernel alone ends it."""
    with running(kind) as process:
        hear(process, b"H2 ")
        assert process.stdout
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        say(process, b"i50\nl1")
        assert process.wait(DEADLINE) == -14


@every_kind
def test_it_goes_on_while_it_is_asked_and_ends_when_told(kind: str) -> None:
    with running(kind, 5) as process:
        hear(process, b"H2 ")
        for seq in range(1, 8):
            say(process, b"n")
            assert int(hear(process, b"V ").split()[1]) >= seq
        assert process.poll() is None
        say(process, b"q")
        assert process.stdout
        process.stdout.read()
        assert process.wait(DEADLINE) == 0


@every_kind
def test_it_ends_when_nobody_reads(kind: str) -> None:
    with running(kind) as process:
        hear(process, b"H2 ")
        assert process.stdout
        process.stdout.close()
        deadline = time.monotonic() + DEADLINE
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired, BrokenPipeError):
                say(process, b"n")
                process.wait(0.1)
        assert process.wait(DEADLINE) != 0


@pytest.mark.parametrize("kind", ["python", "perl"])
def test_it_ends_with_its_parent(kind: str) -> None:
    """Standard input that a stranger holds open does not keep it."""
    reading, writing = os.pipe()
    command = starts.command(kind, "test", 0.1).removeprefix("exec ")  # type: ignore[arg-type]
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec 3<&0; {command} <&3 & wait"], stdin=reading, stdout=subprocess.PIPE
    ) as parent:
        os.write(writing, starts.payload(kind, "test", 60))  # type: ignore[arg-type]
        sampler = int(hear(parent, b"H2 ").split()[1])
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + DEADLINE
        while Path(f"/proc/{sampler}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    os.close(reading)
    os.close(writing)


def test_it_says_why_it_fails() -> None:
    with running("python") as process:
        hear(process, b"H2 ")
        say(process, b"inonsense")
        assert hear(process, b"E failed ").startswith(b"E failed ValueError: ")


def missing(reason: str) -> None:
    """Skip, loudly; fail where nothing may be missing."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shell", ["bash", "dash", "zsh", "fish", "tcsh", "busybox"])
def test_any_login_shell_starts_it(kind: str, shell: str, tmp_path: Path) -> None:
    path = shutil.which(shell)
    if path is None:
        missing(f"{shell} is not installed here")
    if shell == "busybox":
        # As a login shell it is called by the name of its applet.
        (tmp_path / "sh").symlink_to(path)
        path = str(tmp_path / "sh")
    with running(kind, shell=path) as process:
        hear(process, b"H2 ")
        if starts.ticking(kind):  # type: ignore[arg-type]
            say(process, b"n")
        assert len(hear(process, b"V ").split()) >= 3 + len(HOST_COLUMNS)


@pytest.mark.parametrize("awk", ["mawk", "gawk", "busybox"])
def test_any_awk_runs_the_sampler_in_awk(awk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shutil.which(awk)
    if path is None:
        missing(f"{awk} is not installed here")
    (tmp_path / "awk").symlink_to(path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    panel = Panel(["a"])
    intake = panel.intake(0)
    with running("awk") as process:
        intake.data(hear(process, b"H2 "))
        for _ in range(3):
            say(process, b"n")
            assert process.stdout
            while not (line := process.stdout.readline()).startswith(b"V "):
                intake.data(line)
            intake.data(line)
    assert panel.decode(0.0) == ()
    assert panel.seq[0] == 3


def test_the_samplers_write_as_many_columns_as_the_protocol_has() -> None:
    for name in ("main.py", "sampler.pl", "sampler.awk", "sampler_sh.sh"):
        text = files(starts.__package__).joinpath("host", name).read_text()
        wanted = f"{len(HOST_COLUMNS)}, {len(SHARD_COLUMNS)}" if name == "main.py" else "K 36 10 "
        assert wanted in text, name


def test_the_sampler_in_python_is_written_in_python_3_6() -> None:
    """The oldest one on hosts that are still to be met: RHEL 8's own."""
    for path in files(starts.__package__).joinpath("host").iterdir():
        if path.name.endswith(".py"):
            ast.parse(path.read_text(), feature_version=(3, 6))


def test_the_command_lines_hold_nothing_that_some_shell_takes_amiss() -> None:
    for kind in KINDS:
        line = starts.command(kind, "test", 1.0)  # type: ignore[arg-type]
        assert line.startswith("exec /bin/sh -c '") and line.endswith("'")
        assert not set(line[17:-1]) & set("'!\n")
        assert "\\\\" not in line
        assert len(line) < 1000
