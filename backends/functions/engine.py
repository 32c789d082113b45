"""The engine's processes on a host: a Dask scheduler or a Dask worker, as its standard input says.

They listen on the host's own address only, with TLS, without dashboards and without HTTP servers,
and end at once when their standard input ends. The scheduler unpickles what its members send: that
is why it runs on a host beside the workers, and never beside the conductor or the runner.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
import sys
import threading
from typing import Any, BinaryIO, Final

import dask
from distributed import Scheduler, Worker
from distributed.security import Security

from sidestep.backends.functions import frames
from sidestep.backends.functions.place import Place
from sidestep.backends.functions.setup import Setup

#: whatever files and the environment say otherwise
CONFIG: Final[dict[str, Any]] = {
    "distributed.scheduler.work-stealing": False,
    # A task whose worker died fails at once: we decide where it goes on.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": "15s",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.idle-timeout": None,
    "distributed.scheduler.no-workers-timeout": None,
    "distributed.comm.timeouts.connect": "20s",
    "distributed.comm.timeouts.tcp": "15s",
    "distributed.comm.require-encryption": True,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.preload": [],
    "distributed.scheduler.preload": [],
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
}


class QuietScheduler(Scheduler):
    """A scheduler without an HTTP server."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Listen to nobody: it would be without encryption."""


class QuietWorker(Worker):
    """A worker without an HTTP server."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        """Listen to nobody: it would be without encryption."""


def security(authority: str, certificate: str, key: str) -> Any:
    """TLS with our own authority in every role; nothing is said without."""
    roles = {f"tls_{role}_{part}": text for role in ("client", "scheduler", "worker")
             for part, text in (("cert", certificate), ("key", key))}  # fmt: skip
    made: Any = Security
    return made(require_encryption=True, tls_ca_file=authority, tls_min_version=None, **roles)


async def serve(setup: Setup, out: BinaryIO) -> None:
    """Run until the process ends; the address goes to ``out`` as one line."""
    common: dict[str, Any] = {
        "host": setup.address,
        "protocol": "tls",
        "dashboard": False,
        "security": security(setup.authority, setup.certificate, setup.key),
    }
    node: Any
    if setup.role == "scheduler":
        node = QuietScheduler(port=0, **common)
    else:
        node = QuietWorker(
            setup.scheduler,
            name=setup.name,
            nthreads=setup.threads,
            memory_limit=0,
            local_directory=setup.folder,
            death_timeout=60,
            **common,
        )
    async with node:
        out.write(node.address.encode() + b"\n")
        out.flush()
        await node.finished()


def _end_with(stream: BinaryIO) -> None:
    stream.read()
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Read the setup, and be it."""
    setup = frames.read(sys.stdin.buffer, Setup)
    if setup is None:
        sys.exit(2)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    dask.config.set(CONFIG)
    if setup.role == "worker":
        # Whoever checks chunks in a thread lets the loop go on while it does.
        sys.setswitchinterval(0.001)
        for module in ("tasks", "shelf"):
            importlib.import_module(f"sidestep.backends.functions.{module}")
        Place.take(setup)
    # What is imported stays: looking through it for garbage takes 50 ms, in which a block may be standing.
    gc.freeze()
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    asyncio.run(serve(setup, out))


if __name__ == "__main__":
    main()
