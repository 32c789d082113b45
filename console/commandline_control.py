"""The commands that steer plans that run, and the hold of everything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Ref, Socket, Why, socket_of

State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The daemon's state folder, if not usual.")]


def add(app: typer.Typer, plan: typer.Typer) -> None:
    """Add the commands to the program, and those about one plan to its group."""
    plan.command("pause")(pause)
    plan.command("resume")(resume)
    plan.command("cancel")(cancel)
    app.command()(undo)
    app.command()(hold)
    app.command()(release)
    app.command()(fenced)


def pause(
    context: typer.Context,
    ref: Ref,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Begin nothing more of a running plan; what runs goes on to its end."""
    from sidestep.console.headless import control  # noqa: PLC0415

    control.pause(socket_of(context, fleet, socket), ref, reason, as_json=as_json)


def resume(
    context: typer.Context,
    ref: Ref,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Go on with a paused plan."""
    from sidestep.console.headless import control  # noqa: PLC0415

    control.resume(socket_of(context, fleet, socket), ref, reason, as_json=as_json)


def cancel(
    context: typer.Context,
    ref: Ref,
    reason: Why = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do to each action.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """End a plan that is approved, runs or is paused; says first what that does to each action."""
    from sidestep.console.headless import control  # noqa: PLC0415

    control.cancel(socket_of(context, fleet, socket), ref, reason, dry_run=dry_run, yes=yes, as_json=as_json)


def undo(
    context: typer.Context,
    ref: Ref,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose the way back of a plan that ran; like any plan it needs approval."""
    from sidestep.console.headless import control  # noqa: PLC0415

    control.undo(socket_of(context, fleet, socket), ref, reason, as_json=as_json)


def hold(
    context: typer.Context,
    reason: Why = "",
    as_json: Json = False,
    state: State = None,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Begin nothing new, at once and until it is released; works on a daemon that does not answer, too."""
    from sidestep.console.headless import control  # noqa: PLC0415

    control.hold(socket_of(context, fleet, socket), reason, state, as_json=as_json)


def release(
    context: typer.Context,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Let new things begin again."""
    from sidestep.console.headless import control  # noqa: PLC0415

    control.release(socket_of(context, fleet, socket), reason, as_json=as_json)


def fenced(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host that is surely off.")],
    reason: Why = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Say that a host is surely off, so that what it ran may start elsewhere; until it is heard again."""
    from sidestep.console.headless import control  # noqa: PLC0415

    control.fenced(socket_of(context, fleet, socket), host, reason, yes=yes, as_json=as_json)
