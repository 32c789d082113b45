"""``python -m sidestep.autopilot.cluster``: what ``sidestep cluster`` runs."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

import numpy as np

from sidestep.autopilot.cluster import shown
from sidestep.autopilot.cluster.arguments import access, arguments, ceiling, folder, seeds, settings
from sidestep.autopilot.cluster.choosing import evened, moved
from sidestep.autopilot.cluster.watching import Watch
from sidestep.backends.redis_cluster.client import Nodes
from sidestep.backends.redis_cluster.demand import measured
from sidestep.backends.redis_cluster.job import Job, Ledger, Leg, alone, job, unfinished
from sidestep.backends.redis_cluster.look import atomic, look
from sidestep.backends.redis_cluster.members import attach, failover, named, replicate
from sidestep.backends.redis_cluster.mover import Mover, inherited
from sidestep.backends.redis_cluster.probe import BEFORE
from sidestep.backends.redis_cluster.ranges import written
from sidestep.backends.redis_cluster.repair import plan, settle
from sidestep.backends.redis_cluster.topology import View
from sidestep.fleet.errors import SidestepError

#: seconds for which nodes are listened to before what ``watch`` moves, which is urgent
HASTE = 0.5


class Run:
    """One command against one cluster."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.seeds, self.folder = options, seeds(options), folder(options)
        self.nodes = Nodes(access(options))
        self.json = bool(options.json)

    async def run(self) -> None:
        """Do it. Raises SidestepError."""
        try:
            seen = await look(self.nodes, self.seeds)
            await getattr(self, f"_{self.options.command}")(seen)
        finally:
            await self.nodes.aclose()

    async def _show(self, seen: View) -> None:
        demand = await measured(self.nodes, seen) if self.options.demand else None
        shown.cluster(seen, demand, await atomic(self.nodes, seen), as_json=self.json)

    async def _move(self, seen: View) -> None:
        self._whole(seen)
        keys = np.ones(len(seen.owners))
        if self.options.split:
            keys = (await measured(self.nodes, seen, apart=0.0)).keys
        await self._go(seen, moved(seen, self.options, keys), "move")

    async def _rebalance(self, seen: View) -> None:
        self._whole(seen)
        demand = np.ones(len(seen.owners))
        if self.options.by != "slots":
            demand = getattr(await measured(self.nodes, seen), self.options.by)
        await self._go(seen, evened(seen, self.options, demand), f"rebalance by {self.options.by}")

    async def _repair(self, seen: View) -> None:
        jobs = self._jobs(seen)
        intents = {slot: ids for one in jobs for slot, ids in one.intents().items()}
        if self.options.dry_run:
            shown.fixes(seen, await plan(self.nodes, seen, intents), as_json=self.json)
            return
        with alone(self.folder):
            fixes = await plan(self.nodes, seen, intents)
            if self.options.give_up:
                half = {half.slot for half in seen.halves}
                await settle(self.nodes, self.seeds, {s: t for s, t in intents.items() if s in half})
                for one in jobs:
                    self._end(one)
            for one in () if self.options.give_up else jobs:
                await self._finish(one)
            await settle(self.nodes, self.seeds, {})
        shown.fixes(seen, fixes, as_json=self.json)

    async def _watch(self, seen: View) -> None:
        self._whole(seen)

        async def act(legs: Sequence[Leg], why: str, seen: View) -> None:
            with alone(self.folder):
                await self._finish(job(inherited(legs, seen), why), before=HASTE)

        watch = Watch(
            self.nodes, self.seeds, settings(self.options), act=None if self.options.dry_run else act,
            show=lambda tick: shown.tick(tick, as_json=self.json),
        )  # fmt: skip
        await watch.run(self.options.seconds)

    async def _failover(self, seen: View) -> None:
        replica = named(seen, self.options.replica)
        await failover(self.nodes, self.seeds, replica, seen)
        self._say(f"{replica.name} is the master now", replica.id)

    async def _replicate(self, seen: View) -> None:
        replica, master = named(seen, self.options.replica), named(seen, self.options.of)
        if self.options.force and replica.of and replica.id != master.id and master.master:
            await attach(self.nodes, self.seeds, replica, master)
        else:
            await replicate(self.nodes, self.seeds, replica, master, seen)
        self._say(f"{replica.name} replicates {master.name} now", replica.id)

    def _say(self, text: str, id: str) -> None:
        if self.json:
            shown.dump({"result": text, "id": id})
        else:
            print(text)

    def _whole(self, seen: View) -> None:
        """Raise SidestepError where something has to be put right first."""
        if jobs := self._jobs(seen):
            raise SidestepError(f"move {jobs[0].id} was interrupted", hint="finish it: sidestep cluster repair")
        if seen.halves:
            slots = written(half.slot for half in seen.halves)
            raise SidestepError(
                f"slots {slots} are half moved, and not by us", hint="wait, or put it right: sidestep cluster repair"
            )

    def _jobs(self, seen: View) -> list[Job]:
        """Unfinished jobs of this cluster: what they move to is known here."""
        return [
            one
            for one in unfinished(self.folder)
            if any(seen.by_id(id) for leg in one.legs for id in (leg.source, leg.target, *leg.heirs))
        ]

    async def _go(self, seen: View, legs: Sequence[Leg], why: str) -> None:
        if self.options.dry_run or not legs:
            shown.legs(seen, legs, as_json=self.json)
            return
        with alone(self.folder):
            await self._finish(job(inherited(legs, seen), why))

    async def _finish(self, one: Job, before: float = BEFORE) -> None:
        ledger = Ledger(self.folder, one)
        try:
            limit = ceiling(self.options)
            mover = Mover(
                self.nodes, self.seeds, ceiling=limit, before=before, progress=_progress, yields=True
            )  # fmt: skip
            shown.done(await mover.run(one, ledger), as_json=self.json, id=one.id)
        finally:
            ledger.close()

    def _end(self, one: Job) -> None:
        ledger = Ledger(self.folder, one)
        ledger.begin()
        ledger.end("given up")
        ledger.close()


def _progress(done: int, total: int) -> None:
    """Slots so far, on a terminal."""
    if sys.stderr.isatty():
        end = "\n" if done >= total else "\r"
        print(f"{done} of {total} slots", end=end, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 for what the cluster refused, 2 for bad input."""
    options = arguments(argv)
    try:
        asyncio.run(Run(options).run())
    except SidestepError as error:
        print(f"sidestep: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if getattr(options, "dry_run", None) is False:
            print("sidestep: interrupted; what is half moved is finished by: sidestep cluster repair", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
