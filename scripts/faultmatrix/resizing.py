"""A resize as it comes about: a shard that is a unit of a real host gets other limits, and its old ones the next time.

Who plans is the harness: the plan is put into the journal beside one that the daemon has proposed, with its basis,
while no daemon runs. Afterwards the kernel has the limits that the journal says, the old ones or the new ones.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Final

from msgspec.structs import replace

from scripts.faultmatrix.daemon import HarnessError
from scripts.faultmatrix.lane import RECOVERY, Lane, Outcome
from sidestep.autopilot.journal import Journal
from sidestep.autopilot.protocol import Approve, GetPlan, PlanView
from sidestep.backends.base import Sizes
from sidestep.backends.systemd import SystemdBackend
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ActionState
from sidestep.fleet.plans import Action, Limits, Reason

SMALL: Final = Sizes(cpu=0.5, memory=128 << 20, read=32 << 20, write=64 << 20)
LARGE: Final = Sizes(cpu=0.75, memory=192 << 20, read=64 << 20, write=96 << 20)
#: the kernel counts in pages, and in shares of a period
_PAGES: Final = 65536
_CORES: Final = 0.002


class Resizing(Lane):
    """Cells of resize."""

    #: what the shard had before the cell
    _before = SMALL

    def declared(self) -> tuple[ShardSpec, ...]:
        """Two units."""
        sized = {
            "limit_cpu": SMALL.cpu,
            "limit_memory": SMALL.memory,
            "limit_read": SMALL.read,
            "limit_write": SMALL.write,
        }
        return tuple(replace(shard, backend="systemd", **sized) for shard in super().declared())

    def _journaled(self, shard: str) -> Sizes:
        """What the journal says that it may use."""
        rows = self.daemon.ask("SELECT cpu, memory, read, write FROM shard_size WHERE shard = ?", shard)
        return Sizes(**dict(zip(("cpu", "memory", "read", "write"), rows[0], strict=True))) if rows else SMALL

    async def _approved(self, shard: str, destination: str) -> PlanView:
        model = await self._plan(shard, destination)
        host, token = self.daemon.owner(shard)
        now = self._before = self._journaled(shard)
        wanted = LARGE if now == SMALL else SMALL
        action = Action(
            id=1, kind="resize", shard=Label(shard), source=Label(host), destination=Label(host), token=token,
            priority=3, reason=Reason("OPERATOR", scrub("a fault is tried")), undo=scrub("the old limits"),
            limits=Limits(
                cpu=wanted.cpu, memory=wanted.memory, read=wanted.read or 0, write=wanted.write or 0,
                cpu_before=now.cpu, memory_before=now.memory, read_before=now.read or 0, write_before=now.write or 0,
            ),
        )  # fmt: skip
        await self.daemon.stop()
        with closing(Journal(self.daemon.folder / "state" / "journal.db")) as journal:
            plan = replace(
                model.plan, number=journal.next_number(), actions=(action,), summary=scrub(f"resize {shard}")
            )
            digest = journal.add(plan).digest
        await self.daemon.start()
        await self.until(self.daemon.all_ready, "not all hosts are READY for the plan", RECOVERY)
        await self.until(lambda: self._alone(shard), f"{shard} does not serve alone for the plan", RECOVERY)
        for _ in range(200):
            try:
                await self.daemon.call(Approve(digest, "a fault is tried"))
                view: PlanView = await self.daemon.call(GetPlan(digest))
                return view
            except SidestepError as error:
                trouble = str(error)
                await asyncio.sleep(0.1)
        raise HarnessError(f"the resize of {shard} is not approved: {trouble}")

    async def _plan(self, shard: str, destination: str) -> PlanView:
        """A plan of a move as the daemon proposes it now, never approved."""
        for _ in range(200):
            try:
                view: PlanView = await self.daemon.call(self.proposal(shard, destination))
                return view
            except SidestepError as error:
                trouble = str(error)
                await asyncio.sleep(0.1)
        raise HarnessError(f"nothing is planned for {shard}: {trouble}")

    async def _judge(self, shard: str, stuck: str, outcome: Outcome) -> None:
        """As in a lane; and the limits are those of the journal, whose action says which these are."""
        await super()._judge(shard, stuck, outcome)
        if outcome.problems:
            return
        host, token = self.daemon.owner(shard)
        spec = next(one for one in self.declared() if one.name == shard)
        found = await SystemdBackend(self.fleet).sizes(await self.transport(host), spec, token)
        journaled, new = self._journaled(shard), LARGE if self._before == SMALL else SMALL
        if outcome.state != ActionState.FAILED_NEEDS_HUMAN:
            wanted = new if outcome.state == ActionState.DONE else self._before
            if journaled != wanted:
                outcome.problems.append(f"the action is {outcome.state}, and the journal has {journaled}")
            if not _same(found, journaled):
                outcome.problems.append(f"{shard} has {found} on {host}, the journal has {journaled}")
        elif not (_same(found, SMALL) or _same(found, LARGE)):
            outcome.problems.append(f"{shard} has {found} on {host}, neither old nor new limits")


def _same(found: Sizes, wanted: Sizes) -> bool:
    disk = (found.read, found.write) == (wanted.read, wanted.write)
    return disk and abs(found.cpu - wanted.cpu) <= _CORES and -_PAGES < found.memory - wanted.memory <= 0
