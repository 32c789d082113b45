"""Opens the console: finds or starts the daemon, runs the application, ends what was started."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from sidestep import themes
from sidestep.autopilot.client import DaemonMissing
from sidestep.console.headless import target as targets
from sidestep.console.headless.target import Target
from sidestep.console.sessions import Attached, OwnDaemon, Session
from sidestep.fleet.errors import UsageError


def session(target: Target) -> Session:
    """The session that the command line means. Raises SidestepError when there is nothing to open."""
    if target.socket is not None and target.fleet is None:
        if not target.socket.is_socket():
            raise DaemonMissing(f"no daemon at {target.socket}", hint="is it the right --socket? see: sidestep locate")
        return Attached(target.socket)
    if target.fleet is None and target.socket is None:
        try:
            return Attached(_alive(targets.socket(target)))
        except (UsageError, DaemonMissing):
            pass  # nothing runs: a fleet file is needed, and its absence is what is told
    path = targets.fleet_file(target)
    socket = target.socket or targets.socket_of_file(path)
    try:
        return Attached(_alive(socket))
    except DaemonMissing:
        return OwnDaemon(path, socket, ("--socket", str(socket)) if target.socket else ())


def _alive(socket: Path) -> Path:
    """The socket, if somebody answers. Raises DaemonMissing."""
    from sidestep.autopilot.client import Client  # noqa: PLC0415 - only here

    with Client.connect(socket):
        return socket


def open_console(opened: Session, *, theme: str, ascii_only: bool, read_only: bool, replay: bool = False) -> int:
    """Run the application over a session until it is left; returns the exit code. ``replay``: it is a recording's."""
    in_browser = os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")
    if not in_browser and not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError(
            "the console needs a terminal on standard input, output and error",
            hint="see sidestep --help for commands that print",
        )
    if not in_browser:
        for name in ("COLUMNS", "LINES"):  # a shell's old answer; the terminal knows its size, and tells of changes
            os.environ.pop(name, None)
    if theme:
        themes.load(theme)
    from sidestep.console import settings  # noqa: PLC0415 - not for commands
    from sidestep.console.app import ConsoleApp, attend  # noqa: PLC0415 - 100 ms, only for the application
    from sidestep.console.feed import Feed  # noqa: PLC0415 - likewise

    chosen = settings.load()
    ascii_only = ascii_only or chosen.ascii

    def made() -> ConsoleApp:
        if not replay:
            feed = Feed(opened)
            feed.only_looks = read_only
            return ConsoleApp(feed, theme=theme, ascii_only=ascii_only, read_only=read_only, settings=chosen)
        from sidestep.console.replaying import ReplayApp, ReplayFeed  # noqa: PLC0415 - likewise

        return ReplayApp(ReplayFeed(opened), theme=theme, ascii_only=ascii_only, settings=chosen)

    async def run() -> int:
        app = made()
        return await attend(app, ending=lambda: print(f"ending the {opened.note} ...") if opened.note else None)

    return asyncio.run(run())
