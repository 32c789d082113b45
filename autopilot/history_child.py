"""Child processes that handle Parquet for the daemon: niced, short-lived, ended with their caller.

``refill`` answers on its standard output: for every hour, newest first, ``HEAD`` and then
times (f8), means (f4), maxima (f4) and samples (u2), little-endian, of the series that were
asked for on standard input, in that order. What a child says on standard error is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import numpy as np

from sidestep.autopilot.history_segments import MINUTE
from sidestep.fleet.history import Block
from sidestep.fleet.inventory import HistorySpec
from sidestep.fleet.labels import scrub

#: rows, series, seconds between samples; no rows end the answer
HEAD: Final = struct.Struct("<IId")
#: rows of one answer
MOST_ROWS: Final = 60
COMMAND: Final = (sys.executable, "-m", "sidestep.autopilot.history")

Take = Callable[[tuple[str, ...], Block, float], None]
Report = Callable[[str], None]


async def compact(folder: Path, spec: HistorySpec, report: Report) -> None:
    """Make closed segments into Parquet and drop what is too old. Reports a failure."""
    limits = ("--keep", str(spec.keep), "--max-bytes", str(spec.max_bytes))
    await _run(("compact", "--folder", str(folder), *limits), b"", None, report)


async def refill(folder: Path, names: tuple[str, ...], now: float, take: Take, report: Report) -> None:
    """Give what Parquet files hold of ``names`` to ``take``, newest hour first. Reports a failure."""
    if not await asyncio.to_thread(lambda: any(folder.glob("*/*.parquet"))):
        return

    async def read(stdout: asyncio.StreamReader) -> None:
        while True:
            rows, width, interval = HEAD.unpack(await stdout.readexactly(HEAD.size))
            if not rows:
                return
            if rows > MOST_ROWS or width != len(names):
                raise ValueError(f"an answer of {rows} rows of {width} series")
            times = np.frombuffer(await stdout.readexactly(8 * rows), "<f8")
            size = rows * width
            mean = np.frombuffer(await stdout.readexactly(4 * size), "<f4")
            high = np.frombuffer(await stdout.readexactly(4 * size), "<f4")
            count = np.frombuffer(await stdout.readexactly(2 * size), "<u2")
            shape = (rows, width)
            block = Block(MINUTE, interval, times, mean.reshape(shape), high.reshape(shape), count.reshape(shape))
            take(names, block, now)

    # names never hold line breaks: they are scrubbed where they enter
    await _run(("refill", "--folder", str(folder)), "\n".join(names).encode(), read, report)


def answer(block: Block) -> bytes:
    """The child's answer with one hour."""
    head = HEAD.pack(len(block.times), block.mean.shape[1], block.interval)
    columns = (block.times.astype("<f8"), block.mean.astype("<f4"), block.high.astype("<f4"), block.count.astype("<u2"))
    return head + b"".join(column.tobytes() for column in columns)


async def _run(
    arguments: tuple[str, ...],
    given: bytes,
    read: Callable[[asyncio.StreamReader], Awaitable[None]] | None,
    report: Report,
) -> None:
    what = f"history {arguments[0]}"
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as error:
        report(f"{what}: no process could be started: {error.strerror}")
        return
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    log = asyncio.create_task(_pass_log(process.stderr, report))
    try:
        process.stdin.write(given)
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()
        process.stdin.close()
        if read is not None:
            await read(process.stdout)
        status = await process.wait()
        if status:
            report(f"{what}: the process ended with status {status}")
    except (asyncio.IncompleteReadError, ValueError) as error:
        report(f"{what}: the process gave a broken answer: {scrub(str(error))}")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await log


async def _pass_log(stderr: asyncio.StreamReader, report: Report) -> None:
    async for line in stderr:
        report(scrub(line.rstrip(), 800))
