"""Running the tools that everything here is made of, with errors that say which one failed and how."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from sidestep.fleet.errors import SidestepError


class FleetError(SidestepError):
    """The test fleet cannot do what was asked; names the command and what it said."""


class Impossible(FleetError):
    """This machine cannot run a test fleet at all, and says why."""


def call(argv: Sequence[str], *, stdin: str | None = None, timeout: float = 60.0, shown: str = "") -> str:
    """Run a command to its end and return what it printed. Raises FleetError that names it as ``shown``."""
    shown = shown or (" ".join(argv) if stdin is None else f"{' '.join(argv)} <<< {stdin.strip()!r}")
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise Impossible(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise FleetError(f"{shown}: did not end within {timeout:g} s") from error
    if done.returncode:
        raise FleetError(f"{shown}: status {done.returncode}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout
