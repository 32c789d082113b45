"""Actions of plugins as they come about: a shard is made the first to die when memory is short, and as before again.

What is in force is read from ``/proc``, whoever says what. Afterwards it is what the journal says, done or not, unless
the shard's process has ended meanwhile: then nothing is in force, and the journal says that, too.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from scripts.faultmatrix.cells import Cell
from scripts.faultmatrix.daemon import HarnessError
from scripts.faultmatrix.lane import RECOVERY, Lane, Outcome, soon
from sidestep.autopilot.protocol_actions import ProposeAction
from sidestep.backends.embedded.traffic import APP
from sidestep.fleet.actions import ActionSpec
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ActionState

NAME: Final = "first"
SCORE: Final = 700
_AGAIN: Final = 5
_PARAMS: Final = {
    "says": "dies before others when memory is short",
    "loss": 0.0,
    "seconds": 4.0,
    "execute": 'test -s before || { cat "/proc/$PID/oom_score_adj" >new && mv new before; } || exit 1\n'
    f'for p in $PIDS; do echo {SCORE} >"/proc/$p/oom_score_adj" || exit 1; done',
    "verify": 'test "$PID" != 0 || exit 1\n'
    f'for p in $PIDS; do test "$(cat "/proc/$p/oom_score_adj")" = {SCORE} || exit 1; done',
    "revert": 'test -s before || exit 0\nfor p in $PIDS; do cat before >"/proc/$p/oom_score_adj" || exit 1; done',
}


class Applying(Lane):
    """Cells of apply and lift, which take turns."""

    _kind = "apply"
    #: the shard's process before the cell
    _pid = 0

    def _spec(self) -> FleetSpec:
        action = ActionSpec(name=Label(NAME), plugin="hook", apps=(Label(APP),), params=json.dumps(_PARAMS))
        return replace(super()._spec(), actions=(action,))

    def journaled(self, shard: str) -> bool:
        """Whether it is in force under the owner's token, says the journal."""
        _, token = self.daemon.owner(shard)
        rows = self.daemon.ask("SELECT token FROM standing WHERE shard = ? AND name = ?", shard, NAME)
        return [int(row[0]) for row in rows] == [token]

    def in_force(self, shard: str) -> tuple[bool, int]:
        """Whether it is, says the kernel, and of which process. Raises HarnessError unless exactly one runs."""
        running = self.running(shard)
        if len(running) != 1:
            raise HarnessError(f"{shard} runs {len(running)} times")
        score = int(Path(f"/proc/{running[0].pid}/oom_score_adj").read_text("ascii"))
        return score == SCORE, running[0].pid

    async def _sound(self, cell: Cell) -> None:
        """As in any lane; and it is in force, or not, as the cell wants it."""
        await super()._sound(cell)
        shard = self.shards[cell.driver]
        for _ in range(_AGAIN):  # on a busy machine a step may take too long
            now, self._pid = self.in_force(shard)
            if now == self.journaled(shard) == (cell.kind == "lift"):
                self._kind = cell.kind
                return
            self._kind = "lift" if self.journaled(shard) else "apply"
            view = await self._approved(shard, "")
            ended = partial(self.daemon.ended, view.digest)
            await self.until(ended, "what comes before the cell does not end", RECOVERY)
        raise HarnessError(f"{NAME} is not as the cell wants it: {(await self.daemon.outcome(view.digest)).note}")

    def proposal(self, shard: str, destination: str) -> ProposeAction:
        """The plan that a person asks for."""
        return ProposeAction(NAME, shard, self._kind == "lift", "a fault is tried")

    async def _judge(self, shard: str, stuck: str, outcome: Outcome) -> None:
        """As in a lane; and what is in force is what the journal says, and what the action says that it did."""
        await super()._judge(shard, stuck, outcome)
        if outcome.problems or outcome.state == ActionState.FAILED_NEEDS_HUMAN:
            return

        async def agrees() -> bool:
            return self.in_force(shard)[0] == self.journaled(shard)

        if not await soon(agrees, 20.0):
            now, _ = self.in_force(shard)
            outcome.problems.append(f"{NAME} is in force: {now}; the journal says {self.journaled(shard)}")
            return
        now, pid = self.in_force(shard)
        done = outcome.state == ActionState.DONE
        wanted = done == (self._kind == "apply") if pid == self._pid else False
        if now != wanted:
            outcome.problems.append(f"the {self._kind} is {outcome.state}, and {NAME} is in force: {now}")
