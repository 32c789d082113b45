"""The console in a browser, through textual-serve: only for whoever has the address, and only to look unless allowed.

textual-serve lets any page in the operator's browser drive what it serves. So here every request
must name the token in its path and a host of ours, a websocket an origin of ours, and nothing is
loaded from elsewhere. Each session is a console of its own, attached to the daemon's socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import re
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server as TextualServer

from sidestep.fleet.errors import UsageError

#: consoles at a time; each is a process
MAX_SESSIONS: Final = 4
_LONGEST: Final = 64 * 1024
#: seconds that a console has to leave
_PATIENCE: Final = 3.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ELSEWHERE: Final = re.compile(r"<link\b[^>]*fonts\.googleapis\.com[^>]*>")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ConsoleServer(TextualServer):
    """Serves one command at one address under one secret path."""

    def __init__(self, command: str, listen: str, port: int) -> None:
        """Binds at once. Raises UsageError when that cannot be."""
        self.listener = bound(listen, port)
        self.token = secrets.token_urlsafe(24)
        port = self.listener.getsockname()[1]
        super().__init__(command, host=listen, port=port, title="sidestep")
        names = {listen} if not is_loopback(listen) else {listen, "localhost"}
        self._hosts = frozenset(f"{f'[{name}]' if ':' in name else name}:{port}" for name in names)
        self._sessions = 0

    @property
    def address(self) -> str:
        """What to open; whoever knows it gets in."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}/{self.token}/"

    async def run(self, say: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM."""
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=_PATIENCE)
        await runner.setup()
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end.set)
        try:
            await web.SockSite(runner, self.listener).start()
            say(self.address)
            await end.wait()
        finally:
            await runner.cleanup()

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        outer = web.Application(middlewares=[self._guarded])
        app.on_startup.clear()
        outer.add_subapp(f"/{self.token}", app)
        return outer

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what did not come from our own page; say the same to all, without naming what was wrong."""
        if not self.admits(request.host, request.path, request.headers.get("Origin"), request.headers.get("Upgrade")):
            raise web.HTTPForbidden(text="refused\n", headers=_HEADERS)
        if request.method not in {"GET", "HEAD"} or "/download/" in request.path:
            raise web.HTTPForbidden(text="refused\n", headers=_HEADERS)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
            response.headers["Content-Security-Policy"] = _policy(request.host)
        return response

    def admits(self, host: str, path: str, origin: str | None, upgrade: str | None) -> bool:
        """Whether host, token and origin are ours. A websocket must name its origin; a page need not have one."""
        token = path.lstrip("/").partition("/")[0]
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())
        wants = f"http://{host}"
        from_us = origin == wants if upgrade or path.rstrip("/").endswith("/ws") else origin in (None, wants)
        return known and host in self._hosts and from_us

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page, which loads nothing from anywhere else."""
        self.public_url = f"http://{request.host}"
        page = await super().handle_index(request)
        assert isinstance(page, web.Response)
        page.text = _ELSEWHERE.sub("", page.text or "")
        return page

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One session; there are not more than ``MAX_SESSIONS``."""
        if self._sessions >= MAX_SESSIONS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_SESSIONS} consoles are open already\n")
        self._sessions += 1
        line = web.WebSocketResponse(heartbeat=15, max_msg_size=_LONGEST)
        await line.prepare(request)

        async def leave() -> None:
            await line.close()

        service = Session(
            self.command, write_bytes=line.send_bytes, write_str=line.send_str, close=leave,
            download_manager=self.download_manager,
        )  # fmt: skip
        try:
            await service.start(*(_number(request, name, usual) for name, usual in (("width", 80), ("height", 24))))
            await self._process_messages(line, service)
        except (AssertionError, AttributeError, KeyError, IndexError, TypeError, ValueError, ConnectionError):
            pass  # what is no message of our page ends the session
        finally:
            await asyncio.shield(service.end())
            self._sessions -= 1
        return line


class Session(AppService):
    """One console of one browser: a process of its own, without a shell, that ends with its connection."""

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *shlex.split(self.command), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL,
            env=self._build_environment(width, height), start_new_session=True,
        )  # fmt: skip
        # textual-serve would pass on to our terminal what is said there, whatever is in it
        self._process.stderr = asyncio.StreamReader()
        self._process.stderr.feed_eof()
        self._stdin = self._process.stdin
        return self._process

    async def end(self) -> None:
        """Have the console leave; kill it when it does not."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self.stop()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


def _number(request: web.Request, name: str, usual: int) -> int:
    """A size from the page's address, within what a terminal can be."""
    text = request.query.get(name, "")
    return max(20, min(500, int(text))) if text.isascii() and text.isdigit() else usual


def _policy(host: str) -> str:
    """What the page may load and connect to: itself. textual-serve's page has its script and styles in it."""
    return (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; font-src 'self';"
        f" img-src 'self' data:; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the address. Raises UsageError for what is no address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        raise UsageError(f"--listen {address}: not an IP address", hint="such as 127.0.0.1 or ::1") from None


def bound(listen: str, port: int) -> socket.socket:
    """A socket bound to exactly that address. Raises UsageError."""
    is_loopback(listen)
    if ip_address(listen).is_unspecified:
        raise UsageError(f"--listen {listen}: every interface at once", hint="name the address of one")
    family = socket.AF_INET6 if ip_address(listen).version == 6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((listen, port))
    except (OSError, OverflowError) as error:
        made.close()
        raise UsageError(f"{listen}:{port} cannot be served: {error}", hint="name another --port, or 0") from error
    return made


def command(daemon: Path, *, allow_actions: bool, theme: str = "", module: str = "sidestep") -> str:
    """The console that each session runs."""
    words = [sys.executable, "-m", module, "--socket", str(daemon)]
    words += [] if allow_actions else ["--read-only"]
    words += ["--theme", theme] if theme else []
    return shlex.join(words)


def serve(daemon: Path, listen: str, port: int, *, allow_actions: bool, theme: str) -> None:
    """Serve the console of that daemon until told to end. Raises UsageError."""
    server = ConsoleServer(command(daemon, allow_actions=allow_actions, theme=theme), listen, port)

    def say(address: str) -> None:
        what = "may ACT" if allow_actions else "may only look"
        print(f"{address}\nwhoever has this address {what}; ctrl-c ends it", flush=True)
        if not is_loopback(listen):
            print("WARNING: others reach this address, and nothing on the way is encrypted", file=sys.stderr)
            print("remedy: leave --listen out, and use ssh -L", file=sys.stderr, flush=True)

    os.environ.pop("SIDESTEP_SOCKET", None)
    asyncio.run(server.run(say))
