"""What a broken or hostile server can do to an import: be refused in one line, and put nothing into the history."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidestep.autopilot import history

NOW = time.time()


def points(*values: object, instance: object = "h1") -> bytes:
    rows = [{"metric": {"instance": instance}, "values": values}]
    body = json.dumps({"data": {"result": rows}}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Server:
    """Says the same bytes to everybody who connects, the last of them in pieces for ever if asked to."""

    def __init__(self) -> None:
        self.says, self.trickle = b"", b""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.recv(1 << 16)
                    peer.sendall(self.says)
                    while self.trickle and not self.over.wait(0.05):
                        peer.sendall(self.trickle)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(1 << 16):
                        pass
                except OSError:
                    pass

    def close(self) -> None:
        self.over.set()
        self._listening.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def bring(tmp_path: Path, url: str, *more: str) -> int:
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[fleet]\nname = "test"\n[hosts.h1]\naddress = "h1"\n')
    state = tmp_path / "state"
    return history.main(
        ["import", "--fleet", str(fleet), "--state", str(state), "--prometheus", url, "--days", "0.05", *more]
    )


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"HTTP/9.9 banana\x1b[2J\r\n\r\n", "banana<1b>"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 500 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\x1b[2J\r\n", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "IncompleteRead"),
        (b"HTTP/1.1 302 Found\r\nLocation: gopher://\x1b[2J\r\nContent-Length: 0\r\n\r\n", "Invalid"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 5000\r\n\r\n" + b"[" * 5000, "HTTP status 500"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 50\r\n\r\n[", "HTTP status 500"),
        (points([NOW + 1e9, "1"]), "not asked for"),
        (points([1e300, "1"]), "not asked for"),
        (points(["NaN", "1"]), "not asked for"),
        (points(*([NOW - 3600, "1"] for _ in range(20_000))), "not asked for"),
        (points([10**400, "1"]), "not an answer"),
        (points(["x\x1b[2J", "1"]), "not an answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_answer_is_one_error_and_no_history(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], says: bytes, words: str
) -> None:
    server.says = says
    assert bring(tmp_path, server.url) == 1
    said = capsys.readouterr().err
    assert words in said and "query: sum" in said and "remedy" in said and "\x1b" not in said
    assert not list(tmp_path.glob("state/history/*/*"))


def test_a_server_that_trickles_is_left_when_the_time_is_over(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says, server.trickle = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "
    assert bring(tmp_path, server.url, "--timeout", "0.5") == 1
    assert "no answer in 0.5 s" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://[::1", "http://h:abc", "http://h:99999", "http://a b", "http://h/\x1b[2J"])
def test_what_is_no_address_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert bring(tmp_path, url) == 2
    said = capsys.readouterr().err
    assert "not an address" in said and "\x1b" not in said
