"""The commands that divide the keys of shards, and bring them together again."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, Why, socket_of

Spare = Annotated[str, typer.Option("--spare", metavar="SHARD", help="Which spare; the first that fits without.")]


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(split)
    app.command()(merge)


def split(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD")],
    to: Annotated[str, typer.Option("--to", metavar="HOST", help="Where the spare starts; its own host without.")] = "",
    at: Annotated[int, typer.Option("--at", metavar="KEY", help="First key that goes; the middle without.")] = -1,
    spare: Spare = "",
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose to give the upper keys of a shard to a spare of its app (docs/routing.md); still needs approval."""
    from sidestep.console.headless import reshard  # noqa: PLC0415

    chosen = socket_of(context, fleet, socket)
    reshard.propose(chosen, "split", shard, spare, to, at, reason, as_json=as_json)


def merge(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD")],
    spare: Spare = "",
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose to give the keys of the spare beside a shard back to it; still needs approval."""
    from sidestep.console.headless import reshard  # noqa: PLC0415

    reshard.propose(socket_of(context, fleet, socket), "merge", shard, spare, "", -1, reason, as_json=as_json)
