"""Shell operations on a host: sent over standard input, so that nothing is left there.

Every operation is what several share and one file of this folder, or of a backend's that shares them. Values go
in front of them as quoted assignments, never into a command line; results come back as ``key=value``
lines, and a failure as one line ``sidestep:<what>:<message>`` on standard error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from shlex import quote
from typing import Final

from sidestep.backends.process.criu import incapable
from sidestep.backends.process.standing import ShellLost, StandingShell
from sidestep.backends.ssh.base import Completed, Transport
from sidestep.fleet.errors import HostError, ShardEnded

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_VARIABLE: Final = re.compile(r"[a-z_]+")
_FAILURE: Final = re.compile(rb"^sidestep:([a-z]+):(.*)$", re.MULTILINE)
_MISSING: Final = 127
#: what operations call it when the process that they need has ended and they start none
_ENDED: Final = "ended"
#: and when the host cannot do what driver criu needs
_CRIU: Final = "criu"
#: what is sent before every operation, and what only before those that need it
LIBRARY: Final = ("lib", "lock", "units")
_MORE: Final = {
    "launch": frozenset({"start", "restore", "resume", "thaw", "revive", "warm"}),
    "delta": frozenset({"seed", "plant", "capture", "restore", "verify"}),
    "criu": frozenset({"able", "source_prepare", "prepare", "precopy", "capture", "restore", "resume", "thaw"}),
}
#: what only shards of that driver need
_OF_DRIVER: Final = frozenset({"criu"})

#: operations that users wait for
STANDING: Final = ("freeze", "capture", "restore", "verify", "resume")
#: and those that only a standing shell knows
TAKING: Final = ("lift", "land")


def is_name(text: str) -> bool:
    """Whether ``text`` can name a folder on every host."""
    return _NAME.fullmatch(text) is not None


async def perform(
    transport: Transport,
    step: str,
    operation: str,
    values: Mapping[str, str | int],
    *,
    timeout: float,
    standing: StandingShell | None = None,
) -> list[tuple[str, str]]:
    """Run one operation, in the ``standing`` shell if there is one; the ``key=value`` pairs it said, in order.

    Raises HostError with the shard's command that failed and the tail of what it wrote, and ShardEnded where the
    operation found the process gone that it cannot do without.
    """
    done: Completed | None = None
    if standing is not None and operation in STANDING:
        with suppress(ShellLost):
            if standing.awaits(operation):
                done = await standing.stage(timeout=timeout)
            else:
                done = await standing.run(called(transport.host, step, operation, values), timeout=timeout)
    if done is None:
        program = _program(transport.host, step, operation, values)
        done = await transport.run("exec sh -s", stdin=program, timeout=timeout)
    lines = understood(transport, step, operation, values, done).decode("utf-8", "replace").splitlines()
    return [(key, value) for key, found, value in (line.partition("=") for line in lines) if found]


def understood(
    transport: Transport, step: str, operation: str, values: Mapping[str, str | int], done: Completed
) -> bytes:
    """What an operation said that succeeded. Raises HostError as ``perform`` for one that did not."""
    if done.status == 0:
        return done.stdout
    failures = list(_FAILURE.finditer(done.stderr))
    tail = _FAILURE.sub(b"", done.stderr).strip()[-800:]
    if not failures:
        missing = "no POSIX shell" if done.status == _MISSING else f"operation ended with status {done.status}"
        raise HostError(transport.host, step, missing, command=_named(operation), tail=tail)
    what, message = (part.decode("utf-8", "replace") for part in failures[-1].groups())
    if what == _CRIU:
        raise incapable(transport.host, step, message, tail=tail)
    if what == _ENDED:
        raise ShardEnded(transport.host, step, message, command=f"process/{operation}", tail=tail)
    command = str(values.get(f"cmd_{what}", "")) or _named(operation)
    said = message if what == "host" else f"{what} {message}"
    raise HostError(transport.host, step, said, command=command, tail=tail)


def _named(operation: str) -> str:
    return operation if "/" in operation else f"process/{operation}"


def standing_texts() -> dict[str, str]:
    """What a standing shell is given: the operations that it may be asked for, by the name of their function."""
    return {_function(name): source(name) for name in (*STANDING, *TAKING)}


def standing_common(host: str, step: str, values: Mapping[str, str | int]) -> str:
    """What all of these share, which begins with whose they are."""
    return _assigned(host, step, {**values, "quick": 1}) + library((*LIBRARY, *_needed(values, None)))


def called(host: str, step: str, operation: str, values: Mapping[str, str | int]) -> bytes:
    """An operation as a standing shell is asked for it."""
    given = "" if operation in TAKING else " </dev/null"
    return f"{_assigned(host, step, values)}{_function(operation)}{given}".encode("utf-8", "surrogateescape")


def chained(host: str, step: str, operations: Mapping[str, Mapping[str, str | int]]) -> bytes:
    """Several operations as a standing shell is asked for them at once, each begun when the one before is done.

    They are one process, which has the shard's lock throughout: nobody waits between them for a round trip.
    """
    lines = [called(host, step, operation, values) for operation, values in operations.items()]
    names = [*operations][:-1]
    stages = [f" || exit\necho stage={name}\n".encode() for name in names]
    return b"chained=begins\n" + b"".join(line + end for line, end in zip(lines, [*stages, b""], strict=True))


def _function(operation: str) -> str:
    return f"operation_{operation}"


def _assigned(host: str, step: str, values: Mapping[str, str | int]) -> str:
    lines = []
    for name, value in values.items():
        text = str(value)
        if "\0" in text or not _VARIABLE.fullmatch(name):
            raise HostError(host, step, f"{name} holds a NUL character, which no shell can carry")
        lines.append(f"{name}={quote(text)}\n")
    return "".join(lines)


def _program(host: str, step: str, operation: str, values: Mapping[str, str | int]) -> bytes:
    more = _needed(values, operation)
    given = _assigned(host, step, values)
    body = f"{given}{library((*LIBRARY, *more))}{source(operation)}main </dev/null\n"
    return body.encode("utf-8", "surrogateescape")


def _needed(values: Mapping[str, str | int], operation: str | None) -> tuple[str, ...]:
    """What is sent besides with an operation, or with any of them, on a shard of that driver."""
    driver = values.get("driver")
    names = (name for name, those in _MORE.items() if operation is None or operation in those)
    return tuple(name for name in names if name not in _OF_DRIVER or name == driver)


@cache
def library(names: tuple[str, ...]) -> str:
    """The text of what several operations share."""
    return "".join(source(name) for name in names)


@cache
def source(name: str) -> str:
    """The text of one operation, or of what all of them share; ``systemd/limits`` is one of another backend's."""
    folder, _, file = name.rpartition("/")
    return files(f"sidestep.backends.{folder or 'process'}").joinpath(f"{file}.sh").read_text("utf-8")
