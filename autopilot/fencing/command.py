"""Runs the command of the fleet file that switches a host off, or makes sure that it is."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, Final

from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import HostSpec

#: seconds that it may take
DEADLINE: Final = 60.0
_TAIL: Final = 800


async def run_fence(host: HostSpec, command: str, *, deadline: float = DEADLINE) -> None:
    """Returns once it ended with 0: the host is off. It is told ``HOST`` and ``ADDRESS`` in its environment.

    What it prints proves nothing, and is shown only when it fails. Raises HostError (step ``fence``). The
    command itself is not named: it may hold a password.
    """
    environment = {**os.environ, "HOST": host.name, "ADDRESS": host.address}
    with TemporaryFile() as said:
        try:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(host.name, "fence", f"its fence command cannot be run: {error}") from error
        try:
            async with asyncio.timeout(deadline):
                status = await process.wait()
        except TimeoutError as error:
            why = f"its fence command has not ended within {deadline:g} s"
            raise HostError(host.name, "fence", why, tail=_tail(said)) from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if status:
            raise HostError(host.name, "fence", f"its fence command ended with status {status}", tail=_tail(said))


def _tail(said: IO[bytes]) -> bytes:
    """The last of what it printed."""
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - _TAIL))
    return said.read()
