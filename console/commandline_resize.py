"""The command that changes what a shard may use."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, Why, socket_of

Cores = Annotated[float | None, typer.Option("--cpu", min=0, metavar="CORES", help="Cores, such as 0.5.")]
Memory = Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory, such as 4G.")]
Read = Annotated[str, typer.Option("--read", metavar="SIZE", help="Bytes a second read from its disk, such as 50M.")]
Write = Annotated[str, typer.Option("--write", metavar="SIZE", help="Bytes a second written to its disk.")]


def add(plan: typer.Typer) -> None:
    """Add the command to those about plans."""
    plan.command("resize")(resize)


def resize(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD")],
    cpu: Cores = None,
    memory: Memory = "",
    read: Read = "",
    write: Write = "",
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose other limits for a shard, in place; it still needs approval. 0 is no limit, what is left out stays."""
    from sidestep.console.headless import resizing  # noqa: PLC0415

    request = resizing.request(shard, cpu, memory, read, write, reason)
    resizing.propose(socket_of(context, fleet, socket), request, as_json=as_json)
