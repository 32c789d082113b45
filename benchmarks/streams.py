"""Embedded hosts that stream real sampler records over SSH, thousands a process, for benchmarks.

    python -m benchmarks.streams --hosts 1000 --dir D

writes ``D/hosts.json`` (name, address, port, user), ``D/known_hosts`` and ``D/identity``, then says
``{"state": "up", ...}``. Every host has its own loopback address and host key; whatever command is
executed there answers with protocol 2, except commands that ``Transport.run`` sends, which succeed
at once. Words on standard input, each answered with one line of JSON: ``cut`` (abort every
connection, refuse new ones), ``heal``, ``rate`` (samples sent and due since the last ``rate``),
``quit`` or end of file.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import asyncssh

from benchmarks.stream_hosts import Fleet
from sidestep.backends.sampler.protocol import HOST_COLUMNS

try:
    import uvloop as loops
except ImportError:
    loops = asyncio  # type: ignore[misc]

#: hosts that one process serves; above, more processes share them
HOSTS_A_PROCESS: Final = 2500
NET: Final = "127.78"


def addresses(count: int) -> Iterator[tuple[str, str]]:
    """Names and addresses of the hosts."""
    for at in range(count):
        yield f"h{at:05d}", f"{NET}.{at // 250}.{at % 250 + 1}"


async def serve(fleet: Fleet, known: Path) -> None:
    """One process: listen, stream, obey."""
    lines = await fleet.start()
    await asyncio.to_thread(known.write_text, lines, "utf-8")
    running = asyncio.create_task(fleet.run())
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say({"state": "up"})
    while (word := (await reader.readline()).strip()) not in (b"", b"quit"):
        if word == b"cut":
            fleet.cut()
        elif word == b"heal":
            await fleet.heal()
        _say(fleet.rate() if word == b"rate" else {"state": word.decode("ascii", "replace")})
    running.cancel()


async def share(arguments: argparse.Namespace) -> None:
    """Share the hosts among processes, and pass on what is said to them."""
    folder: Path = arguments.dir
    port: int = arguments.port or _free_port()
    _prepare(folder, arguments.hosts, port)
    processes = arguments.processes or -(-arguments.hosts // HOSTS_A_PROCESS)
    size = -(-arguments.hosts // processes)
    children, parts = [], []
    for at in range(0, arguments.hosts, size):
        parts.append(folder / f"known_hosts.{at}")
        command = [sys.executable, "-m", "benchmarks.streams", *sys.argv[1:], "--port", str(port), "--first", str(at),
                   "--last", str(min(at + size, arguments.hosts))]  # fmt: skip
        pipe = asyncio.subprocess.PIPE
        children.append(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    async def answers() -> list[dict[str, Any]]:
        return [json.loads(await _line(child)) for child in children]

    try:
        await answers()
        _join(parts, folder / "known_hosts")
        _say({"state": "up", "hosts": arguments.hosts, "processes": [child.pid for child in children]})
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while (word := (await reader.readline()).strip()) not in (b"", b"quit"):
            for child in children:
                if child.stdin is not None:
                    child.stdin.write(word + b"\n")
            found = await answers()
            _say(_total(found) if word == b"rate" else found[0])
    finally:
        for child in children:
            if child.stdin is not None:
                child.stdin.close()
        await asyncio.gather(*(child.wait() for child in children))


def _prepare(folder: Path, hosts: int, port: int) -> None:
    """Write the client's key and the list of hosts."""
    folder.mkdir(parents=True, exist_ok=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    (folder / "identity").touch(mode=0o600)
    key.write_private_key(str(folder / "identity"))
    key.write_public_key(str(folder / "identity.pub"))
    user = getpass.getuser()
    listed = [{"name": name, "address": address, "port": port, "user": user} for name, address in addresses(hosts)]
    (folder / "hosts.json").write_text(json.dumps(listed), "utf-8")


def _join(parts: Sequence[Path], whole: Path) -> None:
    whole.write_text("".join(part.read_text("utf-8") for part in parts), "utf-8")
    for part in parts:
        part.unlink()


async def _line(child: asyncio.subprocess.Process) -> bytes:
    line = await child.stdout.readline() if child.stdout is not None else b""
    if not line:
        raise SystemExit(f"streams: process {child.pid} ended")
    return line


def _total(found: Sequence[dict[str, float]]) -> dict[str, float]:
    total = {key: sum(one[key] for one in found) for key in ("streams", "sent", "due", "cpu")}
    total["seconds"] = max(one["seconds"] for one in found)
    total["achieved"] = total["sent"] / total["due"] if total["due"] else 1.0
    return total


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((f"{NET}.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=len(HOST_COLUMNS), help="numbers of the host in a record")
    parser.add_argument("--shards", type=int, default=0, help="shards a host, ten numbers each")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between records")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="0 is any free one, the same for all hosts")
    parser.add_argument("--processes", type=int, default=0, help=f"0 is one for every {HOSTS_A_PROCESS} hosts")
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--last", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if arguments.last:
        hosts = list(addresses(arguments.hosts))[arguments.first : arguments.last]
        fleet = Fleet(hosts, arguments.port, arguments)
        loops.run(serve(fleet, arguments.dir / f"known_hosts.{arguments.first}"))
    else:
        loops.run(share(arguments))


if __name__ == "__main__":
    main()
