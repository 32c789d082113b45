"""The commands about the fleet file and its hosts, before any daemon runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.become import become
from sidestep.console.options import Json

fleet = typer.Typer(rich_markup_mode=None, help="The fleet file: check it, show it.", no_args_is_help=True)

FileArgument = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The fleet file; the usual one without.")]


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.add_typer(fleet, name="fleet")
    app.command()(init)
    app.command()(doctor)


def _file(context: typer.Context, given: Path | None) -> Path:
    from sidestep.console.headless import target  # noqa: PLC0415

    return target.fleet_file(target.Target(fleet=given or context.obj.fleet))


@fleet.command("check")
def fleet_check(context: typer.Context, file: FileArgument = None, as_json: Json = False) -> None:
    """Say everything that is wrong with a fleet file and the files that it includes."""
    from sidestep.console.headless import fleet_file  # noqa: PLC0415

    raise typer.Exit(fleet_file.check(_file(context, file), as_json=as_json))


@fleet.command("show")
def fleet_show(context: typer.Context, file: FileArgument = None, as_json: Json = False) -> None:
    """Print a fleet file with every include, range, group and default worked out."""
    from sidestep.console.headless import fleet_file  # noqa: PLC0415

    fleet_file.show(_file(context, file), as_json=as_json)


@fleet.command("schema")
def fleet_schema() -> None:
    """Print the JSON Schema of the fleet file, for editors."""
    from sidestep.console.headless import fleet_file  # noqa: PLC0415

    fleet_file.schema()


def init(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="With --ssh-config: the ssh_config, if not your own.")
    ] = None,
    ssh_config: Annotated[
        bool, typer.Option("--ssh-config", help="Take the concrete hosts of an ssh_config: FILE, or your own.")
    ] = False,
    ansible: Annotated[
        Path | None, typer.Option("--ansible", metavar="FILE", help="Take the hosts of an Ansible inventory.")
    ] = None,
    hosts: Annotated[
        str, typer.Option("--hosts", metavar="FILE", help="Take a list: NAME [ADDRESS[:PORT]] per line; - reads it.")
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the fleet.")] = "",
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="User to log in as where none is said.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a fleet file that is there.")] = False,
    to_stdout: Annotated[bool, typer.Option("--print", help="Print it instead of writing it.")] = False,
    to: Annotated[
        Path | None, typer.Option("--fleet", metavar="FILE", help="Where to write it; the usual place without.")
    ] = None,
) -> None:
    """Write a fleet file from your ssh_config, an Ansible inventory or a list of hosts. Asks nothing."""
    if file and not ssh_config:
        raise typer.BadParameter(f"say what {file} is: --ssh-config, --ansible or --hosts before it")
    chosen = [
        *(["--ssh-config", *([str(file)] if file else [])] if ssh_config else []),
        *(["--ansible", str(ansible)] if ansible else []),
        *(["--hosts", hosts] if hosts else []),
        *(["--name", name] if name else []),
        *(["--user", user] if user else []),
        *(["--force"] if force else []),
        *(["--print"] if to_stdout else []),
    ]
    where = to or context.obj.fleet
    become("sidestep.autopilot.init", *chosen, *(["--fleet", str(where)] if where else []))


def doctor(
    context: typer.Context,
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]...", help="Hosts of the fleet; ranges too; all without.")
    ] = None,
    as_json: Json = False,
    deadline: Annotated[
        float, typer.Option("--deadline", min=1, metavar="SECONDS", help="What one host may take.")
    ] = 30.0,
    file: Annotated[Path | None, typer.Option("--fleet", metavar="FILE", help="The fleet file.")] = None,
) -> None:
    """Try every host: name, connection, keys, login, sampler, tools, clock; say what is wrong and what to do."""
    where = file or context.obj.fleet
    chosen = [
        *(["--json"] if as_json else []),
        "--deadline",
        str(deadline),
        *(["--fleet", str(where)] if where else []),
    ]
    become("sidestep.autopilot.doctor", *chosen, "--", *(hosts or []))
