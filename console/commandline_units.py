"""``adopt`` and ``instance``: services that run already, and an app's shards as one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.become import become
from sidestep.console.options import FleetFile, Json


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(adopt)
    app.command()(instance)


def adopt(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="The host of the fleet on which they run.")],
    units: Annotated[list[str] | None, typer.Argument(metavar="[UNIT]...", help="Services that run there.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Say what runs there; change nothing.")] = False,
    as_json: Json = False,
    to_stdout: Annotated[bool, typer.Option("--print", help="Print the lines, and do not write them.")] = False,
    name: Annotated[str, typer.Option("--name", help="The shard's name; by default the unit's.")] = "",
    driver: Annotated[str, typer.Option("--driver", help="How it is moved: restart or hook.")] = "restart",
    state: Annotated[str, typer.Option("--state", metavar="PATH", help="The folder of its state.")] = "",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port that it listens on.")] = 0,
    ready: Annotated[str, typer.Option("--ready", metavar="COMMAND", help="Exits 0 once it answers.")] = "",
    file: FleetFile = None,
) -> None:
    """Take over systemd services that run on a host, without restarting them."""
    where = file or context.obj.fleet
    chosen = [
        "--host", host, *(["--list"] if listing else []), *(["--json"] if as_json else []),
        *(["--print"] if to_stdout else []), "--name", name, "--driver", driver, "--state", state,
        "--port", str(port), "--ready", ready, *(["--fleet", str(where)] if where else []),
    ]  # fmt: skip
    become("sidestep.autopilot.adopt", *chosen, "--", *(units or []))


def instance(
    context: typer.Context,
    app: Annotated[str, typer.Argument(metavar="NAME", help="The app.")],
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", metavar="PATH", envvar="SIDESTEP_SOCKET", help="The daemon's socket.")
    ] = None,
) -> None:
    """An app over all of its shards: totals, endpoints, and what of it is in trouble. 1 unless all of it serves."""
    from sidestep.console.headless import instance as printed  # noqa: PLC0415
    from sidestep.console.headless import target  # noqa: PLC0415

    raise typer.Exit(printed.show(target.chosen(context.obj, fleet, socket), app, as_json=as_json))
