"""The commands that ask the planner: new plans, why and why not, differences, hosts for new work."""

from __future__ import annotations

from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Schema, Socket, socket_of


def add(app: typer.Typer, plan: typer.Typer) -> None:
    """Add the commands to the program, and those about plans to its group."""
    plan.command("new")(plan_new)
    plan.command("diff")(plan_diff)
    app.command()(why)
    app.command("why-not")(why_not)
    app.command("best-host")(best_host)
    app.command("right-size")(right_size)
    app.command()(policies)


def plan_new(
    context: typer.Context,
    policy: Annotated[
        str, typer.Option("--policy", metavar="NAME|FILE", help="Laid over the fleet's own; several with commas.")
    ] = "",
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="TEXT",
            help="On paper only: drain=h3,h4 lose=zone:a load=+30% load=app:kv:+50% add=2:like:h1 policy=NAME; repeat.",
        ),
    ] = None,
    time_limit: Annotated[
        str, typer.Option("--time-limit", metavar="TIME", help="Search at most so long, such as 30s.")
    ] = "",
    without: Annotated[
        bool, typer.Option("--without-forecast", help="Compare with the plan from present load alone.")
    ] = False,
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Ask the daemon for a plan now; with --what-if it is only shown. Exit code 3: no plan, and why."""
    from sidestep.console.headless import planning  # noqa: PLC0415

    if schema:
        planning.schema("plan")
        return
    asked = planning.new_plan(policy, tuple(what_if or ()), time_limit, compare=without)
    raise typer.Exit(planning.new(socket_of(context, fleet, socket), asked, as_json=as_json))


def plan_diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="[A]", help="The older plan; without, the one before B.")] = "",
    new: Annotated[str, typer.Argument(metavar="[B]", help="The newer plan; without, the newest.")] = "",
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Two plans side by side: actions kept, changed, new and dropped, and what changed in the world."""
    from sidestep.console.headless import planning  # noqa: PLC0415

    if schema:
        planning.schema("plan-diff")
        return
    planning.diff(socket_of(context, fleet, socket), old, new, as_json=as_json)


def why(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD")] = "",
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Why a shard moves, or why it does not: the coded reason, the evidence and the alternatives."""
    from sidestep.console.headless import planning  # noqa: PLC0415

    if schema:
        planning.schema("why")
        return
    planning.why(socket_of(context, fleet, socket), shard, as_json=as_json)


def why_not(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD")] = "",
    host: Annotated[str, typer.Argument(metavar="HOST")] = "",
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Why a shard does not go to a host: every reason, the first one first."""
    from sidestep.console.headless import planning  # noqa: PLC0415

    if schema:
        planning.schema("why-not")
        return
    planning.why_not(socket_of(context, fleet, socket), shard, host, as_json=as_json)


def best_host(
    context: typer.Context,
    cpu: Annotated[float, typer.Option("--cpu", metavar="CORES", min=0, help="Cores that the new work needs.")] = 0.0,
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory that it needs, such as 4G.")] = "0",
    app: Annotated[str, typer.Option("--app", metavar="NAME", help="Keep to the rules of this app's shards.")] = "",
    near: Annotated[str, typer.Option("--near", metavar="NAME", help="Rather beside this shard, app or host.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most that many hosts.")] = 5,
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """The best next host for new work, for CI and scripts. Exit code 3: no host has room, and why."""
    from sidestep.console.headless import planning  # noqa: PLC0415

    if schema:
        planning.schema("best-host")
        return
    asked = planning.find_host(cpu, memory, app, near, limit)
    raise typer.Exit(planning.best_host(socket_of(context, fleet, socket), asked, as_json=as_json))


def right_size(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most that many shards.")] = 100,
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Shards that are given too much or too little for what they are predicted to need."""
    from sidestep.console.headless import planning  # noqa: PLC0415

    if schema:
        planning.schema("right-size")
        return
    planning.right_size(socket_of(context, fleet, socket), limit, as_json=as_json)


def policies(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """The policies that --policy knows, and what each changes of the fleet's own."""
    from sidestep.console.headless import planning  # noqa: PLC0415

    planning.policies(socket_of(context, fleet, socket), as_json=as_json)
