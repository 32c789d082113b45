"""Which daemon is meant: by socket, by fleet file, or the only one that runs."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from sidestep.autopilot import paths
from sidestep.fleet.errors import UsageError


class Target(Struct, frozen=True, kw_only=True):
    """What the command line named; None is "not said"."""

    fleet: Path | None = None
    socket: Path | None = None


def fleet_file(target: Target) -> Path:
    """The fleet file that is meant. Raises UsageError that names the file looked for."""
    path = target.fleet or paths.config_path()
    if not path.is_file():
        raise UsageError(
            f"no fleet file at {path}",
            hint="make one with sidestep init, name another with --fleet FILE, or try a live fleet here: sidestep demo",
        )
    return path


def socket_of_file(path: Path) -> Path:
    """The socket of the daemon of that fleet. Raises ConfigError."""
    from sidestep.autopilot.config_file import load_fleet  # noqa: PLC0415 - parses TOML; most commands need not

    return paths.socket_path(load_fleet(path).name)


def running() -> list[Path]:
    """The sockets in the runtime folder, sorted."""
    return sorted(path for path in paths.runtime_dir().glob("*.sock") if path.is_socket())


def socket(target: Target) -> Path:
    """The socket to talk to: the one named, that of the fleet file, or the only one there is.

    Raises UsageError when that is not one.
    """
    if target.socket is not None:
        return target.socket
    if target.fleet is not None or paths.config_path().is_file():
        return socket_of_file(fleet_file(target))
    found = running()
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path) for path in found)
        raise UsageError(f"several daemons run: {names}", hint="name one with --socket PATH or --fleet FILE")
    raise UsageError(
        f"no daemon runs in {paths.runtime_dir()}, and there is no fleet file at {paths.config_path()}",
        hint="try a live fleet on this machine: sidestep demo",
    )


def chosen(given: Target, fleet: Path | None, named: Path | None) -> Path:
    """The socket as a command's own options name it, else those of the program. Raises as ``socket``."""
    return socket(Target(fleet=fleet or given.fleet, socket=named or given.socket))
