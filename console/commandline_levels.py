"""The commands about how far the autopilot may go: levels, trust, promotion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, Why, socket_of

#: what is asked of a running daemon under "sidestep autopilot"; everything else runs one
asking = typer.Typer(
    rich_markup_mode=None,
    help="How far the autopilot may go, and why.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def add(app: typer.Typer, plan: typer.Typer) -> None:
    """Add the commands to the program, and those about plans to its group."""
    app.command()(level)
    plan.command("refresh")(plan_refresh)
    plan.command("letter")(plan_letter)


def meant(arguments: Sequence[str]) -> bool:
    """Whether "sidestep autopilot" with these arguments asks a daemon instead of running one."""
    return list(arguments) == ["--json"] or (bool(arguments) and arguments[0] in {"status", "promote"})


def run(context: typer.Context) -> None:
    """Do what was asked under "sidestep autopilot", and leave."""
    words = list(context.args)
    words = ["status", *words] if words == ["--json"] else words
    command = typer.main.get_command(asking)
    code = command.main(words, prog_name="sidestep autopilot", standalone_mode=False, obj=context.obj)
    raise typer.Exit(code if isinstance(code, int) else 0)


@asking.command("status")
def autopilot_status(
    context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None
) -> None:
    """The level that was set, the one that trust allows, why, and what it rests on."""
    from sidestep.console.headless import levels  # noqa: PLC0415

    levels.status(socket_of(context, fleet, socket), as_json=as_json)


@asking.command("promote")
def autopilot_promote(
    context: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="LEVEL", help="At most the level that is offered.")],
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Allow the autopilot more again, as far as trust offers it; needs a reason."""
    from sidestep.console.headless import levels  # noqa: PLC0415

    levels.promote(socket_of(context, fleet, socket), wanted, reason, as_json=as_json)


def level(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[set LEVEL|clear]", help="off, shadow, advise, semi or full; without, print it."),
    ] = None,
    app: Annotated[str, typer.Option("--app", metavar="NAME", help="Of this app only.")] = "",
    shard: Annotated[str, typer.Option("--shard", metavar="NAME", help="Of this shard only.")] = "",
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Of this host only.")] = "",
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Print or set the automation level; the most cautious of all that concern an action holds."""
    from sidestep.console.headless import levels  # noqa: PLC0415

    wanted = levels.wanted(words or (), app=app, shard=shard, host=host, reason=reason)
    levels.level(socket_of(context, fleet, socket), wanted, as_json=as_json)


def plan_refresh(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="PLAN", help="Its number, or the start of its digest.")],
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose anew what a plan was about that no longer fits; the new one needs its own approval."""
    from sidestep.console.headless import approvals  # noqa: PLC0415

    approvals.refresh(socket_of(context, fleet, socket), ref, reason, as_json=as_json)


def plan_letter(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="PLAN", help="Its number, or the start of its digest.")],
    reason: Why = "",
    skip: Annotated[str, typer.Option("--skip", metavar="IDS", help="Leave out these actions, such as 2,3.")] = "",
    outside: Annotated[
        str, typer.Option("--outside-window", metavar="TEXT", help="Why it cannot wait for a change window.")
    ] = "",
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="How long it is good, such as 2h.")] = "2h",
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Print the approval of a plan for somebody remote to sign with ssh-keygen -Y sign -n sidestep-approval."""
    from sidestep.console.headless import approvals  # noqa: PLC0415

    approvals.letter(socket_of(context, fleet, socket), ref, reason, skip, outside, expires)
