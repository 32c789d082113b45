"""The command about shards that wait for a host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("queue")(queue)


def queue(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="Only this shard.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    fleet: Annotated[Path | None, typer.Option("--fleet", metavar="FILE", help="The fleet file.")] = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", metavar="PATH", envvar="SIDESTEP_SOCKET", help="The daemon's socket.")
    ] = None,
) -> None:
    """Shards that wait for a host, who comes next first, with a reason for every host (docs/queue.md)."""
    from sidestep.console.headless import queue as printed  # noqa: PLC0415
    from sidestep.console.headless import target  # noqa: PLC0415

    raise typer.Exit(printed.show(target.chosen(context.obj, fleet, socket), shard=shard, as_json=as_json))
