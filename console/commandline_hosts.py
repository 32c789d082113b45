"""The commands that close hosts to new shards, empty them, and open them again."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket, Why, socket_of

Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of what --dry-run --json prints.")]
Until = Annotated[
    str, typer.Option("--until", metavar="TIME", help="It ends by itself then: 2h, 18:00 or 2027-03-01T06:00.")
]
Hosts = Annotated[list[str] | None, typer.Argument(metavar="HOST...", show_default=False)]


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(cordon)
    app.command()(uncordon)
    app.command()(drain)


def cordon(
    context: typer.Context,
    hosts: Annotated[list[str] | None, typer.Argument(metavar="[HOST...]", show_default=False)] = None,
    reason: Why = "",
    until: Until = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Let hosts accept no new shards; without a host, list who is cordoned or drained (docs/drain.md)."""
    from sidestep.console.headless import hosts as orders  # noqa: PLC0415

    orders.cordon(socket_of(context, fleet, socket), tuple(hosts or ()), reason, until, as_json=as_json)


def uncordon(
    context: typer.Context,
    hosts: Hosts = None,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Let hosts accept shards again, and call off their drains; what moved stays."""
    from sidestep.console.headless import hosts as orders  # noqa: PLC0415

    orders.uncordon(socket_of(context, fleet, socket), tuple(hosts or ()), reason, as_json=as_json)


def drain(
    context: typer.Context,
    hosts: Hosts = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would move, what blocks, and what would unblock it.")
    ] = False,
    reason: Why = "",
    until: Until = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Close hosts, all at once, and empty them by plans; says first what cannot move. Exit code 3: not all can."""
    from sidestep.console.headless import hosts as orders  # noqa: PLC0415

    if schema:
        from sidestep.console.headless import planning  # noqa: PLC0415

        planning.schema("drain")
        return
    chosen = socket_of(context, fleet, socket)
    code = orders.drain(chosen, tuple(hosts or ()), reason, until, dry_run=dry_run, yes=yes, as_json=as_json)
    raise typer.Exit(code)
