"""Options and arguments that many commands have, said once so that they read and work alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FleetFile = Annotated[Path | None, typer.Option("--fleet", metavar="FILE", help="The fleet file.")]
Socket = Annotated[
    Path | None, typer.Option("--socket", metavar="PATH", envvar="SIDESTEP_SOCKET", help="The daemon's socket.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of what --json prints.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")]
Ref = Annotated[str, typer.Argument(metavar="PLAN", help="Its number, or the start of its digest.")]


def socket_of(context: typer.Context, fleet: Path | None, socket: Path | None) -> Path:
    """The daemon's socket as the command's or the program's options name it."""
    from sidestep.console.headless import target  # noqa: PLC0415

    return target.chosen(context.obj or target.Target(), fleet, socket)
