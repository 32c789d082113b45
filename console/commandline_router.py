"""The commands about the router that a fleet file names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.options import FleetFile

router = typer.Typer(rich_markup_mode=None, help="The router of the fleet (docs/routing.md).", no_args_is_help=True)


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(router, name="router")


def _become(context: typer.Context, fleet: Path | None, *arguments: str) -> None:
    from sidestep.console.become import become  # noqa: PLC0415

    chosen = fleet or context.obj.fleet
    become("sidestep.autopilot.routing", *(["--fleet", str(chosen)] if chosen else []), *arguments)


@router.command("config")
def config(
    context: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write the files there, instead of printing the part."),
    ] = None,
    fleet: FleetFile = None,
) -> None:
    """Print the part of HAProxy's configuration that routing needs, checked with haproxy -c if it is here."""
    _become(context, fleet, "config", *(["--out", str(out)] if out else []))


@router.command("check")
def check(context: typer.Context, fleet: FleetFile = None) -> None:
    """Compare what the router has with what it was told; exit code 1 and a line each if they differ."""
    _become(context, fleet, "check")
