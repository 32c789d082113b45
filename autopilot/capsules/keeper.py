"""Keeps capsules of every shard that is to have them: takes, copies, checks, repairs, and brings them.

Nothing happens in here while no shard has ``replicas``. Nothing in here may stop the daemon: trouble of a
shard is said once until it changes, and its next round comes all the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

import numpy as np

from sidestep.autopilot.capsules.carrying import HOMES, LOST_AFTER, TAKING, Around, Carrier
from sidestep.autopilot.capsules.figures import Figures, Told, stale_notice
from sidestep.autopilot.capsules.scrub import Scrubbed, Scrubber, added
from sidestep.autopilot.capsules.source import CapsuleSource
from sidestep.autopilot.capsules.taking import Taker
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.inventory import FleetSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.queue import Waiting

#: seconds between two looks at what is due, between two at what is lacking, and between two scrubs of a host
BEAT: Final = 1.0
MEND: Final = 10.0
SCRUB: Final = 3600.0
#: rounds and repairs that run at a time; of one host, one
AT_ONCE: Final = 4
#: seconds until a shard is tried again that moves, or whose host is away; and after the first failure
SOON: Final = 5.0
#: ages, in ``replicate_every``, from which a strained host gives a capsule all the same, and which is told
URGENT: Final = 2.0
STALE: Final = 3.0
_NEVER: Final = -np.inf


class CapsuleKeeper(CapsuleSource):
    """Implements ``Capsules``; ``run`` is its life. ``busy`` are shards that move, ``strain`` says why a host suffers.

    ``held`` says why nothing may begin just now, or "".
    """

    def __init__(
        self, around: Around, *, busy: Callable[[], frozenset[str]], strain: Callable[[str], str],
        held: Callable[[], str] = str, seed: int | None = None,
    ) -> None:  # fmt: skip
        carrier = Carrier(around)
        super().__init__(around, carrier)
        self._busy, self._strain, self._held = busy, strain, held
        self._taker, self.scrubber = Taker(around, carrier), Scrubber(around, carrier)
        self._random = random.Random(seed)  # noqa: S311 - it only spreads work
        self._tasks: dict[str, asyncio.Task[None]] = {}
        #: the host that each running task works on
        self._on: dict[str, str] = {}
        self._mended = _NEVER
        self._patience: dict[str, tuple[float, int]] = {}
        self._scrubs: dict[str, float] = {}
        self.told = Told(around.report)
        self.figures = Figures()
        self.scrubbed: tuple[float, Scrubbed] = (0.0, Scrubbed())
        self._names: tuple[str, ...] = ()
        self._due = self._taken = self._every = np.zeros(0)
        self.switch(around.fleet)

    # -- life

    def switch(self, fleet: FleetSpec) -> None:
        """Go by this fleet file."""
        around, now = self.around, self.around.clock.monotonic()
        due = dict(zip(self._names, self._due.tolist(), strict=True))
        around.switch(fleet)
        specs = [spec for spec in fleet.shards if spec.replicas]
        self._names = tuple(str(spec.name) for spec in specs)
        self._every = np.array([spec.replicate_every for spec in specs], float)
        #: shards that are declared, and not replicated any more
        self._leaving = {n for n in around.shelf.shards if n in around.shards and not around.shards[n].replicas}
        known = [around.shelf.newest(name) for name in self._names]
        #: unix time of every replicated shard's newest complete capsule; before there is one, of when it was wanted
        self._taken = np.array([c.taken if c is not None else around.clock.wall() for c in known], float)
        spread = [self._random.random() * min(every, 60.0) for every in self._every]
        self._due = np.array([due.get(n, now + s) for n, s in zip(self._names, spread, strict=True)], float)

    async def run(self) -> None:
        """Keep capsules until cancelled."""
        try:
            while True:
                await self.around.clock.sleep(BEAT)
                try:
                    self.beat()
                except Exception as error:  # noqa: BLE001 - the supervisor of capsules: the next look may succeed
                    self.told.say("", f"capsules: {type(error).__name__}: {error}")
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End what runs; what it has begun is in the catalogue."""
        for task in tuple(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self.around.shelf.flush()

    def beat(self) -> None:
        """Begin what is due, as far as there is room for it."""
        around = self.around
        if not (self._names or self._leaving) or self._held():
            return
        now = around.clock.monotonic()
        around.look()
        due = np.flatnonzero(self._due <= now)
        for row in due[np.argsort(self._due[due], kind="stable")].tolist():
            if len(self._tasks) >= AT_ONCE:
                break
            self._consider(row, now)
        if now - self._mended >= MEND:
            self._mended = now
            self._care(now)

    def _consider(self, row: int, now: float) -> None:
        """Begin the round of one shard, or put it off."""
        around, name = self.around, self._names[row]
        owner, state = around.owner(name), around.states()
        if name in self._tasks or (owner is not None and owner[0] in self._on.values()):
            return
        waiting = around.parked(name) if owner is None and name not in self._busy() else None
        if waiting is not None and waiting.path:
            self._consider_parked(row, waiting, now)
        elif owner is None or name in self._busy() or state.get(owner[0]) not in HOMES:
            self._due[row] = now + SOON
        elif self.age(row) < URGENT * self._every[row] and self._strain(owner[0]):
            self._due[row] = now + min(SOON, self._every[row] / 4)
        else:
            self._begin(name, owner[0], self._round(row))

    def _consider_parked(self, row: int, waiting: Waiting, now: float) -> None:
        """The capsule that a shard waits with is its newest: others are to have it, too. Nothing newer comes."""
        newest = self.around.shelf.newest(waiting.shard)
        if newest is not None and (newest.token, newest.digest) == (waiting.token, waiting.digest):
            self._taken[row], self._due[row] = self.around.clock.wall(), now + SOON
        elif self.around.states().get(waiting.host) not in HOMES or waiting.host in self._on.values():
            self._due[row] = now + SOON
        else:
            self._begin(self._names[row], waiting.host, self._round(row, waiting))

    def _begin(self, key: str, host: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"capsule {key}")
        self._tasks[key], self._on[key] = task, host
        task.add_done_callback(lambda _: (self._tasks.pop(key, None), self._on.pop(key, None)))

    async def _round(self, row: int, waiting: Waiting | None = None) -> None:
        name, around, began = self._names[row], self.around, self.around.clock.monotonic()
        names, every = self._names, float(self._every[row])
        trouble = ""
        try:
            spec = around.shards[name]
            done = await (self._taker.parked(spec, waiting) if waiting is not None else self._taker.round(spec))
            self.figures.count(done)
            trouble = done.lacks and f"{name}: {done.lacks}"
        except SidestepError as error:
            self.figures.failed += 1
            trouble = str(error.args[0])
        except Exception as error:  # noqa: BLE001 - the supervisor of rounds: the others go on
            self.figures.failed += 1
            trouble = f"{name}: its capsule failed: {type(error).__name__}: {scrub(str(error))}"
        self.told.say(name, trouble)
        if self._names is not names:
            return  # another fleet file by now: it has its own times
        newest = around.shelf.newest(name)
        if newest is not None:
            self._taken[row] = newest.taken
        if trouble:
            wait = min(every, SOON * 2.0 ** min(self.told.times(name) - 1, 6))
            self._due[row] = around.clock.monotonic() + wait
        else:
            self._due[row] = began + every * self._random.uniform(0.9, 1.0)

    # -- care for what there is

    def _care(self, now: float) -> None:
        """Give hosts up that stay away, look again at those that are back, make missing copies, scrub what is due."""
        around, wall, states = self.around, self.around.clock.wall(), self.around.states()
        for host, found in around.shelf.by_host().items():
            if "good" in found and wall - around.away.get(host, wall) >= LOST_AFTER:
                self.forget_host(host)
            first = now + self._random.random() * SCRUB
            due = self._scrubs.setdefault(host, first) <= now or "lost" in found
            if due and states.get(host) in TAKING and self._free(f"host {host}", host):
                self._scrubs[host] = now + SCRUB
                self._begin(f"host {host}", host, self._scrub((host,), ()))
        for name in self._names:
            after, tries = self._patience.get(name, (_NEVER, 0))
            if now < after or name in self._busy() or not self._free(name, f"copies of {name}"):
                continue
            host = around.home(name)
            wanting = (c for c in around.shelf.retained(name) if c.complete and around.lacking(c, host) > 0)
            if any(wanting):
                self._patience[name] = (now + MEND * 2.0 ** min(tries, 5), tries + 1)
                self._begin(name, f"copies of {name}", self._mend(name))

        for name in sorted(self._leaving):
            home = around.home(name)
            if name not in self._busy() and (not home or states.get(Label(home)) in HOMES) and self._free(name, ""):
                self._begin(name, f"copies of {name}", self._clear(name))

    async def _clear(self, name: str) -> None:
        """Remove every capsule of a shard that is not replicated any more; hosts that are away are asked again."""
        try:
            await self._taker.tidy(self.around.shards[name], everything=True)
            if not self.around.shelf.of(name):
                self._leaving.discard(name)
                self.around.report(f"{name} is not replicated any more: its capsules are removed")
        except Exception as error:  # noqa: BLE001 - the supervisor of removals: they are tried again
            self.told.say(f"{name} copies", f"{name}: its capsules cannot be removed: {error}")

    def _free(self, key: str, host: str) -> bool:
        return len(self._tasks) < AT_ONCE and key not in self._tasks and host not in self._on.values()

    async def _mend(self, name: str) -> None:
        try:
            lacks = await self.scrubber.mend(name)
            self.told.say(f"{name} copies", lacks and f"{name}: {lacks}")
            if not lacks:
                self._patience.pop(name, None)
        except Exception as error:  # noqa: BLE001 - the supervisor of repairs: they are tried again
            self.told.say(f"{name} copies", f"{name}: its copies cannot be made anew: {error}")

    def scrub_now(self, shards: tuple[str, ...] = ()) -> tuple[int, int]:
        """Begin to read all copies (of these shards) at once; how many, and on how many hosts."""
        around = self.around
        on = {host: around.shelf.on_host(host, "good", "bad", "lost") for host in map(str, around.states())}
        listed = {h: [c for c, _ in found if not shards or c.shard in shards] for h, found in on.items()}
        hosts = tuple(host for host, found in listed.items() if found)
        if hosts and "scrub" not in self._tasks:
            self._begin("scrub", "scrub", self._scrub(hosts, shards))
        return sum(len(found) for found in listed.values()), len(hosts)

    async def _scrub(self, hosts: tuple[str, ...], shards: tuple[str, ...]) -> None:
        try:
            total = Scrubbed()
            for host in hosts:
                total = added(total, await self.scrubber.host(host, shards))
            self.scrubbed = self.around.clock.wall(), total
            self._mended = _NEVER  # what is bad is made anew at the next look
        except Exception as error:  # noqa: BLE001 - the supervisor of scrubs: they are tried again
            self.told.say("scrub", f"capsules cannot be checked: {error}")

    # -- what is known

    def known(self) -> tuple[str, ...]:
        """Shards that are replicated, and others that have capsules."""
        return tuple(dict.fromkeys((*self._names, *self.around.shelf.shards)))

    def age(self, row: int) -> float:
        """Seconds since the newest complete capsule of that replicated shard was begun: what a loss would cost."""
        return float(self.around.clock.wall() - self._taken[row])

    def ages(self) -> dict[str, float]:
        """The same of every replicated shard."""
        return dict(zip(self._names, (self.around.clock.wall() - self._taken).tolist(), strict=True))

    def stale(self) -> tuple[str, ...]:
        """Replicated shards whose newest capsule is older than three times what is wanted, the oldest first."""
        late = (self.around.clock.wall() - self._taken) / self._every if self._names else np.zeros(0)
        return tuple(self._names[row] for row in np.argsort(-late, kind="stable").tolist() if late[row] > STALE)

    def notices(self) -> tuple[Label, ...]:
        """What every screen has to say of capsules."""
        stale = self.stale()
        return (stale_notice(stale, len(self._names), self.told),) if stale else ()
