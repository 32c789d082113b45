"""What a conductor runs, told once a second to whoever wants to see it: blocks, where they are, what a loss costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from sidestep.autopilot.functions import shown
from sidestep.backends.functions import blocks
from sidestep.backends.functions.job import Block, Call, Conductor, Finished
from sidestep.backends.functions.sources import Source
from sidestep.fleet.errors import SidestepError
from sidestep.fleet.functionruns import BlockRow, BlockState, FunctionLoop, FunctionRow, FunctionRun
from sidestep.fleet.labels import Label, scrub

#: seconds between two looks; blocks that ended and are still shown; loops that are
LOOK: Final = 1.0
ENDED: Final = 20
LOOPS: Final = 100

_Key = tuple[str, str]


class Showing:
    """Looks at the blocks of one conductor, and remembers what they did."""

    def __init__(self, conductor: Conductor, tell: Callable[[FunctionRun], None], wall: Callable[[], float]) -> None:
        self._conductor, self._tell, self._wall = conductor, tell, wall
        self._functions: dict[_Key, FunctionRow] = {}
        self._rows: dict[str, tuple[_Key, BlockRow]] = {}
        #: blocks that were gone at the last look without a word of their end, which may be on its way
        self._gone = set[str]()
        conductor.listen(self._ended)

    async def run(self) -> None:
        """Forever."""
        while True:
            await self.step()
            await asyncio.sleep(LOOK)

    async def step(self) -> FunctionRun:
        """One look."""
        running = list(self._conductor.blocks.values())
        for block in running:
            await self._known(block.call)
        rows = await asyncio.gather(*(self._row(block) for block in running))
        for block, row in zip(running, rows, strict=True):
            if block.name in self._conductor.blocks:  # else it ended meanwhile, and is remembered as such
                self._rows[block.name] = _key(block.call), row
        self._given_up()
        said = self.said()
        await asyncio.to_thread(self._tell, said)
        return said

    def said(self) -> FunctionRun:
        """All of it, as it is known."""
        by_function: dict[_Key, list[BlockRow]] = {key: [] for key in self._functions}
        for key, row in self._rows.values():
            by_function.setdefault(key, []).append(row)
        functions = tuple(
            FunctionRow(name=one.name, file=one.file, loops=one.loops, problem=one.problem,
                        blocks=tuple(by_function[key]))
            for key, one in self._functions.items()
        )  # fmt: skip
        return FunctionRun(
            pid=os.getpid(), time=self._wall(), functions=functions, waiting=self._conductor.waiting,
            hosts=tuple(scrub(host) for host in self._conductor.cluster.workers),
        )  # fmt: skip

    def _given_up(self) -> None:
        """Of a call that no host could run no end is told."""
        gone = {name for name, (_, row) in self._rows.items() if not row.ended and name not in self._conductor.blocks}
        for name in gone & self._gone:
            key, row = self._rows[name]
            events = (*row.events, Label("given up: no host could run it"))
            self._rows[name] = key, replace(row, state="FAILED", ended=self._wall(), target=Label(""), events=events)
        self._gone = gone

    async def _known(self, call: Call) -> None:
        key = _key(call)
        if key not in self._functions:
            self._functions[key] = _function(call, (), "")
            loops, problem = await asyncio.to_thread(loops_of, call.source, call.function)
            self._functions[key] = _function(call, loops, problem)

    async def _row(self, block: Block) -> BlockRow:
        former = self._rows[block.name][1] if block.name in self._rows else None
        status = await self._status(block)
        header = block.saved.header if block.saved is not None else None
        now, ago = self._wall(), time.monotonic()
        state: BlockState = "MOVING" if block.target else "RUNNING" if status is not None else "STARTING"
        hosts = tuple(scrub(host) for host in block.at.values())
        return BlockRow(
            name=block.name, state=state, hosts=hosts or (former.hosts if former else ()),
            token=max(block.at, default=0), began=now - (ago - block.began),
            cpu_s=block.used + (status.cpu_s if status is not None else 0.0), every=block.wishes.every,
            at=scrub(header.block) if header else Label(""), line=header.line if header else 0,
            sequence=header.sequence if header else 0,
            captured=now - (ago - block.saved.at) if block.saved is not None else 0.0,
            nbytes=header.nbytes if header else 0,
            holders=tuple(scrub(host) for host in sorted(block.saved.holders)) if block.saved is not None else (),
            target=scrub(block.target), moves=block.moves,
            unsuited=scrub(status.unsuited) if status is not None else Label(""),
            events=_events(former, hosts, block),
        )  # fmt: skip

    async def _status(self, block: Block) -> blocks.BlockStatus | None:
        for token, host in list(block.at.items()):
            with contextlib.suppress(SidestepError):
                return await self._conductor.guard.look(host, block.name, token)
        return None

    def _ended(self, call: Call, finished: Finished) -> None:
        outcome, now = finished.outcome, self._wall()
        key = _key(call)
        self._functions.setdefault(key, _function(call, (), ""))
        former = self._rows[outcome.block][1] if outcome.block in self._rows else None
        events = former.events if former is not None else ()
        if outcome.kind != blocks.DONE:
            events = (*events, scrub(f"ended by {outcome.error or outcome.kind}: {outcome.text}"))
        self._rows[outcome.block] = key, BlockRow(
            name=outcome.block, state="ENDED" if outcome.kind == blocks.DONE else "FAILED",
            hosts=(scrub(finished.host),), token=outcome.token, began=now - finished.seconds, ended=now,
            cpu_s=outcome.cpu_s, moves=finished.moves, sharded=outcome.sharded,
            events=(*events, *(scrub(f"a loop stayed on one host: {why}") for why in outcome.fallbacks)),
        )  # fmt: skip
        ended = [name for name, (_, row) in self._rows.items() if row.ended]
        for name in ended[:-ENDED]:
            del self._rows[name]


def _key(call: Call) -> _Key:
    return call.source.digest, call.function


def _function(call: Call, loops: tuple[FunctionLoop, ...], problem: str) -> FunctionRow:
    return FunctionRow(
        name=scrub(call.function, 200), file=scrub(f"{call.source.module}.py", 200), loops=loops, problem=scrub(problem)
    )


def _events(former: BlockRow | None, hosts: tuple[Label, ...], block: Block) -> tuple[Label, ...]:
    """What was seen to happen: hosts that changed, and losses, once each."""
    events = former.events if former is not None else ()
    lost = [
        f"{loss.host} was lost: {loss.work:.1f} s of work, went on after {loss.recovery:.1f} s ({loss.why})"
        for loss in block.losses
    ]
    fresh = [said for one in lost if (said := scrub(one)) not in events]
    if former is not None and block.moves > former.moves and hosts and former.hosts != hosts:
        fresh.append(scrub(f"moved from {', '.join(former.hosts)} to {', '.join(hosts)}"))
    return (*events, *fresh)


def loops_of(source: Source, function: str) -> tuple[tuple[FunctionLoop, ...], str]:
    """The loops of a function by its text alone, and why nothing is known of them, if so."""
    from sidestep.sharding.analysis.attributes import hoisted  # noqa: PLC0415 - not before a call runs
    from sidestep.sharding.analysis.function import analysed  # noqa: PLC0415
    from sidestep.sharding.analysis.source import read  # noqa: PLC0415
    from sidestep.sharding.loops.classify import classify_all  # noqa: PLC0415

    path = source.module.replace(".", "/")
    text = source.files.get(f"{path}.py") or source.files.get(f"{path}/__init__.py") or b""
    try:
        parsed = read(text.decode())
        node = parsed.functions.get(function)
        if node is None:
            return (), f"{function} is not at the top of its file"
        verdicts = classify_all(analysed(parsed, hoisted(node).node))
    except (SyntaxError, ValueError, RecursionError, AssertionError) as error:
        return (), f"{type(error).__name__}: {error}"
    lines = text.decode().splitlines()
    return tuple(
        FunctionLoop(
            v.line, v.depth, v.kind, scrub("; ".join(f"{w.code} ({w.text})" if w.text else w.code for w in v.refusals)),
            scrub(lines[v.line - 1].strip(), 200),
        )
        for v in verdicts[:LOOPS]
    ), ""  # fmt: skip


@asynccontextmanager
async def showing(conductor: Conductor, socket: Path) -> AsyncIterator[Showing]:
    """A conductor's blocks are shown by the daemon with that socket while the context lasts."""
    folder = shown.folder_beside(socket)
    await asyncio.to_thread(shown.shown, folder, time.time())  # clears away what killed processes left
    made = Showing(conductor, lambda run: shown.leave(folder, run), time.time)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        shown.withdraw(folder, os.getpid())
