"""A split and a merge as they come about, one after the other, in a lane of their own.

The shard stays on the first host; the spare gets the upper half of its keys on the second, and gives it back. A
cell of the one kind is led up to by the other, undisturbed, if it has to be: so every cell also has to leave behind
what the next can go on from.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace as other
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from scripts.faultmatrix.cells import DESTINATION, SOURCE, Cell, Fault
from scripts.faultmatrix.clients import Clients, saved
from scripts.faultmatrix.daemon import HarnessError
from scripts.faultmatrix.divided import Held, check_divided
from scripts.faultmatrix.history import Entry
from scripts.faultmatrix.hosts import Hosts
from scripts.faultmatrix.hurt import Hurt
from scripts.faultmatrix.lane import LEAST, PORT, RECOVERY, STEP, Lane, Outcome, hook_shard, soon
from sidestep.autopilot.protocol_reshard import ProposeReshard
from sidestep.backends.embedded.traffic import APP, keys_of
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.machines import ActionState
from sidestep.fleet.placement import KEYS, key_slot

_ANSWERED: Final = 20.0
_AGAIN: Final = 3


class Dividing(Lane):
    """Cells of split and merge."""

    #: a merge freezes two shards, on two hosts
    step = 2 * STEP

    def __init__(self, name: str, folder: Path, hosts: Hosts, tag: str) -> None:
        super().__init__(name, folder, hosts, tag)
        self.shard, self.spare = f"{self.fleet}-hook", f"{self.fleet}-spare"
        self.shards = {"hook": self.shard, "spare": self.spare}
        self.keys = (*keys_of(0, 2)[:2], *keys_of(1, 2)[:2])
        #: tokens of those who had the upper keys, one after the other
        self._tokens: list[int] = []
        self._kind = ""

    def declared(self) -> tuple[ShardSpec, ...]:
        """A shard that has all keys, and a spare."""
        shard = hook_shard(self.hosts, self.shard, PORT, (0, KEYS))
        spare = hook_shard(self.hosts, self.spare, PORT + 1, None)
        return shard, replace(spare, spare=True, host=self.hosts.specs[1].name)

    def clients(self) -> dict[str, Clients]:
        """Those of all keys, whoever has them."""
        return {self.shard: Clients(self.core, APP, self.shard, self.keys)}

    # -- who has what

    def divided(self) -> bool:
        """Whether the spare has keys, says the journal."""
        return bool(self.daemon.ask("SELECT 1 FROM owner WHERE shard = ?", self.spare))

    def _owners(self) -> tuple[str, ...]:
        return (self.shard, self.spare) if self.divided() else (self.shard,)

    def _note(self) -> None:
        """Remember who has the upper keys now."""
        token = self.daemon.owner(self._owners()[-1])[1]
        if self._tokens[-1:] != [token]:
            self._tokens.append(token)

    def reachable(self, shard: str) -> bool:
        """Whether requests are let through to it, by the ranges of the journal."""
        named = {str(route.shard) for route in self.core.table.routes}
        return super().reachable(shard) and named == set(self._owners())

    async def _alone(self, shard: str) -> bool:
        """Whether exactly the owners run, and a spare without keys nowhere."""
        try:
            owners = self._owners()
        except HarnessError:
            return False
        for one in owners:
            if not await super()._alone(one):
                return False
        return len(owners) > 1 or not await asyncio.to_thread(self.running, self.spare)

    # -- the cell

    async def _sound(self, cell: Cell) -> None:
        """As in any lane; and the keys are where the cell begins."""
        await super()._sound(cell)
        self._kind = cell.kind
        self._note()
        returns = cell.kind == "split" and cell.fault is Fault.STALE_OWNER and cell.side == DESTINATION
        if returns and len(self._tokens) == 1:  # nobody was the spare's owner yet
            await self._bring("split", cell)
        if self.divided() != (cell.kind == "merge"):
            await self._bring("split" if cell.kind == "merge" else "merge", cell)

    async def _bring(self, before: str, cell: Cell) -> None:
        """Have keys go, or come back, without any fault. Raises HarnessError."""
        for _ in range(_AGAIN):  # on a busy machine a step may take too long
            self._kind = before
            view = await self._approved(self.shard, "")
            await self.until(lambda: self.daemon.ended(view.digest), f"no {before} before the cell ends", RECOVERY)  # noqa: B023
            await self.until(lambda: self._alone(self.shard), f"{self.shard} is not served after a {before}", RECOVERY)
            self._note()
            if self.divided() == (before == "split"):
                self._kind = cell.kind
                return
        raise HarnessError(f"no {before} before the cell: {(await self.daemon.outcome(view.digest)).note}")

    def proposal(self, shard: str, destination: str) -> ProposeReshard:
        """The plan that a person asks for."""
        return ProposeReshard("split" if self._kind == "split" else "merge", shard, reason="a fault is tried")

    def hurt(self, cell: Cell, shard: str) -> Hurt:
        """What is about the spare strikes the spare: on its own host it is what the source is in a move."""
        source, token = self.daemon.owner(shard)
        destination = next(str(s.name) for s in self.hosts.specs if s.name != source)
        if cell.side == DESTINATION and cell.fault in {Fault.KILL_SHARD, Fault.STALE_OWNER}:
            token = self.daemon.owner(self.spare)[1] if cell.kind == "merge" else max(self._tokens)
            mine = other(cell, side=SOURCE)
            return Hurt(self, mine, self.spare, destination, source, token=token, port=PORT + 1)
        return Hurt(self, cell, shard, source, destination, token=token, port=self.daemon.endpoint(shard)[1])

    async def _person(self, shard: str, outcome: Outcome) -> None:
        """Whoever of the two does not run is helped."""
        if outcome.state != ActionState.FAILED_NEEDS_HUMAN or await soon(lambda: self._alone(shard), 20.0):
            return
        for one in self._owners():
            outcome.helped |= await Hurt.help(self, one)

    async def _judge(self, shard: str, stuck: str, outcome: Outcome) -> None:
        """Each runs once where the journal has it, and together they have lost and repeated nothing."""
        problems, clients = outcome.problems, self._clients[self.shard]
        if stuck:
            problems.append(stuck)
        if not await soon(lambda: self._alone(shard), RECOVERY):
            though = " though helped" if outcome.helped else ""
            table = ", ".join(f"{r.lo}: {r.shard}" for r in self.core.table.routes)
            seen = "; ".join(self.seen(one) for one in self.shards.values())
            problems.append(f"keys are not served once by their owners{though}: {seen}; routes {table}")
            return
        self._note()
        owners = {one: self.daemon.owner(one)[1] for one in self._owners()}
        for key in self.keys:
            try:
                async with asyncio.timeout(_ANSWERED):
                    call = await clients.once("GET", key)
            except TimeoutError:
                problems.append(f"{key} is not reached: {self.core.stats()['shards']}")
                return
            if call.token != owners[self._has(key)]:
                problems.append(f"{key} is answered under token {call.token}, the journal has {owners}")
        logs = {one: await saved(*self.daemon.endpoint(one)) for one in owners}
        copies = outcome.state == ActionState.FAILED_NEEDS_HUMAN  # the last step drops what was given away
        if wrong := check_divided(clients.calls, logs, {key: self._held(key) for key in self.keys}, copies=copies):
            problems += wrong[:5]
            clients.forget(self._all(logs))
        if len(clients.calls) < LEAST:
            problems.append(f"only {len(clients.calls)} requests were made")

    def _has(self, key: str) -> str:
        """The shard that the journal gives the key."""
        return self._owners()[-1] if key_slot(key) >= KEYS // 2 else self.shard

    def _held(self, key: str) -> Held:
        moves = key_slot(key) >= KEYS // 2
        return Held(self._has(key), tuple(self._tokens) if moves else (self.daemon.owner(self.shard)[1],))

    def _all(self, logs: dict[str, tuple[Entry, ...]]) -> list[Entry]:
        return [entry for one, log in logs.items() for entry in log if self._has(entry.key) == one]
