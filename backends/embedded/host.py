"""One embedded host: an SSH server over one process tree.

It behaves as sshd does without a terminal: commands run in the login shell's environment
with three pipes, their exit status or signal is reported, and what leaves the command's
process group outlives the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import asyncssh
from msgspec import Struct

from sidestep.backends.embedded import proctree

#: the one user that may log in
USER: Final = "ops"
#: seconds between a closed channel's end-of-file and the end of its process group
GRACE: Final = 2.0
_CHUNK: Final = 65536
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class HostSetup(Struct, frozen=True, kw_only=True):
    """What one host process needs to know."""

    name: str
    address: str
    port: int
    #: the host's folder, HOME of whoever logs in
    home: str
    #: file with the host's private key, and the public keys that may log in
    host_key: str
    authorized: str


def login_environment(home: str) -> dict[str, str]:
    """The whole environment of a command: nothing leaks in from the process that made the fleet."""
    path = _PATH
    if shutil.which("python3", path=path) is None:
        path = f"{path}:{Path(sys.base_prefix, 'bin')}"
    return {"HOME": home, "PATH": path, "SIDESTEP_HOST_TREE": str(os.getpid()), "LANG": "C.UTF-8"}


class Children:
    """Reaps every child of this process, and tells the starters of commands how theirs ended.

    The host is the subreaper of its tree, so that it must reap strangers too; that rules
    out asyncio's own child watcher, which waits for its children by itself.
    """

    def __init__(self) -> None:
        self._ends: dict[int, asyncio.Future[int]] = {}

    def install(self) -> None:
        """Start reaping in the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def start(self, argv: list[str], home: str) -> tuple[subprocess.Popen[bytes], asyncio.Future[int]]:
        """Start a command in a session of its own; the future gives its wait status. Raises OSError."""
        popen = subprocess.Popen(
            argv,
            cwd=home,
            env=login_environment(home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._ends[popen.pid] = end
        return popen, end

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            end = self._ends.pop(pid, None)
            if end is not None and not end.done():
                end.set_result(os.waitstatus_to_exitcode(status))


class Command:
    """One remote command: pumps its streams, reports its end, ends it when its channel is gone."""

    def __init__(self, process: asyncssh.SSHServerProcess[bytes], children: Children, home: str) -> None:
        self._process = process
        self._children = children
        self._home = home

    async def run(self) -> None:
        """Run to the end of the command and of its output, or to the end of the channel."""
        line = self._process.command
        argv = ["/bin/sh", "-c", line] if line else ["/bin/sh"]
        if self._process.subsystem:
            argv = ["/bin/sh", "-c", "echo 'subsystem request failed' >&2; exit 1"]
        popen, end = self._children.start(argv, self._home)
        try:
            status = await self._attend(popen, end)
        finally:
            popen.returncode = end.result() if end.done() and not end.cancelled() else -signal.SIGKILL
        if status is not None:
            self._report(status)

    async def _attend(self, popen: subprocess.Popen[bytes], end: asyncio.Future[int]) -> int | None:
        """The command's status; None when the channel went first, and the command after it."""
        loop = asyncio.get_running_loop()
        assert popen.stdin and popen.stdout and popen.stderr
        sink, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, popen.stdin)
        writer = asyncio.StreamWriter(sink, flow, None, loop)
        outputs = [
            asyncio.create_task(_pump(await _reader(popen.stdout), self._process.stdout)),
            asyncio.create_task(_pump(await _reader(popen.stderr), self._process.stderr)),
        ]
        feeding = asyncio.create_task(self._feed(writer, popen.pid))
        gone = asyncio.create_task(self._process.channel.wait_closed())
        finished = asyncio.gather(end, *outputs)
        both: list[asyncio.Future[Any]] = [finished, gone]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if finished.done() and finished.exception() is None:
                return end.result()
            await self._abandon(writer, end, popen.pid)
            return None
        finally:
            if not writer.transport.is_closing():
                writer.transport.abort()
            for task in (*both, feeding, *outputs):
                task.cancel()
            await asyncio.gather(*both, feeding, *outputs, return_exceptions=True)

    async def _abandon(self, writer: asyncio.StreamWriter, end: asyncio.Future[int], group: int) -> None:
        writer.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(end), GRACE)
        for process in proctree.descendants(os.getpid()):
            if process.group == group:
                proctree.send(process.pid, signal.SIGKILL)

    async def _feed(self, writer: asyncio.StreamWriter, group: int) -> None:
        while True:
            try:
                data = await self._process.stdin.read(_CHUNK)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            except asyncssh.SignalReceived as received:
                with contextlib.suppress(ProcessLookupError, AttributeError):
                    os.killpg(group, getattr(signal, f"SIG{received.signal}"))
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            except (OSError, asyncssh.Error):
                break  # the command reads no more, or the connection is lost
        writer.close()

    def _report(self, status: int) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            if status >= 0:
                self._process.exit(status)
            else:
                self._process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))


async def _reader(pipe: object) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_CHUNK)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def _pump(reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes]) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


class _Door(asyncssh.SSHServer):
    """Lets the one user in, with the fleet's key only."""

    def __init__(self, authorized: str) -> None:
        self._authorized = authorized
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        assert self._connection is not None
        if username == USER:
            self._connection.set_authorized_keys(self._authorized)
        return True


async def serve(setup: HostSetup, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve SSH on ``listener`` until SIGTERM; then end everything on the host."""
    children = Children()
    children.install()
    running: set[asyncio.Task[None]] = set()

    def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        # not tied to the connection: what a lost one leaves behind must still be ended
        task = asyncio.create_task(Command(process, children, setup.home).run())
        running.add(task)
        task.add_done_callback(running.discard)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with await asyncssh.listen(
        sock=listener,
        server_factory=lambda: _Door(setup.authorized),
        server_host_keys=[setup.host_key],
        process_factory=handle,
        sftp_factory=True,
        encoding=None,
        allow_pty=False,
        agent_forwarding=False,
        config=None,
    ):
        ready()
        await stopped.wait()


def be_host(setup: HostSetup, ready: Callable[[], None]) -> None:
    """The life of a host process, in a fresh fork that has no event loop. Returns at its end."""
    proctree.become_subreaper()
    proctree.die_with_parent(signal.SIGTERM)
    # a group, not a session: the kernel continues stopped members of a group that loses
    # its parent, so that a host that was cut follows its fleet, too
    os.setpgid(0, 0)
    Path(setup.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(setup.home)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((setup.address, setup.port))
        try:
            asyncio.run(serve(setup, listener, ready))
        finally:
            proctree.end_orphans()
