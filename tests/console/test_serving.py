"""The console in a browser: who gets in, who does not, and that it only looks. Real sockets, real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket as sockets
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from frames import Daemon

from sidestep.autopilot.protocol import Approve, GetSnapshot, ListPlans, Shutdown
from sidestep.autopilot.protocol_control import CancelPlan, HoldAll
from sidestep.console import exporting
from sidestep.console.feed import Feed, looks
from sidestep.console.serving import MAX_SESSIONS, ConsoleServer, bound, command
from sidestep.console.sessions import Attached
from sidestep.fleet.errors import UsageError


@pytest.fixture
async def server(daemon: Daemon, socket: Path) -> AsyncIterator[ConsoleServer]:
    """A served console of the daemon."""
    made = ConsoleServer(command(socket, allow_actions=False), "127.0.0.1", 0)
    ready = asyncio.Event()
    life = asyncio.create_task(made.run(lambda _: ready.set()))
    await asyncio.wait_for(ready.wait(), 20)
    yield made
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)


async def ask(server: ConsoleServer, path: str, *, to: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    """One plain request; the status and everything that came."""
    given = {
        "Host": f"127.0.0.1:{server.port}",
        "Connection": "close",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    reader, writer = await asyncio.open_connection(to, server.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    try:
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            length = head.lower().partition(b"content-length:")[2].split(b"\r")[0]
            body = await reader.readexactly(int(length)) if length else b""
    finally:
        writer.close()
    return status, (head + body).decode("utf-8", "replace")


def upgrade(origin: str | None = None) -> dict[str, str]:
    given = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    return given if origin is None else {**given, "Origin": origin}


async def test_nobody_gets_in_without_the_token_a_host_and_an_origin_of_ours(server: ConsoleServer) -> None:
    """S7.10: a wrong token, a foreign Origin, no Origin, and a foreign Host are refused."""
    token, port = server.token, server.port
    ours = f"http://127.0.0.1:{port}"
    for path in (
        "/",
        "/ws",
        "/static/js/textual.js",
        f"/{token[:-1]}/",
        f"/x{token}/",
        f"/{'x' * len(token)}/ws",
        "/%00/",
    ):
        assert (await ask(server, path))[0] == 403, path
    for origin in (
        "http://evil.example",
        f"http://127.0.0.1:{port + 1}",
        f"https://127.0.0.1:{port}",
        "null",
        "",
        None,
    ):
        status, said = await ask(server, f"/{token}/ws", **upgrade(origin))
        assert status == 403, origin
        assert token not in said
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert (await ask(server, f"/{token}/", Host=host))[0] == 403
        assert (await ask(server, f"/{token}/ws", Host=host, **upgrade(f"http://{host}")))[0] == 403
    assert (await ask(server, f"/{token}/", Origin="http://evil.example"))[0] == 403
    assert (await ask(server, f"/{token}/download/x"))[0] == 403
    assert (await ask(server, f"/{token}/"))[0] == 200
    assert (await ask(server, f"/{token}/ws", **upgrade(ours)))[0] == 101


async def test_the_page_loads_nothing_from_elsewhere_and_its_token_leaks_into_no_header(server: ConsoleServer) -> None:
    status, said = await ask(server, f"/{server.token}/")
    head, _, page = said.partition("\r\n\r\n")
    assert status == 200
    assert "googleapis" not in page
    assert f"ws://127.0.0.1:{server.port}/{server.token}/ws" in page
    assert "referrer-policy: no-referrer" in head.lower()
    assert f"connect-src 'self' ws://127.0.0.1:{server.port};" in head
    assert "frame-ancestors 'none'" in head
    status, said = await ask(server, f"/{server.token}/static/js/textual.js")
    assert status == 200


async def test_no_other_interface_of_this_machine_answers(server: ConsoleServer) -> None:
    """S7.10: loopback only. 127.0.0.2 is an address of the loopback device that was not named."""
    others = ["127.0.0.2", *{str(info[4][0]) for info in sockets.getaddrinfo(sockets.gethostname(), None)}]
    for address in others:
        if address.startswith("127.0.0.1"):
            continue
        with pytest.raises(OSError):
            await ask(server, f"/{server.token}/", to=address)


async def test_a_session_is_read_only_and_there_are_few(server: ConsoleServer, daemon: Daemon) -> None:
    ours = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession(headers={"Origin": ours}) as session:
        address = f"{ours}/{server.token}/ws?width=140&height=40"
        async with session.ws_connect(address, max_msg_size=0) as line:
            seen = await until(line, "READ-ONLY")
            await line.send_json(["stdin", "4"])
            seen += await until(line, "Approve")
            await line.send_json(["stdin", "a"])
            assert "read-only" in await until(line, "approve is disabled")
            assert daemon.approved == []
            server._sessions += MAX_SESSIONS - 1
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(address)
            assert refused.value.status == 503
            server._sessions -= MAX_SESSIONS - 1
            await line.send_json(["stdin", "q"])


async def until(line: aiohttp.ClientWebSocketResponse, text: str) -> str:
    """Read what the console writes until a text was in it."""
    seen = ""
    async with asyncio.timeout(60):
        while text not in seen:
            message = await line.receive()
            assert message.type in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT}, (message, seen[-300:])
            seen += message.data.decode("utf-8", "replace") if isinstance(message.data, bytes) else message.data
    return seen


async def test_a_console_that_only_looks_sends_nothing_else_to_the_daemon(daemon: Daemon, socket: Path) -> None:
    feed = Feed(Attached(socket))
    feed.only_looks = True
    for body in (Approve("0" * 64), HoldAll("x"), Shutdown(), CancelPlan("12", dry=True)):
        assert not looks(body)
        with pytest.raises(UsageError, match="read-only"):
            await feed.call(body)
    assert looks(ListPlans())
    assert looks(GetSnapshot())


def test_addresses_that_cannot_be_served_are_said() -> None:
    for listen, said in (
        ("example.org", "not an IP address"),
        ("0.0.0.0", "every interface"),
        ("192.0.2.1", "cannot be served"),
    ):
        with pytest.raises(UsageError, match=said):
            bound(listen, 0)
    assert " --read-only" in command(Path("/x; rm y"), allow_actions=False)
    assert "'/x; rm y'" in command(Path("/x; rm y"), allow_actions=True)
    assert "--read-only" not in command(Path("/x"), allow_actions=True)


def browser() -> str:
    try:
        return exporting.browser()
    except UsageError:
        pytest.skip("NO BROWSER: the web mode is not tested in Chromium; apt-get install chromium (see Makefile)")


class Tab:
    """A page of Chromium, spoken to by its own debugging protocol."""

    def __init__(self, line: aiohttp.ClientWebSocketResponse) -> None:
        self._line, self._id = line, 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        await self._line.send_json({"id": self._id, "method": method, "params": params})
        async with asyncio.timeout(60):
            while True:
                answer = json.loads((await self._line.receive()).data)
                if answer.get("id") == self._id:
                    return answer["result"]

    async def value(self, expression: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, **text)

    async def until(self, expression: str) -> None:
        async with asyncio.timeout(90):
            while not await self.value(expression):
                await asyncio.sleep(0.2)

    async def press_until(self, key: str, expression: str) -> None:
        """Press as a person does who sees nothing happen: the page may have been painted before it had the focus."""
        for _ in range(9):
            await self.press(key)
            try:
                async with asyncio.timeout(10):
                    await self.until(expression)
                return
            except TimeoutError:
                await self.value("document.querySelector('textarea')?.focus()")
        raise AssertionError(f"{key} has no effect: {await self.value('window.told.slice(-2000)')}")


@contextlib.asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Tab]:
    """A headless browser of our own, and its first page."""
    arguments = [
        "--headless",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={folder}",
        "--remote-debugging-port=0",
    ]
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(
        browser(), *arguments, "about:blank", stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(60):
            while b"DevTools listening on" not in (said := await process.stderr.readline()):
                assert said, "the browser ended"
        drain = asyncio.create_task(process.stderr.read())
        port = said.decode().split("//")[1].split(":")[1].split("/")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = [page for page in await answer.json(content_type=None) if page["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as line:
                yield Tab(line)
        drain.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()


#: the frames of the console's own websocket, kept as text by the page; the text is made before it is added to what was
#: told, for two frames that are read at once would each add to what was there before both
WATCH = """(() => { const real = WebSocket; window.told = "";
window.WebSocket = class extends real { constructor(...given) { super(...given); window.line = this;
  this.addEventListener("message", async (e) => { const d = e.data;
    const text = typeof d === "string" ? d : await new Response(d).text(); window.told += text; }); } }; })()"""


async def test_a_read_only_session_in_chromium_and_a_foreign_page_that_gets_none(
    server: ConsoleServer, daemon: Daemon, tmp_path: Path
) -> None:
    """S7.10: a real browser opens it and works; a page of another origin, knowing the token, does not."""
    async with chromium(tmp_path / "profile") as tab:
        await tab.call("Page.enable")
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        await tab.call("Page.navigate", url=server.address)
        await tab.until("window.told && told.includes('READ-ONLY')")
        await tab.until("document.body.classList.contains('-first-byte')")
        await tab.value("document.querySelector('textarea')?.focus()")
        await tab.press_until("4", "told.includes('Approve')")
        await tab.press_until("a", "told.includes('approve is disabled')")
        assert daemon.approved == []
        address = f"ws://127.0.0.1:{server.port}/{server.token}/ws"
        tried = (
            f"new Promise(r => {{ const s = new WebSocket('{address}');"
            " s.onopen = () => r('open'); s.onerror = () => r('refused') })"
        )
        await tab.call("Page.navigate", url="data:text/html,<p>elsewhere</p>")
        await tab.until("location.protocol === 'data:'")
        assert await tab.value(tried) == "refused"


def test_without_a_daemon_or_the_library_it_says_what_to_do(socket: Path, tmp_path: Path) -> None:
    import subprocess

    given = [sys.executable, "-m", "sidestep", "serve", "--socket", str(tmp_path / "none.sock")]
    found = subprocess.run(given, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode in {1, 2}
    assert "no daemon" in found.stderr
    assert shutil.which("python3")
