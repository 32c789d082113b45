"""A fleet of workers for one job: agents over SSH, a scheduler on one host, a worker on each, and the runner.

The engine is disposable: when its scheduler's host is lost, another host gets the scheduler and
every host a new worker; blocks then go on from what they kept. What was lost is told to whoever
waits as WorkerLost, never guessed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
from collections.abc import Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sidestep.backends.functions.agents import Agent, Site
from sidestep.backends.functions.certificates import Authority, Member
from sidestep.backends.functions.running import RunnerLink, WorkerLost
from sidestep.backends.functions.sources import Source
from sidestep.backends.functions.vitals import free_cores
from sidestep.fleet.errors import HostError, SidestepError

#: worker processes that may end on a host before it is left alone
RESTARTS: Final = 5
_LOOK: Final = 1.0


class Cluster:
    """Open it, and hosts have workers; close it, and nothing of it is left anywhere."""

    def __init__(self, sites: Sequence[Site], *, name: str = "fleet", log: Path | None = None) -> None:
        if not sites:
            raise SidestepError("no host to run functions on", hint="name hosts, or use a fleet that has some")
        self.runner = RunnerLink()
        self._authority = Authority(name)
        self._member: Member | None = None
        self._log = log
        self._agents = {site.name: Agent(site, self) for site in sites}
        self._numbers = itertools.count(1)
        self._scheduler: tuple[str, int, str] = ("", 0, "")
        #: by host: the number and the address of its worker
        self._workers: dict[str, tuple[int, str]] = {}
        self._restarts: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._mending = asyncio.Lock()
        self._jobs: set[asyncio.Task[None]] = set()
        self.closing = False
        #: hosts that could not be had or were lost, and why
        self.lost: dict[str, str] = {}

    # -- life

    async def open(self) -> None:
        """Start everything; hosts that cannot be had are in ``lost``. Raises HostError when none can."""
        tried = await asyncio.gather(
            *(agent.open(self._authority) for agent in self._agents.values()), self._open_runner(),
            return_exceptions=True,
        )  # fmt: skip
        errors = [error for error in tried if isinstance(error, BaseException)]
        for agent, error in zip(self._agents.values(), tried, strict=False):
            if isinstance(error, HostError):
                self.lost[agent.name] = str(error)
                await agent.aclose()
        fatal = [error for error in errors if not isinstance(error, HostError)]
        if fatal or not self._living():
            await self.aclose()
            raise (fatal or errors)[0]
        async with self._mending:
            await self._form()
        if not self._workers:
            why = "; ".join(self.lost.values())
            await self.aclose()
            raise SidestepError(f"no host runs a worker: {why}")
        self._keep(self._look())

    async def aclose(self) -> None:
        """End everything, everywhere."""
        self.closing = True
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self.runner.aclose()
        await asyncio.gather(*(agent.aclose() for agent in self._agents.values()))
        await self._tell()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- what there is

    @property
    def workers(self) -> Mapping[str, str]:
        """Address of the worker of every host that has one now."""
        return {host: address for host, (_, address) in self._workers.items()}

    @property
    def scheduler(self) -> tuple[str, str]:
        """The host with the scheduler, and its address."""
        return self._scheduler[0], self._scheduler[2]

    @property
    def keys(self) -> dict[str, bytes]:
        """Public keys of the hosts' capsules, as they came over SSH."""
        return {agent.name: agent.ready.public for agent in self._agents.values() if agent.ready is not None}

    def key(self, host: str) -> bytes:
        """The public key of one host's capsules; none when it never said one."""
        ready = self._agents[host].ready
        return ready.public if ready is not None else b""

    def cores(self, host: str) -> int:
        """Processors that the host's agent may use."""
        ready = self._agents[host].ready
        return ready.cores if ready is not None else 1

    @property
    def free(self) -> dict[str, float]:
        """Cores that functions have on every host that has a worker and said so; never negative or infinite."""
        beats = {host: self._agents[host].beat for host in self._workers}
        return {
            host: min(max(free, 0.0), float(self.cores(host)))
            for host, beat in beats.items()
            if beat.cores and math.isfinite(free := free_cores(beat))
        }

    def address(self, host: str) -> str:
        """The host's worker. Raises WorkerLost when it has none now."""
        found = self._workers.get(host)
        if found is None:
            raise WorkerLost(f"{host} has no worker: {self.lost.get(host, 'it is being started')}")
        return found[1]

    async def some(self, avoid: Sequence[str] = (), *, seconds: float = 90.0) -> list[str]:
        """Hosts with workers, those to avoid last; waits while there is none. Raises WorkerLost."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._workers or self.closing or not self._living())
        except TimeoutError:
            pass
        if not self._workers:
            raise WorkerLost("no host has a worker: " + "; ".join(f"{h}: {why}" for h, why in self.lost.items()))
        return sorted(self._workers, key=lambda host: host in avoid)

    async def back(self, hosts: Collection[str], *, seconds: float = 90.0) -> bool:
        """Whether one of these hosts has a worker; waits while none has, and one may have it again."""

        def there() -> bool:
            return any(host in self._workers for host in hosts)

        def may_come() -> bool:
            return any(self._agents[host].alive and self._restarts.get(host, 0) <= RESTARTS for host in hosts)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.closing or there() or not may_come())
        return there()

    async def put(self, host: str, source: Source) -> None:
        """Have source files on a host, over SSH. Raises HostError."""
        await self._agents[host].put(source)

    # -- losses

    def engine_ended(self, agent: Agent, number: int, tail: str) -> None:
        """A worker or scheduler process has ended by itself."""
        if self.closing:
            return
        if number == self._scheduler[1]:
            self._keep(self._mend(reform=True))
        elif self._workers.get(agent.name, (0, ""))[0] == number:
            self._drop(agent.name, f"its worker process ended: {tail[-200:]}")
            self._restarts[agent.name] = self._restarts.get(agent.name, 0) + 1
            self._keep(self._mend())

    def host_lost(self, agent: Agent, why: str) -> None:
        """A host with everything on it."""
        if self.closing:
            return
        self._drop(agent.name, why)
        self._keep(self._mend(reform=self._scheduler[0] == agent.name))

    def _drop(self, host: str, why: str) -> None:
        self.lost[host] = why
        found = self._workers.pop(host, None)
        if found is not None:
            self.runner.gone(found[1])

    async def _mend(self, *, reform: bool = False) -> None:
        async with self._mending:
            with contextlib.suppress(SidestepError):
                await (self._form() if reform else self._fill())
        await self._tell()

    async def _look(self) -> None:
        """Give up hosts that say nothing."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            for agent in self._agents.values():
                if agent.silent(loop.time()):
                    agent.lose("it said nothing for too long")

    # -- forming

    def _living(self) -> list[Agent]:
        return [agent for agent in self._agents.values() if agent.alive]

    async def _open_runner(self) -> None:
        log = os.open(self._log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            await self.runner.open(log)
        finally:
            os.close(log)

    async def _form(self) -> None:
        """A scheduler on the first host that can have it, the runner attached, workers on all."""
        for host, (number, address) in list(self._workers.items()):
            self._workers.pop(host)
            self.runner.gone(address)
            await self._agents[host].stop(number)
        for agent in self._living():
            number = next(self._numbers)
            try:
                address = await agent.start_scheduler(number)
            except HostError as error:
                self.lost[agent.name] = str(error)
                continue
            self._scheduler = (agent.name, number, address)
            self._member = self._authority.member("runner")
            await asyncio.gather(self.runner.attach(address, self._member), self._fill())
            return
        raise SidestepError("no host can run the scheduler: " + "; ".join(self.lost.values()))

    async def _fill(self) -> None:
        """A worker on every living host that has none."""
        missing = [
            agent
            for agent in self._living()
            if agent.name not in self._workers and self._restarts.get(agent.name, 0) <= RESTARTS
        ]
        await asyncio.gather(*(self._worker(agent) for agent in missing))

    async def _worker(self, agent: Agent) -> None:
        number = next(self._numbers)
        try:
            address = await agent.start_worker(number, self._scheduler[2])
        except HostError as error:
            self.lost[agent.name] = str(error)
            return
        self._workers[agent.name] = (number, address)
        self.lost.pop(agent.name, None)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
