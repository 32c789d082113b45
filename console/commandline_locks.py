"""The commands about the locks that apps hold."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, socket_of

locks = typer.Typer(rich_markup_mode=None)


def add(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(locks, name="locks")


@locks.callback(invoke_without_command=True)
def locks_list(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """Locks that apps hold (docs/locks.md); without a command, all of them."""
    if context.invoked_subcommand is not None:
        return
    from sidestep.console.headless import locks as printed  # noqa: PLC0415

    printed.show(socket_of(context, fleet, socket), as_json=as_json)


@locks.command("break")
def locks_break(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The lock.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")],
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Take a lock from its holder; until its next renewal it may believe that it has it, so storages have to fence."""
    from sidestep.console.headless import locks as printed  # noqa: PLC0415

    printed.take(socket_of(context, fleet, socket), name, reason, as_json=as_json)
