"""The commands about actions of plugins: which there are, doing one, and taking it back."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, Why, socket_of

Name = Annotated[str, typer.Argument(metavar="ACTION", help="As the fleet file calls it: [action.NAME].")]
Shard = Annotated[str, typer.Argument(metavar="SHARD")]


def add(app: typer.Typer, plan: typer.Typer) -> None:
    """Add the command to the program, and those that propose to its group of plans."""
    app.command("actions")(actions)
    plan.command("act")(act)
    plan.command("lift")(lift)


def actions(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """Actions of plugins that the fleet file declares, and those in force (docs/plugins.md)."""
    from sidestep.console.headless import actions as printed  # noqa: PLC0415

    raise typer.Exit(printed.show(socket_of(context, fleet, socket), as_json=as_json))


def act(
    context: typer.Context,
    action: Name,
    shard: Shard,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose to do an action of a plugin to a shard where it is; shows every command, and still needs approval."""
    _propose(context, action, shard, reason, lift=False, as_json=as_json, fleet=fleet, socket=socket)


def lift(
    context: typer.Context,
    action: Name,
    shard: Shard,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose to take an action of a plugin back that is in force on a shard; still needs approval."""
    _propose(context, action, shard, reason, lift=True, as_json=as_json, fleet=fleet, socket=socket)


def _propose(
    context: typer.Context, action: str, shard: str, reason: str, *, lift: bool, as_json: bool, fleet: FleetFile,
    socket: Socket,
) -> None:  # fmt: skip
    from sidestep.console.headless import actions as printed  # noqa: PLC0415

    printed.propose(socket_of(context, fleet, socket), action, shard, reason, lift=lift, as_json=as_json)
