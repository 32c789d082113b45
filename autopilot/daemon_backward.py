"""Taking back, once a host answers again, what a move left there that was given up while it did not.

Before the commit nobody waits for the destination: the source serves, the action is ABORTED, and the steps that could
not be taken back stay in the journal as they were. Copies that run are ended by ``daemon_shards``; here it is capsules
with the shard's state in them, half a state, and ports that were promised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from sidestep.autopilot.daemon_log import Log
from sidestep.autopilot.executor_retry import trouble_of
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.recovery import to_take_back
from sidestep.autopilot.steps import move_of
from sidestep.backends.base import Backend
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.machines import StepName
from sidestep.fleet.plans import Action, Plan


class Backward:
    """Does what the journal says is left; ``busy`` names the shards that something is being done to."""

    def __init__(
        self,
        fleet: FleetSpec,
        journal: Journal,
        backends: Mapping[str, Backend],
        transport: Callable[[str], Transport],
        log: Log,
        busy: Callable[[], frozenset[str]],
    ) -> None:
        self._fleet, self._journal, self._backends = fleet, journal, backends
        self._transport, self._log, self._busy = transport, log, busy
        self._complaints: dict[tuple[str, int], str] = {}

    async def clear(self, hosts: Collection[str]) -> set[str]:
        """Take back what is left on these hosts, which answer; those where it has to be tried again."""
        again: set[str] = set()
        for digest, number in self._journal.half_taken_back():
            plan, _ = self._journal.plan(digest)
            action = next(a for a in plan.actions if a.id == number)
            if action.kind != "migrate" or action.destination not in hosts or not self._declared(action):
                continue
            if action.shard in self._busy() or action.destination in again:  # which may hang, and others wait
                again.add(action.destination)
                continue
            deadline = 2.0 * plan.policy.step_deadline
            try:
                async with asyncio.timeout(deadline):
                    await self._take_back(plan, action, digest)
            except Exception as error:  # noqa: BLE001 - supervisor: a plugin's bug keeps no host from being looked at
                again.add(action.destination)
                trouble = trouble_of(error, f"{action.shard} {action.course}: taking back what was left", deadline)
                self._complain((digest, number), trouble.text)
                continue
            self._log.say("host", f"{action.destination}: taken back what plan {plan.number} left of {action.shard}")
            self._complaints.pop((digest, number), None)
        return again

    def _declared(self, action: Action) -> bool:
        """Whether the fleet still has the shard and both hosts."""
        hosts = {str(host.name) for host in self._fleet.hosts}
        return {action.source, action.destination} <= hosts and any(s.name == action.shard for s in self._fleet.shards)

    async def _take_back(self, plan: Plan, action: Action, digest: str) -> None:
        """Whatever any step made there; nothing where the shard came since, as its own move has cleared up.

        May be repeated; raises whatever the backend does.
        """
        number, owner = action.id, self._journal.placement().owners.get(action.shard)
        if owner is None or owner.host != action.destination:
            shard, token = self._fleet.shard(action.shard), self._journal.token(digest, number)
            move = move_of(self._fleet, plan, action, digest=digest, old_token=action.token, new_token=token)
            source, destination = self._transport(action.source), self._transport(action.destination)
            notes = self._journal.notes(digest, number)
            await self._backends[shard.backend].abort(StepName.PREPARE, move, source, destination, notes)
        status = next(a for a in self._journal.status(digest).actions if a.id == number)
        for step in to_take_back(status):
            self._journal.undo_step(digest, number, step)

    def _complain(self, key: tuple[str, int], text: str) -> None:
        if self._complaints.get(key) != text:
            self._complaints[key] = text
            self._log.say("error", text)
