"""A failover as it comes about: the host of a shard is lost, and the daemon, at level full, brings it up elsewhere.

A hook shard's host loses its power; that of a restart shard is cut off, so that its process goes on, and is asked,
until its lease runs out. Whichever it is, the host is back in the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from scripts.faultmatrix.cells import Cell
from scripts.faultmatrix.disks import LARGE
from scripts.faultmatrix.history import Entry, Restored, check_restored
from scripts.faultmatrix.lane import RECOVERY, Outcome, soon
from scripts.faultmatrix.stage import RETRIED, Stage
from sidestep.autopilot.capsules.base import CapsuleRef
from sidestep.autopilot.protocol_failover import GetLosses
from sidestep.fleet.inventory import FailoverSpec, FleetSpec, Policy

_KEYS: Final = (0, 1 << 16)
#: that of a host that is only cut off outlasts the time until it is lost, so that the fence has to wait
_LEASE: Final = {"hook": 5.0, "restart": 12.0}
_COPIED: Final = 120.0
_CAPSULES: Final = (
    "SELECT action.token, prepare.notes FROM action JOIN step AS done USING (digest)"
    " JOIN step AS prepare ON prepare.digest = action.digest AND prepare.action = action.id"
    " WHERE action.shard = ? AND done.action = action.id AND done.name = 'commit' AND done.state = 'DONE'"
    " AND prepare.name = 'prepare'"
)


class Rescue(Stage):
    """One cell of a failover."""

    count = 3
    level = "full"
    size = LARGE
    #: the RPO of each failover, as the daemon told it (s)
    _told: Sequence[float] = ()

    def _spec(self) -> FleetSpec:
        shard = replace(self.shard_spec(), keys=_KEYS, failover="capsule", replicas=2, replicate_every=1.0)
        return replace(
            self.fleet_spec(Policy(kinds=("failover",), settle=1.0), shard),
            failover=FailoverSpec(
                grace=1.0, lease=_LEASE[self.cell.driver], margin=1.5, brake_share=0.9, quarantine=1.0, poison_hosts=99
            ),
            level="full",
            router=str(self._folder / "r.sock"),
        )

    async def act(self, cell: Cell, outcome: Outcome) -> None:
        """The host is lost once there is a capsule of what clients have written; it is back in the end."""
        began = time.time()

        async def copied() -> bool:
            rows = self.daemon.ask(
                "SELECT count(*) FROM capsule JOIN capsule_copy USING (shard, seq) WHERE shard = ? AND complete"
                " AND taken > ? AND capsule_copy.state = 'good' GROUP BY seq", self.shard, f"{began:f}",
            )  # fmt: skip
            return any(count >= 2 for (count,) in rows)

        await self.until(copied, "no capsule is complete", _COPIED)

        async def lose() -> None:
            if cell.driver == "hook":
                await self.hosts.lose_power(self.source)
            else:
                await self.hosts.cut(self.source)

        try:
            await self.strike(cell, outcome, lose, self.source)
            await soon(lambda: self._alone(self.shard), RETRIED)
        finally:
            await self.come_back(self.source)
        await self.until(self.daemon.all_ready, "not all hosts are READY again", RECOVERY)
        await soon(lambda: self._alone(self.shard), RETRIED)
        self.tell(outcome)
        view = await self.daemon.call(GetLosses())
        self._told = [one.rpo for one in view.recovered if one.shard == self.shard and one.rpo is not None]

    async def come_back(self, host: str) -> None:
        """The lost host is there again; done twice it changes nothing."""
        await self.hosts.power_on(host)
        await self.hosts.heal(host)

    def wrong(self, shard: str, log: Sequence[Entry]) -> list[str]:
        """As in a lane, but for what came after the capsules that were restored."""
        calls, offset = self._clients[shard].calls, time.monotonic() - time.time()
        restored = []
        for token, notes in self.daemon.ask(_CAPSULES, shard):
            text = msgspec.json.decode(notes).get("capsule")
            if text:
                ref = msgspec.json.decode(text, type=CapsuleRef)
                restored.append(Restored(int(token), ref.taken + offset))
        there = {entry.id for entry in log}
        lost = [call for call in calls if call.verb == "INC" and call.outcome == "ok" and call.id not in there]
        self.lost = len(lost)
        if lost and restored:
            # an answer may be under way for as long as a cable is out: what counts is when it was asked for
            self.span = max(call.begun for call in lost) - min(one.begun for one in restored)
        if not restored and self.daemon.owner(shard)[1] != self._token:
            return [f"{shard} has a new owner, and the journal names no capsule that it began with"]
        problems = check_restored(calls, log, restored)
        # a daemon that was started since has forgotten what it told
        if len(self._told) == len(restored) and self.span > max(self._told, default=math.inf):
            problems.append(f"lost up to {self.span:.1f} s after the capsule; the RPO was told as {self._told} s")
        return problems
