"""The commands and their options. Nothing heavy is imported before a command needs it: ``--help`` is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep import __version__
from sidestep.console import (
    commandline_actions,
    commandline_analyze,
    commandline_capsule,
    commandline_capsules,
    commandline_cluster,
    commandline_control,
    commandline_fleet,
    commandline_hosts,
    commandline_journal,
    commandline_levels,
    commandline_locks,
    commandline_losses,
    commandline_oracle,
    commandline_plans,
    commandline_plugged,
    commandline_plugins,
    commandline_pools,
    commandline_queue,
    commandline_replay,
    commandline_reshard,
    commandline_resize,
    commandline_router,
    commandline_run,
    commandline_units,
)
from sidestep.console.become import become as _become
from sidestep.console.options import FleetFile, Json, Ref, Schema, Socket, Why, socket_of

app = typer.Typer(
    name="sidestep",
    cls=commandline_plugged.PluggedGroup,
    help="Moves work out of the way before hosts run hot. Without a command: the console.",
    epilog="Exit codes: 0 done, 1 refused or failed, 2 bad input, 3 no plan or host. Every list takes --json.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
plan = typer.Typer(rich_markup_mode=None, help="Plans: what is proposed, running and done.", no_args_is_help=True)
app.add_typer(plan, name="plan")
commandline_fleet.add(app)
commandline_oracle.add(app)
commandline_journal.add(app)
commandline_plans.add(app, plan)
commandline_actions.add(app, plan)
commandline_levels.add(app, plan)
commandline_control.add(app, plan)
commandline_locks.add(app)
commandline_plugins.add(app)
commandline_run.add(app)
commandline_losses.add(app)
commandline_hosts.add(app)
commandline_pools.add(app)
commandline_queue.add(app)
commandline_units.add(app)
commandline_capsules.add(app)
commandline_capsule.add(app)
commandline_replay.add(app)
commandline_analyze.add(app)
commandline_router.add(app)
commandline_reshard.add(app)
commandline_resize.add(plan)
commandline_cluster.add(app)

ThemeName = Annotated[
    str, typer.Option("--theme", metavar="NAME", help="Colours: dusk, day, contrast, ansi or your own.")
]
Ascii = Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Look, but approve nothing.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    fleet: FleetFile = None,
    socket: Socket = None,
    theme: ThemeName = "",
    ascii_only: Ascii = False,
    read_only: ReadOnly = False,
) -> None:
    """Open the console on the fleet; a daemon in level advise is started if none runs."""
    from sidestep.console.headless.target import Target  # noqa: PLC0415

    context.obj = Target(fleet=fleet, socket=socket)
    if context.invoked_subcommand is None:
        from sidestep.console import launch  # noqa: PLC0415

        opened = launch.session(context.obj)
        raise typer.Exit(launch.open_console(opened, theme=theme, ascii_only=ascii_only, read_only=read_only))


@app.command()
def demo(
    hosts: Annotated[int, typer.Option(min=2, max=64, help="Hosts of the fleet.")] = 4,
    shards: Annotated[int, typer.Option(min=1, max=1000, help="Shards on them.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the load.")] = 7,
    headless: Annotated[
        bool, typer.Option("--headless", help="Tell the story instead of opening the console.")
    ] = False,
    functions: Annotated[
        bool, typer.Option("--functions", help="Tell instead what becomes of a running Python function.")
    ] = False,
    as_json: Json = False,
    theme: ThemeName = "",
    ascii_only: Ascii = False,
    read_only: ReadOnly = False,
) -> None:
    """A live fleet on this machine: real SSH, real processes, real load, and the console on it."""
    if functions:
        _become("sidestep.autopilot.functions.demo", *(["--json"] if as_json else []))
    if headless:
        numbers = ["--hosts", str(hosts), "--shards", str(shards), "--seed", str(seed)]
        _become("sidestep.autopilot.demo", "--headless", *(["--json"] if as_json else []), *numbers)
    if as_json:
        raise typer.BadParameter("--json is for --headless and --functions")
    from sidestep.console import launch  # noqa: PLC0415
    from sidestep.console.sessions import Demo  # noqa: PLC0415

    opened = Demo(hosts, shards, seed)
    raise typer.Exit(launch.open_console(opened, theme=theme, ascii_only=ascii_only, read_only=read_only))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def autopilot(context: typer.Context) -> None:
    """Run the daemon in the foreground; with status or promote: how far it may go, and why."""
    if commandline_levels.meant(context.args):
        commandline_levels.run(context)
    _become("sidestep.autopilot", *context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def history(context: typer.Context) -> None:
    """Show, export or import what is kept of the past; see sidestep history --help."""
    _become("sidestep.autopilot.history", *context.args)


@app.command()
def trust(
    context: typer.Context,
    hosts: Annotated[list[str] | None, typer.Argument(metavar="[HOST]...", help="Of the fleet, or addresses.")] = None,
    listed: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Fingerprints or known_hosts lines that you trust.")
    ] = None,
    fingerprint: Annotated[str, typer.Option(metavar="SHA256:...", help="What the one host must show.")] = "",
    fleet: FleetFile = None,
) -> None:
    """Show a host's key, ask whether it is its own, and record it; a changed key is never replaced."""
    chosen = fleet or context.obj.fleet
    options = ["--fleet", str(chosen)] if chosen else []
    options += ["--from", str(listed)] if listed else []
    options += ["--fingerprint", fingerprint] if fingerprint else []
    options += ["--socket", str(context.obj.socket)] if context.obj.socket else []
    _become("sidestep.autopilot.trust", *options, "--", *(hosts or ()))


@plan.command("list")
def plan_list(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most that many.")] = 20,
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Plans, newest first."""
    from sidestep.console.headless import plans  # noqa: PLC0415

    plans.show_list(socket_of(context, fleet, socket), limit, as_json=as_json)


@plan.command("show")
def plan_show(
    context: typer.Context, ref: Ref, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None
) -> None:
    """What one plan does, why, what was rejected, and what came of it."""
    from sidestep.console.headless import plans  # noqa: PLC0415

    plans.show(socket_of(context, fleet, socket), ref, as_json=as_json)


@plan.command("approve")
def plan_approve(
    context: typer.Context,
    ref: Ref,
    digest: Annotated[str, typer.Option(metavar="D", help="Refuse unless the digest starts with this.")] = "",
    reason: Why = "",
    skip: Annotated[str, typer.Option("--skip", metavar="IDS", help="Leave out these actions, such as 2,3.")] = "",
    outside: Annotated[
        str, typer.Option("--outside-window", metavar="TEXT", help="Why it cannot wait for a change window.")
    ] = "",
    signed: Annotated[
        Path | None, typer.Option("--signed", metavar="FILE", help="A signed approval; FILE.sig is its signature.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Print exactly what will run, ask, and approve that and nothing else."""
    from sidestep.console.headless import plans  # noqa: PLC0415

    more = plans.More(skip=skip, outside=outside, signed=signed)
    plans.approve(socket_of(context, fleet, socket), ref, digest, reason, more, yes=yes, as_json=as_json)


@plan.command("reject")
def plan_reject(
    context: typer.Context,
    ref: Ref,
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Refuse a proposed plan."""
    from sidestep.console.headless import plans  # noqa: PLC0415

    plans.reject(socket_of(context, fleet, socket), ref, reason, as_json=as_json)


@plan.command("move")
def plan_move(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD")],
    host: Annotated[str, typer.Argument(metavar="HOST")],
    reason: Why = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Propose a move of your own; it still needs approval."""
    from sidestep.console.headless import plans  # noqa: PLC0415

    plans.move(socket_of(context, fleet, socket), shard, host, reason, as_json=as_json)


@app.command()
def hosts(
    context: typer.Context,
    as_json: Json = False,
    schema: Schema = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Hosts, highest risk first."""
    from sidestep.console.headless import lists, oracle  # noqa: PLC0415

    if schema:
        oracle.schema("hosts")
        return
    lists.hosts(socket_of(context, fleet, socket), as_json=as_json)


@app.command()
def shards(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """Shards and where they are."""
    from sidestep.console.headless import lists  # noqa: PLC0415

    lists.shards(socket_of(context, fleet, socket), as_json=as_json)


@app.command()
def demand(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[APP|SHARD]", help="One app or shard; all apps without.")] = "",
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="How far ahead, such as +15m.")] = "+0s",
    profile: Annotated[bool, typer.Option("--profile", help="Several instants up to the horizon.")] = False,
    quantum_cpu: Annotated[
        float, typer.Option("--quantum-cpu", min=0, metavar="CORES", help="Round up to whole ones, such as 0.5.")
    ] = 0.0,
    quantum_memory: Annotated[
        str, typer.Option("--quantum-memory", metavar="SIZE", help="Round up to whole ones, such as 2G.")
    ] = "",
    as_json: Json = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of a demand vector.")] = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Predicted demand of apps at one future instant, as demand vectors."""
    from sidestep.console.headless import lists, oracle  # noqa: PLC0415

    if schema:
        oracle.schema("demand")
        return
    asked = lists.demand_request(name, at, quantum_cpu, quantum_memory, profile=profile)
    lists.demand(socket_of(context, fleet, socket), asked, as_json=as_json)


@app.command()
def log(
    context: typer.Context,
    since: Annotated[int | None, typer.Option(min=0, help="Only rows after that number.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most that many.")] = 500,
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """What happened and why: the newest rows, oldest of them first."""
    from sidestep.console.headless import lists  # noqa: PLC0415

    lists.log(socket_of(context, fleet, socket), -limit if since is None else since, limit, as_json=as_json)


@app.command()
def retry(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="[HOST]", help="Only this host.")] = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Try hosts again that refused us: their key or our identity has been put right."""
    from sidestep.console.headless import lists  # noqa: PLC0415

    lists.retry(socket_of(context, fleet, socket), host, as_json=as_json)


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    from sidestep.console.headless import output  # noqa: PLC0415

    if as_json:
        output.dump({"version": __version__})
    else:
        output.say(f"sidestep {__version__}")


@app.command()
def locate(as_json: Json = False) -> None:
    """Print where configuration, sockets, state and themes are looked for."""
    from sidestep import themes  # noqa: PLC0415
    from sidestep.autopilot import paths  # noqa: PLC0415
    from sidestep.console.headless import output  # noqa: PLC0415

    places = {
        "fleet file": str(paths.config_path()),
        "sockets": str(paths.runtime_dir()),
        "state": str(paths.state_dir("<fleet>")),
        "themes": str(themes.user_dir()),
    }
    if as_json:
        output.dump(places)
    else:
        output.table([[name, place] for name, place in places.items()])


@app.command(hidden=True)
def picture(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.svg")],
    size: Annotated[str, typer.Option("--size", metavar="COLUMNSxROWS")] = "120x40",
    screen: Annotated[str, typer.Option("--screen", metavar="NAME")] = "fleet",
    theme: ThemeName = "",
    ascii_only: Ascii = False,
    fleet: FleetFile = None,
    socket: Socket = None,
) -> None:
    """Write a screen as SVG."""
    from sidestep.console.picture import export_svg, parse_size  # noqa: PLC0415

    path = socket_of(context, fleet, socket)
    export_svg(path, parse_size(size), screen, out, theme=theme, ascii_only=ascii_only)
