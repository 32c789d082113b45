"""Rules about moves: what every step does, done once, twice, late, and taken back."""

from __future__ import annotations

from sidestep.fleet.machines import StepName
from sidestep.testing.case import NEW, OLD, STEPS, UNDOABLE, Case, insist
from sidestep.testing.rules import rule

_SLACK = 64 << 10


@rule("move", "after a move the destination alone serves, with everything that was acknowledged", "migrate")
async def _move(case: Case) -> None:
    await case.begin()
    move = case.move()
    await case.steps(STEPS, move)
    await case.arrived("moved")
    left = [seen for seen in await case.backend.discover(case.source) if seen.shard == case.shard.name]
    insist(not left, f"after release {case.source.host} still finds the shard")


@rule("twice", "every step done twice leaves what doing it once leaves", "migrate")
async def _twice(case: Case) -> None:
    await case.begin()
    move = case.move()
    for name in STEPS:
        first = await case.step(name, move)
        again = await case.step(name, move)
        insist(first.notes == again.notes, f"{name} noted something else the second time")
    await case.arrived("every step twice")


@rule("memory", "a new backend object can go on from the notes alone", "migrate")
async def _memory(case: Case) -> None:
    await case.begin()
    move = case.move()
    for name in STEPS:
        case.anew()
        await case.step(name, move)
    await case.arrived("every step by a new backend object")


@rule("quiet", "between capture and resume nobody acknowledges a write", "migrate")
async def _quiet(case: Case) -> None:
    seen = await case.begin()
    move = case.move()
    done = UNDOABLE.index(StepName.CAPTURE) + 1
    await case.steps(UNDOABLE[:done], move)
    for name in (None, *UNDOABLE[done:]):
        if name is not None:
            await case.step(name, move)
        insist(not await case.serves(seen.address, seen.port), f"after {name or 'capture'} the source serves")
    port = int(case.notes.get("port", seen.port))
    insist(not await case.serves(move.destination_address, port), "before the commit the destination serves")


@rule("bytes", "the bytes that steps report are about those of the state", "migrate")
async def _bytes(case: Case) -> None:
    await case.begin()
    move = case.move()
    await case.steps(UNDOABLE, move)
    told = max(case.results[name].bytes for name in (StepName.CAPTURE, StepName.TRANSFER))
    size = case.subject.state_bytes
    if size:
        fair = size // 3 <= told <= 4 * size + _SLACK
        insist(fair, f"capture and transfer report {told} bytes at most, of a state of {size}")


@rule("abort", "taking back any steps leaves the source serving with everything, and nothing elsewhere", "migrate")
async def _abort(case: Case) -> None:
    await case.begin()
    for last in case.some(UNDOABLE):
        move, done = case.move(), UNDOABLE[: UNDOABLE.index(last) + 1]
        case.notes.clear()
        await case.steps(done, move)
        for _ in range(2):
            await case.back(done, move)
        await case.served_at_source(f"taken back after {last}")
        left = [seen for seen in await case.backend.discover(case.destination) if seen.shard == case.shard.name]
        insist(not left, f"taken back after {last}: the destination still finds the shard")


@rule("abort.never", "taking back what never ran is harmless", "migrate")
async def _never(case: Case) -> None:
    await case.begin()
    await case.back(UNDOABLE, case.move())
    await case.served_at_source("taken back what never ran")


@rule("abort.late", "a step that arrives after it was taken back does nothing", "migrate")
async def _late(case: Case) -> None:
    await case.begin()
    move = case.move()
    await case.steps(UNDOABLE, move)
    await case.back(UNDOABLE, move)
    for name in (StepName.FREEZE, StepName.CAPTURE, StepName.RESTORE):
        await case.refused(case.step(name, move), f"{name} after it was taken back")
    await case.served_at_source("a step came late")


@rule("abort.alone", "prepare, taken back alone and twice, takes all that a move made at the destination", "migrate")
async def _alone(case: Case) -> None:
    await case.begin()
    move = case.move()
    await case.steps(UNDOABLE, move)
    await case.abort(StepName.FREEZE, move)  # the source serves, and the destination did not answer until now
    for _ in range(2):
        await case.abort(StepName.PREPARE, move)
    await case.served_at_source("only freeze and prepare were taken back")
    await case.refused(case.step(StepName.RESTORE, move), "a step of a move that was taken back")


@rule("fence.owner", "the old owner does not start again under its old token", "migrate")
async def _owner(case: Case) -> None:
    await case.begin()
    await case.steps(STEPS, case.move())
    await case.refused(case.start(OLD), f"a start of the old owner under {OLD}")
    await case.arrived("the old owner was refused")


@rule("fence.replay", "a move under a token that the destination knows to be old starts nothing there", "migrate")
async def _replay(case: Case) -> None:
    await case.begin()
    await case.backend.stop(case.destination, case.shard, NEW + 1)
    move = case.move()
    try:
        await case.refused(case.steps(STEPS[:-1], move), f"a move under {NEW} to a host that was fenced at {NEW + 1}")
        await case.gone(case.destination, "a move under an old token")
    finally:
        case.anew()
    await case.back(UNDOABLE, move)
    await case.served_at_source("a replayed move was taken back")


@rule("fence.thaw", "a source that was fenced meanwhile does not serve again", "migrate")
async def _thaw(case: Case) -> None:
    seen = await case.begin()
    move = case.move()
    await case.steps(UNDOABLE, move)
    await case.backend.stop(case.source, case.shard, NEW)
    await case.refused(case.abort(StepName.FREEZE, move), "thawing a source that was fenced")
    insist(not await case.serves(seen.address, seen.port), "a fenced source serves")
