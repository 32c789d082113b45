"""Who may act: the levels that people set, and what trust allows; judged now and then, kept over restarts.

Less is possible at any time and at once, whether or not it can be written down. More is
allowed only by a person and only once it is written down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from sidestep.autopilot.daemon_log import AUTOPILOT, Log
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.levels import FLEET, Levels, Scope, Settings, level_of
from sidestep.autopilot.levels_shadow import Shadow
from sidestep.autopilot.state_file import StateError, read_state, write_state
from sidestep.autopilot.trust.evidence import Evidence, evidence_of
from sidestep.autopilot.trust.gate import LEVELS, Gate, TrustState, lower
from sidestep.autopilot.trust.terms import DEFAULT_TERMS, Terms
from sidestep.autopilot.world_clock import Clock
from sidestep.fleet.accuracy import AccuracyRow
from sidestep.fleet.errors import SidestepError, UsageError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.plans import Reason
from sidestep.fleet.resources import DIMENSIONS, PLANNED

#: seconds between two judgements
EVERY: Final = 30.0
#: plans that are looked through for those that ended
LOOKED: Final = 50
LEVELS_FILE: Final = "levels.json"
TRUST_FILE: Final = "trust.json"
#: who set a level that holds for one run of the daemon
COMMAND_LINE: Final = "command line"
_METRICS: Final = frozenset(DIMENSIONS[:PLANNED])


class Boards(Protocol):
    """The part of the accuracy store that trust is judged by."""

    def newest(self, kind: str) -> Sequence[AccuracyRow]:
        """Rows of every host of the newest board."""
        ...


class Governor:
    """The automation level in force. ``boards`` and ``state`` (a folder) come with ``attach``."""

    def __init__(
        self, fleet: FleetSpec, journal: Journal, log: Log, clock: Clock, *, terms: Terms = DEFAULT_TERMS
    ) -> None:
        self.levels, self.gate = Levels(fleet), Gate(terms=terms)
        self._journal, self._log, self._clock = journal, log, clock
        #: what level shadow would have done
        self.shadow = Shadow(log.told("plan"), lambda digest: journal.status(digest).state)
        self._boards: Boards | None = None
        self._state: Path | None = None
        self._held = ""
        self._trouble = ""

    def attach(self, *, boards: Boards | None = None, state: Path | None = None, held: str = "") -> None:
        """Judge by ``boards`` and keep everything in the folder ``state``; ``held`` is the command line's level.

        What cannot be read back counts as advise until a person says otherwise.
        """
        self._boards, self._state, self._held = boards, state, held
        if state is None:
            return
        self.shadow.attach(state)
        try:
            self.levels.recall(read_state(state / LEVELS_FILE, Settings) or Settings())
        except StateError as error:
            self.set_in_memory("advise", reason="what was set before cannot be read")
            self._log.say("error", f"levels: {error}")
        try:
            self.gate.state = _checked(read_state(state / TRUST_FILE, TrustState))
        except StateError as error:
            lost = Reason("TRUST_LOST", scrub(f"what was known of trust cannot be read: {error.args[0]}"))
            self.gate.state = TrustState(allowed="advise", reasons=(lost,), since=self._clock.wall())
            self._log.say("error", f"trust: {error}")
        if held:
            self.set_in_memory(held, actor=COMMAND_LINE)

    def switch(self, fleet: FleetSpec) -> None:
        """Go by another fleet file."""
        self.levels.switch(fleet)

    # -- what holds

    @property
    def level(self) -> str:
        """The fleet's level as it was set."""
        return self.levels.level()

    @property
    def effective(self) -> str:
        """The lower of what was set and what trust allows."""
        return lower(self.level, self.gate.state.allowed)

    def notices(self) -> tuple[Label, ...]:
        """What every screen has to say: that trust allows less than was set, or offers more."""
        state = self.gate.state
        lines = []
        if self.effective != self.level:
            why = "; ".join(reason.text for reason in state.reasons) or "until a person allows more"
            lines.append(scrub(f"autopilot: set to {self.level}, trust allows {state.allowed}: {why}", 2000))
        if state.proposed:
            lines.append(scrub(f"autopilot: {state.proposed} is offered: sidestep autopilot promote {state.proposed}"))
        return tuple(lines)

    # -- what people do

    def set_in_memory(self, level: str, *, actor: str = AUTOPILOT, reason: str = "") -> None:
        """Set the fleet's level until the daemon ends. Raises UsageError."""
        self.levels.settings = self.levels.put(
            "fleet", FLEET, level, actor=scrub(actor), reason=reason, at=self._clock.wall()
        )

    def brake(self, said: str) -> None:
        """Go back to advise, at once, until a person sets more."""
        self._log.act("level", said, actor=AUTOPILOT, subject="fleet", always=True)
        self.set_in_memory("advise", reason=said)
        self._keep_levels(self.levels.settings)

    def set_level(self, scope: Scope, name: str, level: str, *, actor: Label, reason: str) -> str:
        """Set one level, or take back what was set (""); says what came of it. Raises SidestepError."""
        levels = self.levels
        if level:
            level_of(level)
        fresh = levels.put(scope, name, level, actor=actor, reason=reason, at=self._clock.wall())
        before, kept = levels.level(scope, name), levels.settings
        levels.settings = fresh
        after = levels.level(scope, name)
        levels.settings = kept
        whose = "level" if scope == "fleet" else f"level of {scope} {name}"
        said = f"{whose} {before or 'as the fleet'} -> {after or 'as the fleet'}"
        # what cannot be less is more: it must be written down before it holds
        less = bool(after) and LEVELS.index(after) < LEVELS.index(before or levels.level())
        subject = "fleet" if scope == "fleet" else f"{scope} {name}"
        text = f"{said}: {reason}" if reason else said
        self._log.act("level", text, actor=actor, subject=subject, reason=reason, detail=said, always=less)
        if less:
            levels.settings = fresh
            self._keep_levels(fresh)
        else:
            self._write(LEVELS_FILE, _lasting(fresh))
            levels.settings = fresh
        return self._told(scope, said)

    def _told(self, scope: Scope, said: str) -> str:
        allowed, fleet = self.gate.state.allowed, self.level
        if scope == "fleet" and self.effective != fleet:
            return f"{said}; trust allows {allowed}, which holds"
        return said if scope == "fleet" else f"{said}; the fleet's is {fleet}, and the most cautious holds"

    def promote(self, level: str, *, actor: Label, reason: str) -> str:
        """A person takes what trust offers. Raises SidestepError."""
        wanted = level_of(level)
        if not reason.strip():
            raise UsageError("a promotion needs a reason", hint=f"sidestep autopilot promote {wanted} --reason TEXT")
        if not self.gate.state.proposed or LEVELS.index(wanted) > LEVELS.index(self.gate.state.proposed):
            offer = self.gate.state.proposed or "nothing"
            raise SidestepError(
                f"{wanted} is not offered: trust allows {self.gate.state.allowed} now and offers {offer}",
                hint="see what it rests on: sidestep autopilot status",
            )
        gate = Gate(self.gate.state, self.gate.terms)
        said = gate.promote(wanted, actor, self._clock.wall())
        self._log.act("promote", f"{said}: {reason}", actor=actor, subject="autopilot", reason=reason, detail=said)
        self._write(TRUST_FILE, gate.state)
        self.gate.state = gate.state
        return said

    # -- judging

    async def run(self) -> None:
        """Judge now and then until cancelled."""
        while True:
            await self._clock.sleep(EVERY)
            try:
                await self.judge()
            except Exception as error:  # noqa: BLE001 - the supervisor of trust: what was known of it still holds
                self._complain(f"trust could not be judged: {type(error).__name__}: {error}")

    async def judge(self) -> str:
        """Take one judgement; says what changed, "" for nothing."""
        plans, boards = self._journal.plans(LOOKED), self._boards
        newest = self.gate.terms.plans

        def found() -> Evidence:
            rows = boards.newest("host") if boards is not None else ()
            return evidence_of([row for row in rows if row.metric in _METRICS], plans, newest)

        evidence = await asyncio.to_thread(found)
        before = self.gate.state
        said = self.gate.look(evidence, self._clock.wall())
        if said:
            lost = self.gate.state.allowed != before.allowed
            act = "demote" if lost else "offer"
            why = "; ".join(reason.text for reason in self.gate.state.reasons)
            self._log.act(act, said, actor=AUTOPILOT, subject="autopilot", reason=why, detail=said, always=True)
        if (before.allowed, before.proposed, before.reasons) != (
            self.gate.state.allowed, self.gate.state.proposed, self.gate.state.reasons
        ):  # fmt: skip
            await asyncio.to_thread(self._keep, TRUST_FILE, self.gate.state)
        return said

    # -- files

    def _keep_levels(self, settings: Settings) -> None:
        self._keep(LEVELS_FILE, _lasting(settings))

    def _keep(self, name: str, value: object) -> None:
        """Write what holds already; that it cannot be is said."""
        try:
            self._write(name, value)
            self._trouble = ""
        except StateError as error:
            self._complain(f"it holds, and will be forgotten at the end: {error}")

    def _write(self, name: str, value: object) -> None:
        if self._state is not None:
            write_state(self._state / name, value)

    def _complain(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._log.say("error", text)


def _lasting(settings: Settings) -> Settings:
    """What is kept over a restart: not what the command line said of this one run."""
    by = {
        scope: {n: one for n, one in named.items() if one.actor != COMMAND_LINE} for scope, named in settings.by.items()
    }
    return Settings(by=by)


def _checked(state: TrustState | None) -> TrustState:
    """A state that names levels that there are. Raises StateError."""
    found = state or TrustState()
    if found.allowed not in LEVELS or found.proposed not in {"", *LEVELS}:
        raise StateError(f"{TRUST_FILE}: names a level that there is not", hint="move it away to begin anew")
    return found
