"""X5: a backend that breaks one rule of the contract is found out, and the rule is named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from sidestep.backends.base import ShardObservation, StepResult
from sidestep.fleet.errors import HostError, UsageError
from sidestep.fleet.labels import Label
from sidestep.fleet.machines import ShardState, StepName
from sidestep.testing import MemoryBackend, ReportCard, check_backend, rule_names
from sidestep.testing.doubles import MemoryGround, MemorySubject


async def card(kind: type[MemoryBackend], *only: str) -> ReportCard:
    ground = MemoryGround()
    subject = MemorySubject(make=lambda: kind(lambda: next(ground.fleet.pids))).on(ground)
    return await check_backend(subject, ground, only=only, deadline=0.1)


class NoFence(MemoryBackend):
    """A host forgets what it was fenced with."""

    def _fenced(self, *_: Any) -> None:
        return


class FenceWithoutStart(MemoryBackend):
    """Only ``start`` does not look at the fence."""

    async def start(self, transport: Any, shard: Any, token: int, address: str) -> ShardObservation:
        transport.at.fences.pop(shard.name, None)
        return await super().start(transport, shard, token, address)


class Boasts(MemoryBackend):
    """Its progress is a lie."""

    async def step(self, *given: Any) -> StepResult:
        result = await super().step(*given)
        return replace(result, bytes=result.bytes * 100)


class SaysNothingOfBytes(MemoryBackend):
    async def step(self, *given: Any) -> StepResult:
        return replace(await super().step(*given), bytes=0)


class NotTwice(MemoryBackend):
    """A step that is repeated does its work again."""

    async def _resume(self, move: Any, source: Any, there: Any, notes: Any) -> StepResult:
        present = there.at.instances.get(move.shard.name)
        if present is not None and present.state == "serving":
            raise HostError(there.host, "resume", "it serves already")
        return await super()._resume(move, source, there, notes)


class LoadsAgain(MemoryBackend):
    """A step that is repeated begins from the old state, under another note."""

    async def _restore(self, move: Any, source: Any, there: Any, notes: Any) -> StepResult:
        self._made(there.at, move, move.new_token, there.at.files[f"{move.shard.name}/{move.key}"], move.shard.port)
        return StepResult(notes={"pid": str(there.at.instances[move.shard.name].pid)})


class NoRevert(MemoryBackend):
    """Taking back does nothing."""

    async def abort(self, name: StepName, *_: Any) -> None:
        return


class LeavesTheCopy(MemoryBackend):
    async def _discard(self, *_: Any) -> None:
        return


class StepByStep(MemoryBackend):
    """The copy goes with the step that made it, and not before."""

    async def abort(self, name: StepName, *given: Any) -> None:
        if name is not StepName.PREPARE:
            await super().abort(name, *given)


class TakesBackAnything(MemoryBackend):
    async def abort(self, name: StepName, *given: Any) -> None:
        if name in {StepName.RESUME, StepName.OBSERVE, StepName.RELEASE}:
            return
        await super().abort(name, *given)


class Markup(MemoryBackend):
    """A name that is not the shard's: it would be live where markup is read."""

    async def discover(self, transport: Any) -> tuple[ShardObservation, ...]:
        return tuple(replace(seen, shard=Label(f"[b]{seen.shard}[/b]")) for seen in await super().discover(transport))


class Escapes(MemoryBackend):
    async def step(self, *given: Any) -> StepResult:
        return replace(await super().step(*given), detail=Label("\x1b[2Jgone"))


class Optimist(MemoryBackend):
    """Whatever it has ever started is said to run."""

    async def start(self, transport: Any, shard: Any, token: int, address: str) -> ShardObservation:
        seen = await super().start(transport, shard, token, address)
        transport.at.remembered = seen
        return seen

    async def discover(self, transport: Any) -> tuple[ShardObservation, ...]:
        found = await super().discover(transport)
        old = getattr(transport.at, "remembered", None)
        return found or ((replace(old, state=ShardState.RUNNING),) if old is not None else ())


class Thaws(MemoryBackend):
    """The source serves on while its state leaves."""

    async def _capture(self, move: Any, source: Any, there: Any, notes: Any) -> StepResult:
        result = await super()._capture(move, source, there, notes)
        source.at.instances[move.shard.name].state = "serving"
        return result


class Keeps(MemoryBackend):
    """The source is not stopped in the end."""

    async def _release(self, *_: Any) -> StepResult:
        return StepResult()


class Forgets(MemoryBackend):
    """The state does not come along."""

    async def _restore(self, move: Any, source: Any, there: Any, notes: Any) -> StepResult:
        result = await super()._restore(move, source, there, notes)
        there.at.instances[move.shard.name].writes = 0
        return result


class Remembers(MemoryBackend):
    """What later steps need is in the object, and ends with the daemon."""

    async def step(self, name: StepName, *given: Any) -> StepResult:
        if name is StepName.PREPARE:
            self.prepared = True
        if name is StepName.TRANSFER and not hasattr(self, "prepared"):
            raise HostError("m2", "transfer", "nothing was prepared")
        return await super().step(name, *given)


class Nameless(MemoryBackend):
    async def step(self, *given: Any) -> StepResult:
        try:
            return await super().step(*given)
        except HostError as error:
            raise HostError("", "", "it did not work") from error


class WaitsForAll(MemoryBackend):
    """Taking back asks the destination first."""

    async def abort(self, name: StepName, move: Any, source: Any, destination: Any, notes: Any) -> None:
        await destination.reach("abort")
        await super().abort(name, move, source, destination, notes)


class StopsNewer(MemoryBackend):
    async def stop(self, transport: Any, shard: Any, token: int) -> None:
        transport.at.instances.pop(shard.name, None)
        await super().stop(transport, shard, token)


class ActsLate(MemoryBackend):
    """It does not know what was taken back."""

    def _in_time(self, *_: Any) -> None:
        return


class Flies(MemoryBackend):
    capabilities = frozenset({"discover", "migrate", "fly"})  # type: ignore[arg-type]


class OnlySays(MemoryBackend):
    capabilities = frozenset({"discover", "migrate", "replicate"})


class IgnoresTheDisk(MemoryBackend):
    async def _prepare(self, move: Any, source: Any, there: Any, notes: Any) -> StepResult:
        return StepResult(notes={"address": move.destination_address, "port": str(move.shard.port)})

    async def _transfer(self, move: Any, source: Any, there: Any, notes: Any) -> StepResult:
        if there.at.full:
            there.at.files[f"{move.shard.name}/{move.key}"] = b"0\n"
            return StepResult()
        return await super()._transfer(move, source, there, notes)

    async def _verify(self, *_: Any) -> StepResult:
        return StepResult()


class Revenant(MemoryBackend):
    """A host starts by itself what ran before it lost its power."""

    async def discover(self, transport: Any) -> tuple[ShardObservation, ...]:
        host = transport.at
        if host.boots > 1 and not host.instances and getattr(host, "units", None):
            host.instances.update(host.units)
        host.units = dict(host.instances)
        return await super().discover(transport)

    async def start(self, transport: Any, *given: Any) -> ShardObservation:
        seen = await super().start(transport, *given)
        transport.at.units = dict(transport.at.instances)
        return seen


class StartsAnother(MemoryBackend):
    async def start(self, transport: Any, shard: Any, token: int, address: str) -> ShardObservation:
        transport.at.instances.pop(shard.name, None)
        return await super().start(transport, shard, token, address)


class Imagines(MemoryBackend):
    """It tells what the fleet file says, not what is there."""

    async def discover(self, transport: Any) -> tuple[ShardObservation, ...]:
        seen = await super().discover(transport)
        declared = ShardObservation(
            shard=self.first, host=Label(transport.host), state=ShardState.RUNNING, token=1, pid=1, started=1
        )
        return seen or (declared,)

    first = Label("kit.20")


class NeedsWhatItUndoes(MemoryBackend):
    async def _discard(self, move: Any, destination: Any) -> None:
        if move.shard.name not in destination.at.instances:
            raise HostError(destination.host, "abort", "there is nothing to take back")
        await super()._discard(move, destination)


class NeedsTheCopy(MemoryBackend):
    async def _resume(self, move: Any, source: Any, there: Any, notes: Any) -> StepResult:
        if move.shard.name not in there.at.instances:
            raise HostError(there.host, "resume", "the shard does not run here")
        return await super()._resume(move, source, there, notes)


class Locks(MemoryBackend):
    """A step that was cut short leaves its lock behind."""

    async def step(self, name: StepName, move: Any, source: Any, destination: Any, notes: Any) -> StepResult:
        lock = f"lock/{move.key}"
        if lock in destination.at.files:
            raise HostError(destination.host, name, "another step of this move is under way")
        destination.at.files[lock] = b""
        await asyncio.sleep(0.3)
        result = await super().step(name, move, source, destination, notes)
        del destination.at.files[lock]
        return result


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (StartsAnother, "start.once"),
        (Imagines, "empty"),
        (NeedsWhatItUndoes, "abort.never"),
        (NeedsWhatItUndoes, "power"),
        (NeedsTheCopy, "kill.copy"),
        (Locks, "kill.controller"),
        (NoFence, "stop.fences"),
        (NoFence, "fence.replay"),
        (NoFence, "fence.thaw"),
        (FenceWithoutStart, "fence.owner"),
        (Boasts, "bytes"),
        (SaysNothingOfBytes, "bytes"),
        (NotTwice, "twice"),
        (LoadsAgain, "twice"),
        (NoRevert, "abort"),
        (NoRevert, "kill.shard"),
        (LeavesTheCopy, "abort"),
        (TakesBackAnything, "forward"),
        (Markup, "names"),
        (Escapes, "names"),
        (Optimist, "truth"),
        (Thaws, "quiet"),
        (Keeps, "move"),
        (Forgets, "move"),
        (Remembers, "memory"),
        (Nameless, "errors"),
        (WaitsForAll, "cut.link"),
        (StopsNewer, "stop.older"),
        (ActsLate, "abort.late"),
        (StepByStep, "abort.alone"),
        (Flies, "declared"),
        (OnlySays, "declared"),
        (IgnoresTheDisk, "full"),
        (Revenant, "power.owner"),
    ],
    ids=lambda given: given if isinstance(given, str) else given.__name__,
)
async def test_a_rule_that_is_broken_is_named(kind: type[MemoryBackend], rule: str) -> None:
    """X5: and nothing but the broken backend makes the rule fail: the whole one keeps it."""
    found = await card(kind, rule)
    assert found.broken == (rule,), found.text()
    assert not found.ok
    assert (await card(MemoryBackend, rule)).ok


async def test_a_backend_that_keeps_the_contract_breaks_no_rule() -> None:
    """X5: and what it does not declare is told as not applicable, never as held."""
    found = await card(MemoryBackend)
    assert found.ok, found.text()
    assert [f.rule for f in found.findings if f.verdict == "n/a"] == ["capsule", "capsule.owner", "capsule.copies"]
    assert "28 holds, 3 n/a" in found.text()


async def test_a_plugin_that_raises_anything_is_a_finding_and_the_rest_goes_on() -> None:
    class Raises(MemoryBackend):
        async def discover(self, transport: Any) -> tuple[ShardObservation, ...]:
            raise ZeroDivisionError("\x1b[31mred")

    found = await card(Raises, "empty", "declared")
    assert found.broken == ("empty",)
    (said,) = [f.detail for f in found.findings if f.rule == "empty"]
    assert said == "ZeroDivisionError: <1b>[31mred"


async def test_a_rule_that_does_not_exist_is_an_error() -> None:

    with pytest.raises(UsageError, match="no rule is called fly"):
        await card(MemoryBackend, "fly")


def test_every_rule_has_a_broken_backend() -> None:
    """X5: no rule that cannot fail; those about capsules are broken on real hosts."""
    (mark,) = [m for m in test_a_rule_that_is_broken_is_named.pytestmark if m.name == "parametrize"]  # type: ignore[attr-defined]
    assert {rule for _, rule in mark.args[1]} == {name for name in rule_names() if not name.startswith("capsule")}
