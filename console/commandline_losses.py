"""The commands about lost hosts and poisoned shards."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, socket_of


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("losses")(losses)
    app.command("clear-poison")(clear_poison)


def losses(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """Hosts that are lost or in quarantine, shards that start nowhere, and what came back (docs/failover.md)."""
    from sidestep.console.headless import losses as printed  # noqa: PLC0415

    printed.show(socket_of(context, fleet, socket), as_json=as_json)


def clear_poison(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="The poisoned shard.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it may start, for the audit log.")],
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Let a poisoned shard start again; losses of before say nothing against it any more."""
    from sidestep.console.headless import losses as printed  # noqa: PLC0415

    printed.clear(socket_of(context, fleet, socket), shard, reason, as_json=as_json)
