"""Other ways to the console: ``replay`` on the past, which ``record`` exports, and ``serve`` in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.become import become


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(replay)
    app.command()(serve)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(
        record
    )


def record(context: typer.Context) -> None:
    """Show or export what was recorded for replay; see sidestep record --help."""
    become("sidestep.autopilot.recorder", *context.args)


def replay(
    context: typer.Context,
    source: Annotated[
        Path | None, typer.Argument(metavar="[FILE|FOLDER]", help="A recording, or a daemon's state folder.")
    ] = None,
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="2026-11-21T07:00 (UTC), or ago, such as 2h.")
    ] = "",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="End, not included; likewise.")] = "",
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="FILE|NAME=VALUE", help="Also show what this policy would have planned."),
    ] = None,
    theme: Annotated[str, typer.Option("--theme", metavar="NAME", help="Colours, as for the console.")] = "",
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
    fleet: Annotated[Path | None, typer.Option("--fleet", metavar="FILE", help="The fleet file.")] = None,
) -> None:
    """Open the console on the past: what was on screen, every forecast and every decision; nothing can be changed."""
    from sidestep.autopilot.journal_read import moment  # noqa: PLC0415
    from sidestep.console import launch  # noqa: PLC0415
    from sidestep.console.headless.statefolder import state_folder  # noqa: PLC0415
    from sidestep.console.headless.target import Target  # noqa: PLC0415
    from sidestep.console.replaying import Replay  # noqa: PLC0415

    for option, text in (("--from", since), ("--to", until)):
        moment(option, text, 0.0)
    named = fleet or (context.obj.fleet if context.obj else None)
    chosen = source or state_folder(Target(fleet=named), None)
    arguments = [f"--from={since}", f"--to={until}", *(f"--policy={text}" for text in policy or ())]
    arguments += [f"--fleet={named}"] if named else []
    opened = Replay(chosen.resolve(), arguments)
    raise typer.Exit(launch.open_console(opened, theme=theme, ascii_only=ascii_only, read_only=True, replay=True))


def serve(
    context: typer.Context,
    listen: Annotated[str, typer.Option("--listen", metavar="ADDRESS", help="Where.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 is any free one.")] = 0,
    allow_actions: Annotated[
        bool, typer.Option("--allow-actions", help="Who opens it may approve plans; otherwise only look.")
    ] = False,
    theme: Annotated[str, typer.Option("--theme", metavar="NAME", help="Colours, as for the console.")] = "",
    fleet: Annotated[Path | None, typer.Option("--fleet", metavar="FILE", help="The fleet file.")] = None,
    socket: Annotated[
        Path | None, typer.Option("--socket", metavar="PATH", envvar="SIDESTEP_SOCKET", help="The daemon's socket.")
    ] = None,
) -> None:
    """The console in a browser of this machine, under an address that nobody can guess; a daemon must run."""
    from sidestep import themes  # noqa: PLC0415
    from sidestep.autopilot.client import Client  # noqa: PLC0415
    from sidestep.console.headless import target  # noqa: PLC0415
    from sidestep.fleet.errors import UsageError  # noqa: PLC0415

    try:
        from sidestep.console import serving  # noqa: PLC0415 - an optional library
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed", hint="pip install 'sidestep[serve]'") from error
    if theme:
        themes.load(theme)
    path = target.chosen(context.obj or target.Target(), fleet, socket).resolve()
    with Client.connect(path):
        pass  # somebody answers there
    serving.serve(path, listen, port, allow_actions=allow_actions, theme=theme)
