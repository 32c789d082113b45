"""The commands about what is to come: forecasts, events, the oracle itself, and replays of the past."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from sidestep.console.become import become
from sidestep.console.options import FleetFile, Json, Schema, Socket, Why, socket_of

_HELP: Final = frozenset({"-h", "--help"})


class ShowGroup(TyperGroup):
    """A group whose command ``show`` may be left out: ``forecast h2`` is ``forecast show h2``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of what is none."""
        if args and args[0] not in self.commands and args[0] not in _HELP:
            args = ["show", *args]
        return super().parse_args(ctx, args)


forecast = typer.Typer(
    cls=ShowGroup, rich_markup_mode=None, help="What is forecast, and how good it was.", no_args_is_help=True
)
event = typer.Typer(rich_markup_mode=None, help="Events that change demand, told in advance.", no_args_is_help=True)


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(forecast, name="forecast")
    app.add_typer(event, name="event")
    app.command()(oracle)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(
        backtest
    )


@forecast.command("show")
def forecast_show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="HOST|SHARD|APP")] = "",
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="Only that far ahead, such as +30m.")] = "",
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="cpu, memory, net, psi_cpu, read_ops and so on.")
    ] = "cpu",
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="host, shard or app, for a name of several.")
    ] = "",
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Quantiles ahead, the chance of contention, and how far to trust both. The word show may be left out."""
    from sidestep.console.headless import oracle as commands  # noqa: PLC0415

    if schema:
        commands.schema("forecast")
        return
    if not name:
        raise typer.BadParameter("name a host, a shard or an app")
    commands.forecast(socket_of(context, fleet, socket), name, metric, kind, at, as_json=as_json)


@forecast.command("score")
def forecast_score(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[HOST|SHARD|APP]", help="At every horizon; the worst of all without.")
    ] = "",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="host, shard or app.")] = "",
    metric: Annotated[str, typer.Option("--metric", metavar="NAME", help="Only that metric.")] = "",
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How it was since, such as 1d.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most that many rows.")] = 200,
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """How good forecasts were: skill, coverage and error, and whether they can be foreseen at all."""
    from sidestep.console.headless import oracle as commands  # noqa: PLC0415

    if schema:
        commands.schema("accuracy")
        return
    asked = commands.scores_asked(name, kind, metric, since, limit)
    commands.score(socket_of(context, fleet, socket), asked, as_json=as_json)


@event.command("add")
def event_add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    begins: Annotated[
        str,
        typer.Option(
            "--at", "--begins", metavar="TIME", help='When: "2026-11-27 09:00", "friday 18:00", +2h, "daily 02:30".'
        ),
    ],
    lasts: Annotated[str, typer.Option("--lasts", metavar="TIME", help="How long, such as 4h.")] = "",
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="Begins again so often, such as 1d.")] = "",
    effect: Annotated[
        float | None, typer.Option("--effect", metavar="FACTOR", help="Factor on demand, if you know it.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="HOST", help="Only there; patterns and several.")
    ] = None,
    app: Annotated[list[str] | None, typer.Option("--app", metavar="APP", help="Only of that app; likewise.")] = None,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Announce an event. Without --effect what it does to demand is learned, so name it alike each time."""
    from sidestep.console.headless import oracle as commands  # noqa: PLC0415

    path = socket_of(context, fleet, socket)
    hosts, apps = tuple(host or ()), tuple(app or ())
    commands.add_event(path, name, begins, lasts, every, effect, hosts, apps, reason, as_json=as_json)


@event.command("list")
def event_list(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """Events that are not over and timers found on the hosts, soonest first."""
    from sidestep.console.headless import oracle as commands  # noqa: PLC0415

    commands.list_events(socket_of(context, fleet, socket), as_json=as_json)


@event.command("remove")
def event_remove(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", min=1)],
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Take an event back."""
    from sidestep.console.headless import oracle as commands  # noqa: PLC0415

    commands.remove_event(socket_of(context, fleet, socket), number, reason, as_json=as_json)


def oracle(
    context: typer.Context,
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Which model serves what, why, what is proven, and what the trainer does."""
    from sidestep.console.headless import oracle as commands  # noqa: PLC0415

    if schema:
        commands.schema("oracle")
        return
    commands.status(socket_of(context, fleet, socket), as_json=as_json)


def backtest(context: typer.Context) -> None:
    """Replay recorded load through the oracle and count what a policy would have foreseen; see backtest --help."""
    become("sidestep.autopilot.backtest", *context.args)
