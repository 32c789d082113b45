"""``cluster``: the data shards of a Redis or Valkey Cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidestep.console.options import Json

Seeds = Annotated[
    list[str] | None,
    typer.Option(
        "--node", metavar="HOST:PORT", envvar="SIDESTEP_CLUSTER", help="Any node of it; more than one may be named."
    ),
]
User = Annotated[str, typer.Option("--user", help="The user of the cluster's ACL.")]
Password = Annotated[str, typer.Option("--password", metavar="REF", help="Where it is: file:PATH or command:LINE.")]
Tls = Annotated[bool, typer.Option("--tls", help="Over TLS.")]
Ca = Annotated[str, typer.Option("--ca", metavar="FILE", help="Whom to trust; implies --tls.")]
Cert = Annotated[str, typer.Option("--cert", metavar="FILE", help="Our certificate; implies --tls.")]
Key = Annotated[str, typer.Option("--key", metavar="FILE", help="Its key.")]
State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="Where the journals of moves are.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
Ceiling = Annotated[
    float,
    typer.Option("--ceiling", metavar="MS", help="p99 that clients are kept below; 1.2 times that of now without."),
]

cluster = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Data shards of a Redis or Valkey Cluster (docs/redis.md)."
)


def add(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(cluster, name="cluster")


def _become(
    command: str,
    seeds: list[str] | None,
    access: dict[str, str],
    *words: str,
    tls: bool,
    as_json: bool,
    state: Path | None,
) -> None:
    from sidestep.console.become import become  # noqa: PLC0415

    arguments = [f"--node={seed}" for text in seeds or [] for seed in text.split(",")]
    arguments += [f"--{name}={value}" for name, value in access.items() if value]
    arguments += [*(["--tls"] if tls else []), *(["--json"] if as_json else [])]
    arguments += [f"--state={state}"] if state else []
    become("sidestep.autopilot.cluster", command, *arguments, *words)


def _reach(user: str, password: str, ca: str, cert: str, key: str) -> dict[str, str]:
    return {"user": user, "password": password, "ca": ca, "cert": cert, "key": key}


@cluster.command("show")
def show(
    node: Seeds = None,
    demand: Annotated[bool, typer.Option("--demand", help="Measure every slot for a second.")] = False,
    user: User = "", password: Password = "", tls: Tls = False, ca: Ca = "", cert: Cert = "", key: Key = "",
    as_json: Json = False, state: State = None,
) -> None:  # fmt: skip
    """Nodes, ranges of slots and their owners, and what is half moved or not well."""
    words = ["--demand"] if demand else []
    _become("show", node, _reach(user, password, ca, cert, key), *words, tls=tls, as_json=as_json, state=state)


@cluster.command("move")
def move(
    node: Seeds = None,
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="The master that gets them: address or id.")] = "",
    slots: Annotated[str, typer.Option("--slots", metavar="0-99,200", help="These slots.")] = "",
    source: Annotated[str, typer.Option("--from", metavar="NODE", help="Of that master, with --count.")] = "",
    count: Annotated[int, typer.Option("--count", min=0, metavar="N", help="So many, its highest ones.")] = 0,
    split: Annotated[str, typer.Option("--split", metavar="RANGE", help="The upper half of a range, by keys.")] = "",
    merge: Annotated[str, typer.Option("--merge", metavar="RANGE", help="All of a range to one owner.")] = "",
    dry_run: DryRun = False, ceiling: Ceiling = 0.0,
    user: User = "", password: Password = "", tls: Tls = False, ca: Ca = "", cert: Cert = "", key: Key = "",
    as_json: Json = False, state: State = None,
) -> None:  # fmt: skip
    """Move slots to another master while both serve; what is interrupted is finished by repair."""
    chosen = {"to": to, "slots": slots, "from": source, "split": split, "merge": merge, "count": str(count or "")}
    words = [f"--{name}={value}" for name, value in chosen.items() if value]
    words += [f"--ceiling={ceiling}", *(["--dry-run"] if dry_run else [])]
    _become("move", node, _reach(user, password, ca, cert, key), *words, tls=tls, as_json=as_json, state=state)


@cluster.command("rebalance")
def rebalance(
    node: Seeds = None,
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="slots, keys, bytes, cpu or network.")] = "slots",
    weight: Annotated[
        list[str] | None, typer.Option("--weight", metavar="NODE=W", help="Its share; 1 without, 0 empties it.")
    ] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="By how much of its share one may miss it.")] = 0.02,
    dry_run: DryRun = False, ceiling: Ceiling = 0.0,
    user: User = "", password: Password = "", tls: Tls = False, ca: Ca = "", cert: Cert = "", key: Key = "",
    as_json: Json = False, state: State = None,
) -> None:  # fmt: skip
    """Even the masters out with the fewest slots moved."""
    words = [f"--by={by}", *(f"--weight={text}" for text in weight or []), f"--tolerance={tolerance}"]
    words += [f"--ceiling={ceiling}", *(["--dry-run"] if dry_run else [])]
    _become("rebalance", node, _reach(user, password, ca, cert, key), *words, tls=tls, as_json=as_json, state=state)


@cluster.command("watch")
def watch(
    node: Seeds = None,
    limit: Annotated[float, typer.Option("--limit", metavar="CORES", help="A master may be asked for so much.")] = 0.7,
    interval: Annotated[float, typer.Option("--interval", metavar="S", help="Seconds between readings.")] = 2.0,
    horizon: Annotated[float, typer.Option("--horizon", metavar="S", help="Seconds to look ahead.")] = 60.0,
    quantile: Annotated[float, typer.Option("--quantile", help="How sure: act on this quantile.")] = 0.9,
    season: Annotated[float, typer.Option("--season", metavar="S", help="Seconds after which demand repeats.")] = 0.0,
    overhear: Annotated[
        float, typer.Option("--overhear", metavar="MS", help="Of each reading, by MONITOR, where nodes do not count.")
    ] = 0.0,
    reactive: Annotated[bool, typer.Option("--reactive", help="Act on what is, not on what is forecast.")] = False,
    seconds: Annotated[float, typer.Option("--for", metavar="S", help="End after so long; 0 is never.")] = 0.0,
    dry_run: DryRun = False, ceiling: Ceiling = 0.0,
    user: User = "", password: Password = "", tls: Tls = False, ca: Ca = "", cert: Cert = "", key: Key = "",
    as_json: Json = False, state: State = None,
) -> None:  # fmt: skip
    """Forecast every range, and move hot slots before their master has more than it can do."""
    numbers = {
        "limit": limit, "interval": interval, "horizon": horizon, "quantile": quantile, "season": season,
        "overhear": overhear, "for": seconds, "ceiling": ceiling,
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in numbers.items()]
    words += [*(["--reactive"] if reactive else []), *(["--dry-run"] if dry_run else [])]
    _become("watch", node, _reach(user, password, ca, cert, key), *words, tls=tls, as_json=as_json, state=state)


@cluster.command("repair")
def repair(
    node: Seeds = None,
    give_up: Annotated[bool, typer.Option("--give-up", help="Leave what was not begun of interrupted moves.")] = False,
    dry_run: DryRun = False, ceiling: Ceiling = 0.0,
    user: User = "", password: Password = "", tls: Tls = False, ca: Ca = "", cert: Cert = "", key: Key = "",
    as_json: Json = False, state: State = None,
) -> None:  # fmt: skip
    """Finish interrupted moves, and put right what anybody left half moved."""
    words = [f"--ceiling={ceiling}", *(["--give-up"] if give_up else []), *(["--dry-run"] if dry_run else [])]
    _become("repair", node, _reach(user, password, ca, cert, key), *words, tls=tls, as_json=as_json, state=state)


@cluster.command("failover")
def failover(
    replica: Annotated[str, typer.Argument(metavar="REPLICA", help="Which one takes over: address or id.")],
    node: Seeds = None,
    user: User = "", password: Password = "", tls: Tls = False, ca: Ca = "", cert: Cert = "", key: Key = "",
    as_json: Json = False, state: State = None,
) -> None:  # fmt: skip
    """Let a replica take its master's place, without a lost write."""
    _become(
        "failover", node, _reach(user, password, ca, cert, key), "--", replica, tls=tls, as_json=as_json, state=state
    )


@cluster.command("replicate")
def replicate(
    replica: Annotated[str, typer.Argument(metavar="NODE", help="Address or id.")],
    of: Annotated[str, typer.Option("--of", metavar="MASTER", help="Whose replica it becomes.")],
    force: Annotated[bool, typer.Option("--force", help="Even if its master is left without one.")] = False,
    node: Seeds = None,
    user: User = "", password: Password = "", tls: Tls = False, ca: Ca = "", cert: Cert = "", key: Key = "",
    as_json: Json = False, state: State = None,
) -> None:  # fmt: skip
    """Make a node the replica of another master, and wait until it has its copy."""
    words = [f"--of={of}", *(["--force"] if force else []), "--", replica]
    _become("replicate", node, _reach(user, password, ca, cert, key), *words, tls=tls, as_json=as_json, state=state)
