"""The commands about pools of pre-initialised instances."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("pool")(pool)


def pool(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME | drill NAME]", help="One pool, or the pool to drill.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")] = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Pools of pre-initialised instances; with drill NAME, wake a cold instance and put it back (docs/pool.md)."""
    from sidestep.console.headless import pools as printed  # noqa: PLC0415
    from sidestep.console.headless import target  # noqa: PLC0415
    from sidestep.fleet.errors import UsageError  # noqa: PLC0415

    given = words or []
    where = target.chosen(context.obj, fleet, socket)
    if len(given) == 2 and given[0] == "drill":
        printed.drill(where, given[1], reason, as_json=as_json)
    elif len(given) <= 1 and given != ["drill"]:
        printed.show(where, given[0] if given else "", as_json=as_json)
    else:
        raise UsageError(f"sidestep pool {' '.join(given)}: not understood", hint="sidestep pool [NAME | drill NAME]")
