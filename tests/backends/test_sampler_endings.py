"""The sampler's own ends: no lease, no input, nobody who reads. Run here, without SSH."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidestep.backends.sampler import Decoder, host_sampler
from sidestep.backends.sampler.sample1 import _awk_payload

DEADLINE = 20


@contextmanager
def running(kind: str, lease: float) -> Iterator[subprocess.Popen[bytes]]:
    python = [sys.executable, "-SE", str(host_sampler.__file__), "test", "0.1"]
    argv = python if kind == "python" else ["/bin/sh", "-s"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"l%f\n" % lease if kind == "python" else _awk_payload("test", lease))
        process.stdin.flush()
        yield process
        if process.poll() is None:
            process.kill()


both = pytest.mark.parametrize("kind", ["python", "awk"])


@both
def test_it_ends_with_its_input(kind: str) -> None:
    with running(kind, 60) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline().startswith(b"H1 ")
        process.stdin.close()
        process.stdout.read()
        assert process.wait(DEADLINE) == 0


@both
def test_it_ends_when_its_lease_is_not_renewed(kind: str) -> None:
    with running(kind, 0.3) as process:
        assert process.stdout
        process.stdout.read()
        process.wait(DEADLINE)


@both
def test_it_goes_on_while_its_lease_is_renewed(kind: str) -> None:
    with running(kind, 0.5) as process:
        assert process.stdout and process.stdin
        decoder, seen = Decoder("a"), 0
        decoder.feed(process.stdout.readline())
        while seen < 20:
            process.stdin.write(b"n\n")
            process.stdin.flush()
            sample = decoder.feed(process.stdout.readline())
            seen = sample.seq if sample else seen
        assert process.poll() is None
        process.stdin.write(b"q\n")
        process.stdin.flush()
        process.stdout.read()
        assert process.wait(DEADLINE) == 0


def test_it_ends_when_nobody_reads() -> None:
    with running("python", 60) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(DEADLINE) == 1


def test_it_says_why_it_fails() -> None:
    with running("python", 60) as process:
        assert process.stdout and process.stdin
        process.stdin.write(b"inonsense\n")
        process.stdin.flush()
        assert b"\nE failed ValueError: " in process.stdout.read()
