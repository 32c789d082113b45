"""The command that runs a Python function on hosts of the fleet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.become import become


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(context_settings={"ignore_unknown_options": True})(run)


def run(
    context: typer.Context,
    function: Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="The function; its file stays here.")],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[ARG]...", help="Python literals or NAME=literal; else text.")
    ] = None,
    hosts: Annotated[str, typer.Option("--hosts", metavar="A,B", help="Hosts, the preferred one first.")] = "",
    python: Annotated[
        str, typer.Option("--python", metavar="PATH", help="The Python on the hosts that has sidestep[functions].")
    ] = "python3",
    copies: Annotated[int, typer.Option("--copies", min=1, help="Run on so many hosts; one result counts.")] = 1,
    every: Annotated[
        float,
        typer.Option("--every", min=0, metavar="SECONDS", help="Work that the loss of a host may cost; 0: all of it."),
    ] = 0.0,
    no_shards: Annotated[bool, typer.Option("--no-shards", help="Keep its loops on one host.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Move nothing, whatever is forecast.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    file: Annotated[Path | None, typer.Option("--fleet", metavar="FILE", help="The fleet file.")] = None,
) -> None:
    """Run a Python function on hosts (docs/functions.md). Exit codes: 0 returned, 1 raised or lost, 2 bad input."""
    where = file or context.obj.fleet
    if context.obj.socket:
        os.environ["SIDESTEP_SOCKET"] = str(context.obj.socket)
    chosen = [
        *(["--hosts", hosts] if hosts else []),
        *("--python", python, "--copies", str(copies), "--every", str(every)),
        *(["--no-shards"] if no_shards else []),
        *(["--stay"] if stay else []),
        *(["--json"] if as_json else []),
        *(["--fleet", str(where)] if where else []),
    ]
    become("sidestep.autopilot.functions", *chosen, "--", function, *(values or []))
