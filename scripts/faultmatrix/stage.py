"""A world of its own for one cell: what failover, preempt and place need, which cannot follow one another in a lane.

Hosts, journal and the one shard are new for every cell, and gone after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final

from msgspec.structs import replace

from scripts.faultmatrix.cells import Cell
from scripts.faultmatrix.daemon import Daemon, HarnessError
from scripts.faultmatrix.disks import SIZE
from scripts.faultmatrix.hosts import Hosts
from scripts.faultmatrix.hurt import Hurt
from scripts.faultmatrix.lane import LEAST, PORT, RECOVERY, STEP, Lane, Outcome
from sidestep.autopilot.protocol import GetPlan
from sidestep.backends.embedded.traffic import APP
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec, HistorySpec, OracleSpec, Policy, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState, StepName

#: seconds until an action of the kind has to stand at its point, and for which a shard may be tried again by itself
REACHED: Final = 120.0
RETRIED: Final = 60.0
#: seconds of requests before anything happens
WARM: Final = 1.0
_ACTIONS: Final = (
    "SELECT action.digest, action.id, action.state, action.note FROM action JOIN plan USING (digest)"
    " WHERE action.shard = ? ORDER BY plan.number"
)
_ENDED: Final = frozenset(
    {
        ActionState.DONE,
        ActionState.ABORTED,
        ActionState.SKIPPED,
        ActionState.BLOCKED,
        ActionState.CANCELLED,
        ActionState.FAILED_NEEDS_HUMAN,
    }
)


@dataclass(frozen=True)
class Seen:
    """One action of the shard, as the journal has it."""

    digest: str
    id: int
    state: ActionState
    note: str


class Stage(Lane):
    """Start it, run its one cell, stop it."""

    #: hosts that it takes, and the level that its daemon runs at
    count = 2
    level = "advise"
    size = SIZE

    def __init__(self, name: str, folder: Path, cell: Cell, tag: str, hosts: Hosts) -> None:
        """``hosts`` are new ones, ``count`` of them, with disks of ``size``."""
        self.cell = cell
        super().__init__(name, folder, hosts, tag)
        self.shard = f"{self.fleet}-{cell.driver}"
        self.shards = {cell.driver: self.shard}
        self.daemon = Daemon(folder, folder / "fleet.toml", level=self.level)
        self.source = ""
        self._token, self._port = 0, PORT
        #: acknowledged requests that are in no state any more, as they may be after a failover
        self.lost = 0
        #: seconds from the beginning of the capsule to the last of them
        self.span = 0.0

    def shard_spec(self) -> ShardSpec:
        """The shard, on the first host."""
        program = f"exec python3 -S -I {quote(self.hosts.program)}"
        hook = self.cell.driver == "hook"
        serve = f"{program} serve --durable --cost 0.0001 --padding 256"
        spec = ShardSpec(
            name=scrub(self.shard),
            app=Label(APP),
            host=self.hosts.specs[0].name,
            driver="hook" if hook else "restart",
            start=f"{serve} --standby" if hook else serve,
            ready=f"{program} ready",
            port=PORT,
        )
        if not hook:
            return spec
        verbs = {verb: f"{program} {verb}" for verb in ("save", "load", "quiesce", "resume")}
        return replace(spec, **verbs)

    def fleet_spec(self, policy: Policy, *shards: ShardSpec) -> FleetSpec:
        """A fleet of these shards, for a world that is sampled often."""
        return FleetSpec(
            name=scrub(self.fleet),
            source=str(self._folder / "fleet.toml"),
            ssh_config="none",
            hosts=self.hosts.specs,
            shards=shards,
            policy=replace(policy, observe=0.0, step_deadline=2.0 * STEP),
            oracle=OracleSpec(enabled=False, min_steps=2),
            history=HistorySpec(enabled=False),
            interval=0.3,
            connect_timeout=2.0,
            keepalive=1.0,
            known_hosts=str(self.hosts.known_hosts),
            identity=str(self.hosts.identity),
        )

    # -- the cell

    async def run(self, cell: Cell) -> Outcome:
        """The one cell."""
        began, outcome = time.monotonic(), Outcome(cell)
        shard = self.shard
        try:
            await self._sound(cell)
            self.source, self._token = self.daemon.owner(shard)
            self._port = self.daemon.endpoint(shard)[1]
            clients = self._clients[shard]
            clients.start()
            try:
                await asyncio.sleep(WARM)
                await self.until(self._warm, "requests are not answered", REACHED)
                await self.act(cell, outcome)
                await self._person(shard, outcome)
            finally:
                stuck = await clients.stop()
            await self._judge(shard, stuck, outcome)
        except (SidestepError, OSError, TimeoutError, ValueError) as error:
            outcome.broken = f"{type(error).__name__}: {error}"
        outcome.seconds = time.monotonic() - began
        return outcome

    async def act(self, cell: Cell, outcome: Outcome) -> None:
        """Bring about the action, hurt it, and have the shard served again."""
        raise NotImplementedError

    async def _warm(self) -> bool:
        """Whether there is a history to speak of."""
        return len(self._clients[self.shard].calls) >= LEAST

    async def strike(self, cell: Cell, outcome: Outcome, begin: Callable[[], Awaitable[None]], source: str) -> None:
        """Let the action begin, meet the fault where it stands still, and end; ``source`` is its source, or was."""
        earlier = len(self.actions())
        reached = self.daemon.arm(self.shard, cell.point)
        await begin()

        async def there() -> bool:
            return reached.exists() or any(seen.state in _ENDED for seen in self.actions()[earlier:])

        await self.until(there, f"no {cell.kind} reaches {cell.point}", REACHED)
        mine = self.actions()[-1]
        if not reached.exists():
            raise HarnessError(f"the {cell.kind} ended before {cell.point}: {mine.note}")
        destination = await self.destination(mine)
        hurt = Hurt(self, cell, self.shard, source, destination, token=self._token, port=self._port)

        async def ended() -> bool:
            return self.daemon.alive and self._of(mine).state in _ENDED

        try:
            await hurt.do()
            reached.unlink(missing_ok=True)
            await hurt.wait(ended)
            await hurt.heal()
            await self.daemon.start()
            await self.until(ended, f"the {cell.kind} does not end", RECOVERY)
        finally:
            await hurt.heal()
        self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        """What became of the shard's actions: the worst of them, or else the newest."""
        seen = [one for one in self.actions() if one.state in _ENDED]
        people = [one for one in seen if one.state is ActionState.FAILED_NEEDS_HUMAN]
        last = (people or seen)[-1]
        outcome.state, outcome.note = str(last.state), last.note
        outcome.problems = [p for p in outcome.problems if not p.startswith("FAILED_NEEDS_HUMAN")]
        if people and not any(f"{step}" in last.note for step in StepName):
            outcome.problems.append(f"FAILED_NEEDS_HUMAN names no step: {last.note}")

    def actions(self) -> list[Seen]:
        """Actions of the shard in plans that ever began, oldest first."""
        rows = self.daemon.ask(_ACTIONS, self.shard)
        return [Seen(d, int(i), ActionState(state), note) for d, i, state, note in rows if state != "PENDING"]

    def _of(self, one: Seen) -> Seen:
        return next(seen for seen in self.actions() if (seen.digest, seen.id) == (one.digest, one.id))

    async def destination(self, one: Seen) -> str:
        """Where that action goes, or nothing."""
        view = await self.daemon.call(GetPlan(one.digest))
        return str(next(action.destination for action in view.plan.actions if action.id == one.id))
