"""Calls on a cluster: where each block runs, what happens when its host is lost, and how it moves.

A block is pure: run twice it says the same, so that a second start is harmless, and only the
commit of its result needs the token. What a lost host said too late is refused by the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from sidestep.backends.functions import blocks
from sidestep.backends.functions.cluster import Cluster
from sidestep.backends.functions.guarding import LOOK, Guard, Saved
from sidestep.backends.functions.ledger import Ledger, Verdict
from sidestep.backends.functions.running import VerbFailed, WorkerLost
from sidestep.backends.functions.sources import Source
from sidestep.fleet.errors import HostError, SidestepError

#: executions of one block that may be lost before it is held to be what kills hosts
TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a function, as bytes."""

    source: Source
    function: str
    args: bytes
    #: what the input is like, for the history of invocations
    features: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How a call is to run: ``hosts`` in order of preference (all of them without), ``copies`` at the same time."""

    hosts: tuple[str, ...] = ()
    copies: int = 1
    #: whether its loops may run as shards on the other hosts; ``force`` whatever is predicted
    shard: bool = True
    force: bool = False
    #: seconds of work that the loss of a host may cost, 0 for no capsules; hosts that get them beside its own
    every: float = 0.0
    replicas: int = 1
    #: free cores by host as they are forecast; nominal ones where nothing is said
    free: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """An execution that was lost: its host, why, the seconds of work that went with it, and until it went on."""

    host: str
    why: str
    work: float
    recovery: float = 0.0
    #: when it was noticed (monotonic)
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A call that ended: its outcome, the host whose result was taken, and what happened on the way."""

    outcome: blocks.Outcome
    host: str
    seconds: float
    losses: tuple[Loss, ...] = ()
    moves: int = 0
    #: results of further copies that were not the committed one's
    differing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arrival:
    """A block that went on after a stop: where, with which token, and for how many seconds it did not compute.

    The seconds are from the wish to stop until it was seen to compute again.
    """

    host: str
    token: int
    seconds: float


@dataclass
class Block:
    """A block while it runs."""

    name: str
    call: Call
    wishes: Wishes
    began: float
    #: executions by token
    at: dict[int, str] = field(default_factory=dict)
    #: when each of them began to compute
    since: dict[int, float] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    moves: int = 0
    #: processor seconds of executions that were stopped
    used: float = 0.0
    #: the newest capsule, and until when the work is in it
    saved: Saved | None = None
    #: where a move takes it, from which token on, and what came of it
    target: str = ""
    arrival: asyncio.Future[Arrival] | None = None
    #: by token: told what a worker says of the end of an execution that was stopped
    stopped: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    paused: float = 0.0
    #: bytes that travelled while it stood
    last: int = 0
    #: whatever is asked of its capsules goes one at a time
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Conductor:
    """Runs calls on a cluster."""

    def __init__(self, cluster: Cluster, *, told: Callable[[Call, Finished], None] | None = None) -> None:
        self.cluster = cluster
        self._told = told
        self._listeners: list[Callable[[Call, Finished], None]] = []
        self.ledger = Ledger()
        self.guard = Guard(cluster)
        self.blocks: dict[str, Block] = {}
        #: free cores by host as they are forecast, kept by whoever forecasts; what a call wishes goes before
        self.free: Mapping[str, float] = {}
        self.waiting = 0  # calls that have no place yet
        self._numbers = itertools.count(1)
        self._room = asyncio.Condition()

    async def call(self, call: Call, wishes: Wishes = Wishes()) -> Finished:
        """Run a call to its one result. Raises SidestepError when no host can."""
        async with self._room:
            self.waiting += 1
            try:
                await self._room.wait_for(lambda: len(self.blocks) < max(self._slots(), 1) or self.cluster.closing)
            finally:
                self.waiting -= 1
            block = Block(f"b{next(self._numbers)}", call, wishes, time.monotonic())
            self.blocks[block.name] = block
        try:
            finished = await (self._copies(block) if wishes.copies > 1 else self._alone(block))
        finally:
            del self.blocks[block.name]
            async with self._room:
                self._room.notify_all()
        for listen in self._listeners:
            listen(call, finished)
        if self._told is not None:
            await asyncio.to_thread(self._told, call, finished)
        return finished

    def listen(self, listener: Callable[[Call, Finished], None]) -> None:
        """Have every call that ends told, at once; ``listener`` must not wait for anything."""
        self._listeners.append(listener)

    def _slots(self) -> int:
        """Blocks that run at the same time: one for each processor of the hosts with workers; others wait in order."""
        return sum(self.cluster.cores(host) for host in self.cluster.workers)

    async def _alone(self, block: Block) -> Finished:
        while True:
            host = await self._host(block)
            outcome = await self._once(block, host)
            if outcome is not None and outcome.kind == blocks.SUSPENDED:
                await self._stopped(block, host, outcome)
            elif outcome is not None and self._commit(block, outcome) is Verdict.TAKEN:
                return _finished(block, outcome, host)
            else:
                self._count(block)

    async def _stopped(self, block: Block, host: str, outcome: blocks.Outcome) -> None:
        """Carry what a move still has to carry; whatever fails, the block goes on from its last capsule."""
        async with block.turn:
            try:
                header = self.guard.believed(host, block.name, outcome.token, outcome.capsule, block.saved)
            except SidestepError as error:
                self._lose(block, host, outcome.token, str(error))
                return
            former, saved = block.saved, Saved(header, outcome.capsule, time.monotonic(), {host})
            block.saved = saved
            block.used += outcome.cpu_s
            target = block.target or host
            try:
                block.last = await self.guard.arrive(saved, former, outcome, target)
            except SidestepError as error:
                # Before the commit point: it goes on where it was.
                target, why = host, error
                if block.arrival is not None and not block.arrival.done():
                    block.arrival.set_exception(SidestepError(f"{block.name} stays on {host}: {why}"))
            block.target = target

    async def _copies(self, block: Block) -> Finished:
        """The same on several hosts at once: the first result is committed, the others are compared with it."""
        hosts = (await self._hosts(block))[: block.wishes.copies]
        running = {asyncio.create_task(self._once(block, host, beside=True)): host for host in hosts}
        done: set[asyncio.Task[blocks.Outcome | None]]
        taken: Finished | None = None
        differing: list[str] = []
        while running:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                host, outcome = running.pop(task), task.result()
                verdict = self._commit(block, outcome) if outcome is not None else Verdict.STALE
                if outcome is not None and verdict is Verdict.TAKEN:
                    taken = _finished(block, outcome, host)
                elif verdict is Verdict.DIFFERS:
                    differing.append(host)
        if taken is None:
            return await self._alone(block)
        return replace(taken, differing=tuple(differing))

    async def _once(self, block: Block, host: str, *, beside: bool = False) -> blocks.Outcome | None:
        """One execution; None when it was lost, which is then among the block's losses."""
        capsule = await self._brought(block, host)
        # The commit point of a placement: from here on the former token is void everywhere.
        token = self.ledger.give(block.name, host, beside=beside)
        block.at[token] = host
        block.since[token] = time.monotonic()
        block.stopped[token] = asyncio.get_running_loop().create_future()
        watching = asyncio.create_task(self._watch(block, host, token))
        try:
            address = await self._ready(block, host)
            job = self.job(block, host, token, capsule)
            said = await self.cluster.runner.compute(address, job, block.stopped[token])
            outcome = msgspec.convert(said, blocks.Outcome)
        except (WorkerLost, VerbFailed, HostError, msgspec.ValidationError) as error:
            self._lose(block, host, token, str(error))
            return None
        finally:
            watching.cancel()
            block.at.pop(token, None)
            block.stopped.pop(token, None)
        if (outcome.block, outcome.token) != (block.name, token):
            self._lose(block, host, token, f"its worker answered for {outcome.block} with token {outcome.token}")
            return None
        if outcome.kind == blocks.DIED or (outcome.kind == blocks.REFUSED and outcome.error in {"token", "capsule"}):
            if outcome.error == "capsule" and block.saved is not None:
                # That host cannot go on from it; another one that holds it may.
                block.saved.holders.discard(host)
                block.target = ""
            self._lose(block, host, token, outcome.text)
            return None
        return outcome

    async def _brought(self, block: Block, host: str) -> bytes:
        """The capsule to go on from, on the host; nothing when there is none that can be had."""
        saved = block.saved
        if saved is None:
            return b""
        if not await self.guard.at_hand(saved, host):
            block.saved = None
            return b""
        return saved.sealed

    async def _watch(self, block: Block, host: str, token: int) -> None:
        """See when an execution computes, and from then on keep its capsules on other hosts."""
        with contextlib.suppress(SidestepError):
            while not await self.guard.began(host, block.name, token):
                pass
            self._arrived(block, host, token)
        while block.wishes.every:
            await asyncio.sleep(max(block.wishes.every / 8, LOOK))
            with contextlib.suppress(SidestepError):
                async with block.turn:
                    await self._replicate(block, host, token)

    async def _replicate(self, block: Block, host: str, token: int) -> None:
        found = await self.guard.newest(host, block.name, token, block.saved)
        if found is None or not self.ledger.valid(block.name, token):
            return
        others = [other for other in await self._hosts(block) if other != host][: block.wishes.replicas]
        for other in others:
            await self.guard.bring(found, other)
        if others:
            block.saved = found

    def _arrived(self, block: Block, host: str, token: int) -> None:
        now = time.monotonic()
        block.since[token] = now
        if block.losses and not block.losses[-1].recovery:
            last = block.losses[-1]
            block.losses[-1] = replace(last, recovery=now - last.at)
        if block.paused:
            seconds, block.paused, block.target = now - block.paused, 0.0, ""
            if block.arrival is not None and not block.arrival.done():
                block.arrival.set_result(Arrival(host, token, seconds))

    async def _ready(self, block: Block, host: str) -> str:
        await self.cluster.put(host, block.call.source)
        return self.cluster.address(host)

    def job(self, block: Block, host: str, token: int, capsule: bytes) -> blocks.Job:
        """What an execution of a block on a host is told."""
        wishes, call = block.wishes, block.call
        peers = self._peers(wishes, host) if wishes.shard and wishes.copies == 1 else ()
        return blocks.Job(
            block=block.name,
            token=token,
            source=call.source.digest,
            module=call.source.module,
            function=call.function,
            args=b"" if capsule else call.args,
            capsule=capsule,
            sequence=block.saved.header.sequence if block.saved is not None else 0,
            trusted=self.cluster.keys,
            every=wishes.every,
            peers=peers,
            force=wishes.force,
        )

    def _peers(self, wishes: Wishes, host: str) -> tuple[tuple[str, float], ...]:
        return tuple(
            (address, self._free(wishes, name))
            for name, address in self.cluster.workers.items()
            if name != host and (not wishes.hosts or name in wishes.hosts)
        )

    def _free(self, wishes: Wishes, host: str) -> float:
        """Free cores of a host: as the call says, as they are forecast, or all."""
        return wishes.free.get(host, self.free.get(host, float(self.cluster.cores(host))))

    async def _host(self, block: Block) -> str:
        return (await self._hosts(block))[0]

    async def _hosts(self, block: Block) -> list[str]:
        """Hosts that may have the block, best first.

        Where a move takes it; not where it was just lost; preferred ones; those that hold its
        capsule; then those with the fewest blocks for their free cores.
        """
        wishes = block.wishes
        avoid = [loss.host for loss in block.losses[-1:]]
        there = await self.cluster.some(avoid)
        busy = Counter(host for other in self.blocks.values() for host in other.at.values())
        holders = block.saved.holders if block.saved is not None else set()

        def rank(host: str) -> tuple[bool, bool, int, bool, float]:
            cores = max(self._free(wishes, host), 0.01)
            order = wishes.hosts.index(host) if host in wishes.hosts else len(wishes.hosts)
            return host != block.target, host in avoid, order, host not in holders, (1 + busy[host]) / cores

        allowed = [host for host in there if not wishes.hosts or host in wishes.hosts]
        return sorted(allowed or there, key=rank)

    def _lose(self, block: Block, host: str, token: int, why: str) -> None:
        """Give an execution up. The work that went with it is what no capsule holds."""
        self.ledger.void(block.name, token)
        now = time.monotonic()
        since = max(block.since[token], block.saved.at if block.saved is not None else 0.0)
        block.losses.append(Loss(host=host, why=why, work=now - since, at=now))

    def _count(self, block: Block) -> None:
        if self.cluster.closing:
            raise SidestepError("the workers were closed while it ran")
        if len(block.losses) >= TRIES:
            why = "; ".join(f"{loss.host}: {loss.why}" for loss in block.losses)
            raise SidestepError(
                f"{block.call.function} was lost {TRIES} times, so it runs nowhere else: {why}",
                hint="look at what the function does to its host (memory, crashes)",
            )

    def _commit(self, block: Block, outcome: blocks.Outcome) -> Verdict:
        parts = (outcome.kind.encode(), outcome.error.encode(), outcome.text.encode(), outcome.value)
        return self.ledger.commit(block.name, outcome.token, hashlib.sha256(b"\0".join(parts)).digest())


def _finished(block: Block, outcome: blocks.Outcome, host: str) -> Finished:
    with contextlib.suppress(KeyError):
        block.since.pop(outcome.token)
    return Finished(
        outcome=msgspec.structs.replace(outcome, cpu_s=outcome.cpu_s + block.used),
        host=host,
        seconds=time.monotonic() - block.began,
        losses=tuple(block.losses),
        moves=block.moves,
    )
