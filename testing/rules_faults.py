"""Rules about what breaks on the way: the controller, a link, a process, a host, a disk; at any step."""

from __future__ import annotations

import asyncio
import contextlib

from sidestep.fleet.errors import HostError
from sidestep.fleet.machines import StepName
from sidestep.testing.case import OLD, STEPS, UNDOABLE, Case, insist
from sidestep.testing.rules import rule

_AT_DESTINATION = (StepName.PREPARE, StepName.TRANSFER, StepName.RESTORE, StepName.VERIFY)


@rule("kill.controller", "a step that was cut short is done again by whoever comes next", "migrate")
async def _controller(case: Case) -> None:
    async def at(case: Case, name: StepName) -> None:
        await case.begin()
        move = case.move()
        await case.steps(STEPS[: STEPS.index(name)], move)
        task = asyncio.create_task(case.step(name, move))
        await asyncio.sleep(case.random.choice((0.0, 0.01, 0.05, 0.2)))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, HostError):
            await task
        await case.reconnect()
        case.anew()
        await case.steps(STEPS[STEPS.index(name) :], move)
        await case.arrived("cut short and done again")

    await case.each(STEPS, at)


@rule("kill.shard", "a source that died on the way serves again when the move is taken back", "migrate")
async def _shard(case: Case) -> None:
    async def at(case: Case, name: StepName) -> None:
        await case.begin()
        move, done = case.move(), UNDOABLE[: UNDOABLE.index(name) + 1]
        await case.steps(done, move)
        case.kill(case.source)
        await case.gone(case.source, "after kill -9")
        await case.back(done, move)
        if not case.subject.durable and name is StepName.FREEZE:
            case.written = 0  # what was in its memory alone died with it
        await case.served_at_source("its process died, and the move was taken back")

    await case.each((StepName.FREEZE, StepName.CAPTURE, StepName.VERIFY), at)


@rule("kill.copy", "a copy that died between commit and resume is made again", "migrate")
async def _copy(case: Case) -> None:
    await case.begin()
    move = case.move()
    await case.steps(UNDOABLE, move)
    case.kill(case.destination)
    await case.gone(case.destination, "after kill -9")
    await case.steps(STEPS[len(UNDOABLE) :], move)
    await case.arrived("its process died before resume")


@rule("cut.link", "the source serves again though the destination cannot be reached, at once", "migrate", alone=True)
async def _link(case: Case) -> None:
    async def at(case: Case, name: StepName) -> None:
        await case.begin()
        move, done = case.move(deadline=case.deadline), UNDOABLE[: UNDOABLE.index(name) + 1]
        await case.steps(done[:-1], move)
        await case.ground.cut(case.destination.host)
        try:
            try:
                async with asyncio.timeout(case.deadline):
                    await case.step(name, move)
                insist(False, "a step on a host that is cut off was done")
            except (TimeoutError, HostError):
                pass
            if StepName.FREEZE in done:
                async with asyncio.timeout(2 * case.deadline + 2):
                    await case.abort(StepName.FREEZE, move)
            seen = await case.found(case.source, "the freeze was taken back")
            insist(await case.serves(seen.address, seen.port), "the source does not serve")
        except TimeoutError:
            insist(False, "taking back the freeze waits for the destination")
        finally:
            await case.ground.heal(case.destination.host)
        await case.reconnect()
        await case.back(done, move)
        await case.served_at_source("after the link came back")

    await case.each(_AT_DESTINATION, at)


@rule("power", "a destination that lost its power before the commit keeps nothing that runs", "migrate", alone=True)
async def _power(case: Case) -> None:
    await case.begin()
    move = case.move()
    await case.steps(UNDOABLE, move)
    await case.ground.lose_power(case.destination.host)
    await case.reconnect()
    case.anew()
    await case.back(UNDOABLE, move)
    await case.served_at_source("the destination lost its power")
    await case.refused(case.step(StepName.RESTORE, move), "a step that was taken back")


@rule("power.owner", "an owner that lost its power does not start again by itself", alone=True)
async def _power_owner(case: Case) -> None:
    await case.begin()
    await case.ground.lose_power(case.source.host)
    await case.reconnect()
    insist(case.count(case.source) == 0, "after the boot it runs again though nobody asked for it")
    found = [seen for seen in await case.backend.discover(case.source) if seen.shard == case.shard.name]
    insist(not any(s.state == "RUNNING" for s in found), "after the boot it is told as RUNNING")
    await case.start(OLD)
    insist(case.count(case.source) == 1, "the owner could not be started again under its own token")


@rule("full", "a destination without room is told as an error, and the source serves again", "migrate", alone=True)
async def _full(case: Case) -> None:
    await case.begin()
    move, folder = case.move(), case.subject.folder
    await case.ground.fill(case.destination.host, folder)
    try:
        await case.refused(case.steps(UNDOABLE, move), "a move to a host whose disk is full")
        await case.abort(StepName.FREEZE, move)
        seen = await case.found(case.source, "the freeze was taken back")
        insist(await case.serves(seen.address, seen.port), "the source does not serve")
    finally:
        await case.ground.empty(case.destination.host, folder)
    await case.back(UNDOABLE, move)
    await case.served_at_source("there is room again")
