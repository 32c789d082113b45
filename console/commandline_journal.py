"""The commands about how things are and what is written down: status, journal, audit log, backup and restore."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.options import FleetFile, Json, Socket

audit = typer.Typer(rich_markup_mode=None, help="Who did what and why, and whether that log is whole.")

JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The daemon's state folder.")]
Since = Annotated[str, typer.Option("--since", metavar="TIME", help="2026-11-21T07:00 (UTC), or ago, such as 2h.")]
Until = Annotated[str, typer.Option("--until", metavar="TIME", help="End, not included; likewise.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most that many, the newest.")]
PlanRef = Annotated[str, typer.Option("--plan", metavar="PLAN", help="Of that number, or digest.")]


def add(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(status)
    app.command()(journal)
    app.add_typer(audit, name="audit")
    app.command()(backup)
    app.command()(restore)


def _state(context: typer.Context, fleet: Path | None, state: Path | None) -> Path:
    from sidestep.console.headless.statefolder import state_folder  # noqa: PLC0415
    from sidestep.console.headless.target import Target  # noqa: PLC0415

    given = context.obj or Target()
    return state_folder(Target(fleet=fleet or given.fleet, socket=given.socket), state)


def status(context: typer.Context, as_json: Json = False, fleet: FleetFile = None, socket: Socket = None) -> None:
    """Whether all is well: alerts first, then level, hosts, shards and open plans."""
    from sidestep.console.headless import status as printed  # noqa: PLC0415
    from sidestep.console.headless import target  # noqa: PLC0415

    printed.show(target.chosen(context.obj or target.Target(), fleet, socket), as_json=as_json)


def journal(
    context: typer.Context,
    plan: PlanRef = "",
    shard: Annotated[str, typer.Option("--shard", metavar="SHARD", help="About that shard.")] = "",
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="About that host.")] = "",
    state_is: Annotated[
        str, typer.Option("--in", metavar="STATE", help="Where a plan, action or step came into that state.")
    ] = "",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Such as plan, step, host or error.")] = "",
    actor: Annotated[str, typer.Option("--actor", metavar="NAME", help="By that user or part.")] = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with every new row.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write all of them to a .jsonl or .parquet file.")
    ] = None,
    as_json: JsonLines = False,
    fleet: FleetFile = None,
    state: State = None,
) -> None:
    """What happened: every step of every action, from the journal itself; a daemon need not run."""
    from sidestep.autopilot.journal_read import Wanted, moment  # noqa: PLC0415
    from sidestep.console.headless import journal as printed  # noqa: PLC0415

    now = time.time()
    wanted = Wanted(
        plan=plan,
        shard=shard,
        host=host,
        state=state_is,
        kind=kind,
        actor=actor,
        since=moment("--since", since, now),
        until=moment("--until", until, now),
    )
    folder = _state(context, fleet, state)
    if export is not None:
        printed.export(folder, wanted, export)
    else:
        printed.show(folder, wanted, limit, follow=follow, as_json=as_json)


@audit.callback(invoke_without_command=True)
def audit_list(
    context: typer.Context,
    act: Annotated[str, typer.Option("--act", metavar="ACT", help="Such as approve, level or commit.")] = "",
    actor: Annotated[str, typer.Option("--actor", metavar="NAME", help="By that user or part.")] = "",
    plan: PlanRef = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = 100,
    as_json: JsonLines = False,
    fleet: FleetFile = None,
    state: State = None,
) -> None:
    """Who did what and why; without a command, the entries."""
    if context.invoked_subcommand is not None:
        return
    from sidestep.autopilot.journal_read import moment  # noqa: PLC0415
    from sidestep.console.headless import audit as printed  # noqa: PLC0415

    now = time.time()
    asked = printed.Asked(
        act=act,
        actor=actor,
        plan=plan,
        since=moment("--since", since, now),
        until=moment("--until", until, now),
    )
    printed.show(_state(context, fleet, state), asked, limit, as_json=as_json)


@audit.command("verify")
def audit_verify(
    context: typer.Context,
    anchor: Annotated[
        list[str] | None, typer.Option("--anchor", metavar="N:DIGEST", help="A head that was kept elsewhere.")
    ] = None,
    as_json: Json = False,
    fleet: FleetFile = None,
    state: State = None,
) -> None:
    """Check every byte of the log; exit code 1 and the place if any was changed, removed or added."""
    from sidestep.console.headless import audit as printed  # noqa: PLC0415

    raise typer.Exit(printed.check(_state(context, fleet, state), anchor or (), as_json=as_json))


@audit.command("head")
def audit_head(context: typer.Context, fleet: FleetFile = None, state: State = None) -> None:
    """Print the log's end as N:DIGEST; keep it on another machine, and verify against it later."""
    from sidestep.console.headless import audit as printed  # noqa: PLC0415

    printed.head(_state(context, fleet, state))


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; must not exist.")],
    history: Annotated[bool, typer.Option("--history", help="The recorded past too.")] = False,
    as_json: Json = False,
    fleet: FleetFile = None,
    state: State = None,
) -> None:
    """Write journal, placement, audit log, calendar and the rest into one file, while the daemon runs."""
    from sidestep.console.headless import backup as done  # noqa: PLC0415

    done.make(_state(context, fleet, state), file, history=history, as_json=as_json)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put the files that are there aside.")] = False,
    digest: Annotated[
        str, typer.Option("--digest", metavar="D", help="Refuse unless its digest starts with this.")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")] = "",
    as_json: Json = False,
    fleet: FleetFile = None,
    state: State = None,
) -> None:
    """Put a backup in place; refused while a daemon runs, and when anything in it is not what was backed up."""
    from sidestep.console.headless import backup as done  # noqa: PLC0415

    folder = _state(context, fleet, state)
    done.put_back(folder, file, replace=replace, digest=digest, reason=reason, as_json=as_json)
