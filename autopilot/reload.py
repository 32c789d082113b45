"""Reads the fleet file again while the daemon runs, and switches to it in one piece, or not at all.

The file and all that it includes are checked in full first. A file that cannot be used leaves the one
in force as it is, and says file, line, value and remedy in the log and on every screen until a usable
one was read. What cannot be switched under a running daemon is named, and waits for a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from sidestep.autopilot.config_file import load_fleet
from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.reload_merge import Merged, merge
from sidestep.fleet.config import dump_fleet, parse_fleet
from sidestep.fleet.config_problems import ConfigErrors
from sidestep.fleet.errors import ConfigError, SidestepError
from sidestep.fleet.inventory import FleetSpec, Level
from sidestep.fleet.labels import Label, scrub

#: whose doing a reload is
ACTOR: Final = "signal"
#: problems of a file that the log lists
MOST: Final = 20
#: characters of a line on the screens
_SHOWN: Final = 240


class Holder(Protocol):
    """Whoever goes by the fleet file."""

    def switch(self, fleet: FleetSpec) -> None:
        """Go by this one from now on: the same hosts and shards in the same order, with other settings."""
        ...


class Reloader:
    """``reload`` for every SIGHUP. ``held`` is the level that the command line fixed, "" for none."""

    def __init__(
        self,
        fleet: FleetSpec,
        holders: Sequence[Holder],
        *,
        log: Log,
        set_level: Callable[[Level], None],
        held: str = "",
        load: Callable[[Path], FleetSpec] = load_fleet,
    ) -> None:
        self.fleet = fleet
        self._holders, self._log, self._set_level, self._held, self._load = holders, log, set_level, held, load
        self._turn = asyncio.Lock()
        self._notices: tuple[Label, ...] = ()

    def notices(self) -> tuple[Label, ...]:
        """What every screen has to say of the fleet file."""
        return self._notices

    async def reload(self) -> bool:
        """Read, check, switch; False if the file in force stays as it was because the new one cannot be used."""
        async with self._turn:
            try:
                merged = await asyncio.to_thread(self._read)
            except ConfigError as error:
                self._refuse(error)
                return False
            except SidestepError as error:
                self._keep(str(error))
                return False
            return self._take(merged)

    def _read(self) -> Merged:
        """The file laid over the one in force, checked as a whole. Raises SidestepError."""
        merged = merge(self.fleet, self._load(Path(self.fleet.source)))
        if merged.waits and merged.switched:
            # A part of a good file need not be one: an avoid may name a shard that comes with the restart.
            try:
                parse_fleet(dump_fleet(merged.fleet), self.fleet.source)
            except ConfigError:
                names = (*merged.switched, *merged.waits)
                return Merged(fleet=self.fleet, switched=(), waits=names)
        return merged

    def _take(self, merged: Merged) -> bool:
        waits = f"waits for a restart: {'; '.join(merged.waits)}" if merged.waits else ""
        said = "; ".join(merged.switched) or "nothing to switch"
        text = f"fleet file {self.fleet.source} read again: {said}" + (f". {waits}" if waits else "")
        try:
            self._log.act("reload", text, actor=ACTOR, subject=str(self.fleet.name), detail=said)
        except SidestepError as error:
            self._keep(f"nothing was switched, since it could not be written down: {error.args[0]}")
            return False
        level, before = merged.fleet.level, self.fleet.level
        self.fleet = merged.fleet
        for holder in self._holders:
            holder.switch(merged.fleet)
        self._notices = (scrub(f"fleet file: {waits}", _SHOWN),) if waits else ()
        if level != before:
            self._relevel(level)
        return True

    def _relevel(self, level: Level) -> None:
        if self._held:
            self._log.say("daemon", f"level {level} of the fleet file does not count: --level {self._held} holds")
            return
        self._set_level(level)

    def _refuse(self, error: ConfigError) -> None:
        problems = error.problems if isinstance(error, ConfigErrors) else (error,)
        for problem in problems[:MOST]:
            self._log.say("error", f"fleet file not taken, the one in force stays: {flat(problem)}")
        more = len(problems) - 1
        first = f"fleet file not taken: {flat(problems[0])}" + (f" (and {more} more, see the log)" if more else "")
        self._notices = (scrub(first, 2 * _SHOWN),)

    def _keep(self, why: str) -> None:
        self._log.say("error", f"fleet file not taken, the one in force stays: {why}")
        self._notices = (scrub(f"fleet file not taken: {why}", _SHOWN),)


def flat(error: SidestepError) -> str:
    """An error with its remedy in one line."""
    return f"{error.args[0]}; remedy: {error.hint}" if error.hint else str(error.args[0])
