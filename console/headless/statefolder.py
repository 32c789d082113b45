"""Which state folder is meant: the one named, that of the fleet file, or the only one that there is."""

from __future__ import annotations

from pathlib import Path

from sidestep.autopilot import paths
from sidestep.console.headless.target import Target, fleet_file
from sidestep.fleet.errors import UsageError

JOURNAL = "journal.db"


def state_folder(target: Target, named: Path | None) -> Path:
    """The folder of journal and audit log. Raises UsageError when that is not one, ConfigError."""
    if named is not None:
        return named.absolute()
    if target.fleet is not None or paths.config_path().is_file():
        from sidestep.autopilot.config_file import load_fleet  # noqa: PLC0415 - parses TOML

        return paths.state_dir(load_fleet(fleet_file(target)).name)
    if target.socket is not None and (folder := paths.state_dir(target.socket.stem)).is_dir():
        return folder
    found = sorted(journal.parent for journal in paths.state_dir("*").parent.glob(f"*/{JOURNAL}"))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(folder.name for folder in found)
        raise UsageError(
            f"several fleets have a journal here: {names}", hint="name one with --fleet FILE or --state DIR"
        )
    raise UsageError(
        f"no journal under {paths.state_dir('*').parent}, and no fleet file at {paths.config_path()}",
        hint="name the daemon's state folder: --state DIR",
    )
