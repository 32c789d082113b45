"""Capsules of shards that wait: files beside the shard's own on the host that it left, by token.

A capsule of a move is scratch of that move, and is removed with it; this copy stays until the shard
serves again. One that was made and never journaled is removed by the next one.
"""

from __future__ import annotations

from posixpath import dirname, join
from shlex import quote

from sidestep.backends.ssh.base import Transport
from sidestep.fleet.errors import HostError


def name_of(capsule: str, token: int) -> str:
    """Where the capsule of a move is kept while its shard waits."""
    return join(dirname(capsule), f"parked.{token}")


async def keep(transport: Transport, capsule: str, parked: str) -> None:
    """Copy ``capsule`` to ``parked``, whole or not at all; done twice it is the same. Raises HostError.

    It is on the disk, name and all, when this returns: after the commit nothing else has the state.
    """
    here, there, folder = quote(capsule), quote(parked), quote(dirname(parked))
    new = quote(f"{parked}.new")
    older = f'for old in {folder}/parked.*; do [ "$old" = {there} ] || rm -f -- "$old"; done'
    await _run(
        transport,
        "capture",
        f"cp -f -- {here} {new} && {_durable(new)} && mv -f -- {new} {there} && {_durable(folder)} && {older}",
    )


async def drop(transport: Transport, parked: str) -> None:
    """Remove ``parked`` if it is there. Raises HostError."""
    await _run(transport, "release", f"rm -f -- {quote(parked)} {quote(f'{parked}.new')}")


def _durable(path: str) -> str:
    """The command that brings this to the disk; an old sync takes no names, and syncs all."""
    return f"{{ sync {path} 2>/dev/null || sync; }}"


async def _run(transport: Transport, step: str, command: str) -> None:
    done = await transport.run(command)
    if done.status != 0:
        tail = done.stderr.decode("utf-8", "replace").strip()[-800:]
        raise HostError(
            transport.host, step, f"the capsule: exit status {done.status}", command="queue/capsule", tail=tail
        )
