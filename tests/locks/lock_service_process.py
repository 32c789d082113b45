"""A lock service as a process of its own, as the daemon runs it: ``python lock_service_process.py JOURNAL SOCKET``."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from sidestep.autopilot.journal import Journal
from sidestep.autopilot.locks.server import LockServer
from sidestep.autopilot.locks.service import LockService


async def serve(journal: Path, socket: Path) -> None:
    book = Journal(journal)
    server = LockServer(socket, LockService(journal=book, report=print), report=print)
    await server.start()
    print("ready", flush=True)
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()
    counts = server.service.counts
    await server.aclose()
    book.close()
    print(f"ended {counts.grants} {counts.transactions}", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
