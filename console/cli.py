"""The ``sidestep`` program: straight to the console when only that is asked for, else the command line.

The console is what people wait for, and the command line's library costs a third of the
time to its first paint; so its few options are read here when they are plain. Exit codes:
0 done, 1 refused or failed, 2 bad input. Errors are one message on standard error, never
a traceback.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from sidestep.fleet.errors import SidestepError, UsageError

_VALUES: Final = {"--fleet": "fleet", "--socket": "socket", "--theme": "theme"}
_FLAGS: Final = {"--ascii": "ascii_only", "--read-only": "read_only"}


class Straight(NamedTuple):
    """The console's own options, as the command line would read them."""

    fleet: str = ""
    socket: str = ""
    theme: str = ""
    ascii_only: bool = False
    read_only: bool = False


def straight(arguments: Sequence[str], environment: Mapping[str, str]) -> Straight | None:
    """The options when they ask for the console and nothing else; None leaves it to the command line."""
    found: dict[str, str | bool] = {"socket": environment.get("SIDESTEP_SOCKET", "")}
    rest = iter(arguments)
    for word in rest:
        if word in _FLAGS:
            found[_FLAGS[word]] = True
        elif word in _VALUES:
            value = next(rest, "")
            if not value or value.startswith("-"):
                return None
            found[_VALUES[word]] = value
        else:
            return None
    return Straight(**found)  # type: ignore[arg-type]


def main() -> None:
    """The ``sidestep`` program."""
    try:
        options = None if "_SIDESTEP_COMPLETE" in os.environ else straight(sys.argv[1:], os.environ)
        if options is not None:
            sys.exit(_console(options))
        from sidestep.console.commandline import app  # noqa: PLC0415 - costs more than the console's own start

        app()
    except SidestepError as error:
        _fail(str(error), error.exit_code)
    except ValueError as error:
        if type(error).__name__ != "ThemeError":
            raise
        _fail(str(error), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _console(options: Straight) -> int:
    gc.disable()  # until the first paint, see ``starting``
    from sidestep.console import launch  # noqa: PLC0415 - not for --help
    from sidestep.console.headless.target import Target  # noqa: PLC0415 - likewise

    target = Target(
        fleet=Path(options.fleet) if options.fleet else None, socket=Path(options.socket) if options.socket else None
    )
    try:
        opened = launch.session(target)
    except UsageError as error:
        from sidestep.autopilot import paths  # noqa: PLC0415 - likewise
        from sidestep.console import firstrun  # noqa: PLC0415 - once in a fleet's life

        if options.fleet or options.socket or paths.config_path().is_file() or not sys.stderr.isatty():
            raise
        print("\n".join(firstrun.lines(paths.config_path(), Path.home(), Path.cwd())), file=sys.stderr)
        return error.exit_code
    return launch.open_console(opened, theme=options.theme, ascii_only=options.ascii_only, read_only=options.read_only)


def _fail(message: str, code: int) -> NoReturn:
    print(f"sidestep: {message}", file=sys.stderr)
    sys.exit(code)
