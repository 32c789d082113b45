"""The command line of ``sidestep cluster``, and how nodes are reached by it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from sidestep.autopilot import paths
from sidestep.autopilot.cluster.watching import Settings
from sidestep.backends.redis_cluster.access import Access, address
from sidestep.fleet.errors import UsageError
from sidestep.fleet.labels import scrub


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidestep cluster", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    show = _command(commands, "show")
    show.add_argument("--demand", action="store_true")
    move = _command(commands, "move", moving=True)
    which = move.add_mutually_exclusive_group(required=True)
    for option in ("--slots", "--split", "--merge", "--from"):
        which.add_argument(option, dest=option[2:].replace("from", "source"), default="")
    move.add_argument("--count", type=int, default=0)
    move.add_argument("--to", default="")
    even = _command(commands, "rebalance", moving=True)
    even.add_argument("--by", choices=("slots", "keys", "bytes", "cpu", "network"), default="slots")
    even.add_argument("--weight", action="append", default=[])
    even.add_argument("--tolerance", type=float, default=0.02)
    repair = _command(commands, "repair", moving=True)
    repair.add_argument("--give-up", action="store_true")
    watch = _command(commands, "watch", moving=True)
    for option, value in (
        ("limit", 0.7), ("interval", 2.0), ("horizon", 60.0), ("quantile", 0.9), ("season", 0.0), ("overhear", 0.0),
        ("for", 0.0),
    ):  # fmt: skip
        watch.add_argument(f"--{option}", dest=option.replace("for", "seconds"), type=float, default=value)
    watch.add_argument("--reactive", action="store_true")
    failover = _command(commands, "failover")
    failover.add_argument("replica")
    replicate = _command(commands, "replicate")
    replicate.add_argument("replica")
    replicate.add_argument("--of", required=True)
    replicate.add_argument("--force", action="store_true")
    return parser.parse_args(argv)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, *, moving: bool = False
) -> argparse.ArgumentParser:
    one = commands.add_parser(name, allow_abbrev=False)
    one.add_argument("--node", action="append", default=[])
    for option in ("--user", "--password", "--ca", "--cert", "--key"):
        one.add_argument(option, default="")
    one.add_argument("--tls", action="store_true")
    one.add_argument("--json", action="store_true")
    one.add_argument("--state", type=Path)
    if moving:
        one.add_argument("--dry-run", action="store_true")
        one.add_argument("--ceiling", type=float, default=0.0)
    return one


def access(options: argparse.Namespace) -> Access:
    """How nodes are reached. Raises UsageError."""
    tls = options.tls or bool(options.ca or options.cert or options.key)
    for name in ("ca", "cert", "key"):
        path = getattr(options, name)
        if path and not Path(path).is_file():
            raise UsageError(f"--{name}: {scrub(path)}: there is no such file", hint="name a PEM file")
    if bool(options.cert) != bool(options.key):
        raise UsageError("--cert and --key belong together")
    if options.user and not options.password:
        raise UsageError("--user needs --password", hint="refer to it: --password file:PATH")
    return Access(
        user=options.user, password=options.password, tls=tls, ca=options.ca, cert=options.cert, key=options.key
    )


def seeds(options: argparse.Namespace) -> tuple[tuple[str, int], ...]:
    """The nodes that were named. Raises UsageError."""
    if not options.node:
        raise UsageError("no node was named", hint="name one of the cluster: --node HOST:PORT")
    return tuple(address(text) for text in options.node)


def folder(options: argparse.Namespace) -> Path:
    """Where the journals of moves are."""
    return Path(options.state) if options.state else paths.state_dir(".clusters")


def settings(options: argparse.Namespace) -> Settings:
    """How ``watch`` watches. Raises UsageError."""
    allowed = {
        "limit": (0.01, 64.0), "interval": (0.1, 3600.0), "horizon": (0.1, 86400.0), "quantile": (0.05, 0.99),
        "season": (0.0, 31 * 86400.0), "overhear": (0.0, 10000.0), "seconds": (0.0, 1e9),
    }  # fmt: skip
    for name, (low, high) in allowed.items():
        if not low <= getattr(options, name) <= high:  # NaN as well
            raise UsageError(f"--{name.replace('seconds', 'for')} is between {low:g} and {high:g}")
    if options.horizon < options.interval:
        raise UsageError("--horizon is not shorter than --interval", hint="look ahead by several readings")
    return Settings(
        limit=options.limit, interval=options.interval, horizon=options.horizon, quantile=options.quantile,
        season=options.season, forecast=not options.reactive, overhear=options.overhear / 1000,
    )  # fmt: skip


def ceiling(options: argparse.Namespace) -> float:
    """Seconds that clients may wait at most; 0 is what they wait now. Raises UsageError."""
    if not (math.isfinite(options.ceiling) and options.ceiling >= 0):
        raise UsageError("--ceiling is in milliseconds, and not negative")
    return float(options.ceiling) / 1000
