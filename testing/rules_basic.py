"""Rules about what a backend says, and about starting and stopping."""

from __future__ import annotations

import typing
from contextlib import suppress
from inspect import getattr_static, isfunction

from sidestep.backends.base import Backend, Capability, Replicator, ShardObservation
from sidestep.fleet.errors import HostError
from sidestep.fleet.labels import LIMIT, scrub
from sidestep.fleet.machines import ShardState, StepName
from sidestep.testing.case import OLD, UNDOABLE, Case, insist
from sidestep.testing.rules import rule

_KNOWN = frozenset(typing.get_args(Capability))
_REPLICATES = ("snapshot", "keep", "check", "lend", "drop")


@rule("declared", "it declares capabilities that exist, has the methods of each, and declares what it has")
async def _declared(case: Case) -> None:
    backend = case.backend
    insist(isinstance(backend, Backend), f"{type(backend).__name__} lacks methods of a backend")
    unknown = sorted(set(backend.capabilities) - _KNOWN)
    insist(not unknown, f"nobody knows the capability {', '.join(unknown)}")
    insist("discover" in backend.capabilities, "every backend has to discover")
    replicates = "replicate" in backend.capabilities
    insist(not replicates or isinstance(backend, Replicator), "it declares replicate and lacks its methods")
    has = all(isfunction(getattr_static(type(backend), name, None)) for name in _REPLICATES)
    insist(replicates or not has, "it has the methods of replicate and does not declare it")


@rule("empty", "where nothing runs, nothing is found")
async def _empty(case: Case) -> None:
    await case.destination.connect()
    found = [seen for seen in await case.backend.discover(case.destination) if seen.shard == case.shard.name]
    insist(not found, f"{case.destination.host}: a shard is found that was never started")


@rule("start.once", "a shard that is started twice runs once")
async def _once(case: Case) -> None:
    first = await case.begin()
    again = await case.start()
    insist((first.pid, first.started) == (again.pid, again.started), "the second start made another instance")
    insist(again.token == OLD, f"it was started under token {OLD} and says {again.token}")
    await case.served_at_source("started twice")


@rule("names", "what it says of a shard is the shard's own name, host and token, in text that is safe to show")
async def _names(case: Case) -> None:
    started = await case.begin()
    found = [seen for seen in await case.backend.discover(case.source) if seen.pid == started.pid]
    insist(len(found) == 1, f"the started process {started.pid} is found {len(found)} times")
    for seen in (started, *found):
        _spoken(case, seen)
    result = await case.step(StepName.PREPARE, case.move())
    _safe("the detail of prepare", result.detail)


def _spoken(case: Case, seen: ShardObservation) -> None:
    insist(seen.shard == case.shard.name, f"the shard {case.shard.name} is called {scrub(seen.shard)}")
    insist(seen.host == case.source.host, f"the host {case.source.host} is called {scrub(seen.host)}")
    insist(seen.state is ShardState.RUNNING, f"a shard that serves is told as {seen.state}")
    insist(seen.address and 0 < seen.port < 65536, f"it is said to serve at {scrub(seen.address)}:{seen.port}")
    _safe("its detail", seen.detail)


def _safe(what: str, text: str) -> None:
    insist(len(text) <= LIMIT, f"{what} is {len(text)} characters long; a line has at most {LIMIT}")
    insist(scrub(text) == text, f"{what} holds what was never scrubbed: {scrub(text)}")


@rule("truth", "a shard whose process is gone is not told as running")
async def _truth(case: Case) -> None:
    await case.begin()
    case.kill(case.source)
    await case.gone(case.source, "after kill -9")
    for seen in await case.backend.discover(case.source):
        lies = seen.shard == case.shard.name and seen.state is ShardState.RUNNING
        insist(not lies, f"process {seen.pid} is dead and told as RUNNING")


@rule("stop.older", "an order to stop with an older token than the owner's does nothing")
async def _older(case: Case) -> None:
    await case.begin()
    with suppress(HostError):  # it may say that it will not
        await case.backend.stop(case.source, case.shard, OLD - 2)
    await case.served_at_source("stopped with an older token")


@rule("stop.fences", "a host that was told to stop a shard starts it under newer tokens only")
async def _fences(case: Case) -> None:
    await case.begin()
    for _ in range(2):
        await case.backend.stop(case.source, case.shard, OLD + 2)
    await case.gone(case.source, "stopped")
    await case.refused(case.start(OLD + 1), f"a start under {OLD + 1} after a stop at {OLD + 2}")
    await case.gone(case.source, "a start that was refused")
    await case.start(OLD + 3)
    insist(case.count(case.source) == 1, "a start under a newer token made no instance")


@rule("errors", "what fails on a host is a HostError that names host and step", "migrate")
async def _errors(case: Case) -> None:
    await case.begin()
    await case.destination.aclose()
    error = await case.refused(case.step(StepName.PREPARE, case.move()), "a step on a host without a connection")
    insist(error.host == case.destination.host, f"the error names host {error.host!r}, not {case.destination.host}")
    insist(error.step, "the error names no step")
    _safe("the error", str(error).replace("\n", " "))
    await case.destination.connect()


@rule("forward", "what lies behind the commit point cannot be taken back", "migrate")
async def _forward(case: Case) -> None:
    await case.begin()
    move = case.move()
    await case.steps(UNDOABLE, move)
    for name in (StepName.RESUME, StepName.OBSERVE, StepName.RELEASE):
        await case.refused(case.abort(name, move), f"taking back {name}")
