"""The commands about capsules."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, socket_of

capsules = typer.Typer(
    rich_markup_mode=None, help="Capsules that are kept for the loss of a host (docs/capsules.md).",
    invoke_without_command=True,
)  # fmt: skip


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(capsules, name="capsules")


@capsules.callback()
def show(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """The newest capsule of every replicated shard: how old it is, and which hosts have it."""
    if context.invoked_subcommand is None:
        from sidestep.console.headless import capsules as printed  # noqa: PLC0415

        printed.show(socket_of(context, fleet, socket), as_json=as_json)


@capsules.command("scrub")
def scrub(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="[SHARD]", help="Of this shard only.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")] = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Read every copy now, and make anew what is damaged or gone."""
    from sidestep.console.headless import capsules as printed  # noqa: PLC0415

    printed.scrub(socket_of(context, fleet, socket), shard, reason, as_json=as_json)
