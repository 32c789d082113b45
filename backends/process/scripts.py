"""Shell operations on a host: sent over standard input, so that nothing is left there.

Every operation is ``lib.sh`` and one file of this folder. Values go in front of them as quoted
assignments, never into a command line; results come back as ``key=value`` lines, and a
failure as one line ``sidestep:<what>:<message>`` on standard error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from shlex import quote
from typing import Final

from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_VARIABLE: Final = re.compile(r"[a-z_]+")
_FAILURE: Final = re.compile(rb"^sidestep:([a-z]+):(.*)$", re.MULTILINE)
_MISSING: Final = 127


def is_name(text: str) -> bool:
    """Whether ``text`` can name a folder on every host."""
    return _NAME.fullmatch(text) is not None


async def perform(
    transport: Transport, step: str, operation: str, values: Mapping[str, str | int], *, timeout: float
) -> list[tuple[str, str]]:
    """Run one operation; the ``key=value`` pairs it said, in order.

    Raises HostError with the shard's command that failed and the tail of what it wrote.
    """
    done = await transport.run("exec sh -s", stdin=_program(transport.host, step, operation, values), timeout=timeout)
    if done.status == 0:
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        return [(key, value) for key, found, value in (line.partition("=") for line in lines) if found]
    failures = list(_FAILURE.finditer(done.stderr))
    tail = _FAILURE.sub(b"", done.stderr).strip()[-800:]
    if not failures:
        missing = "no POSIX shell" if done.status == _MISSING else f"operation ended with status {done.status}"
        raise HostError(transport.host, step, missing, command=f"process/{operation}", tail=tail)
    what, message = (part.decode("utf-8", "replace") for part in failures[-1].groups())
    command = str(values.get(f"cmd_{what}", "")) or f"process/{operation}"
    said = message if what == "host" else f"{what} {message}"
    raise HostError(transport.host, step, said, command=command, tail=tail)


def _program(host: str, step: str, operation: str, values: Mapping[str, str | int]) -> bytes:
    lines = []
    for name, value in values.items():
        text = str(value)
        if "\0" in text or not _VARIABLE.fullmatch(name):
            raise HostError(host, step, f"{name} holds a NUL character, which no shell can carry")
        lines.append(f"{name}={quote(text)}\n")
    body = f"{''.join(lines)}{_source('lib')}{_source(operation)}main </dev/null\n"
    return body.encode("utf-8", "surrogateescape")


@cache
def _source(name: str) -> str:
    return files(__package__).joinpath(f"{name}.sh").read_text("utf-8")
