"""Samples a host that lets nobody run anything: its files read over SFTP, records made here.

What reads the numbers out of the files is the text of the host sampler itself, given what
SFTP brought in place of open files, so that the two cannot differ.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from importlib.resources import files
from typing import Any, Final, NoReturn

from sidestep.backends.sampler.protocol import HOST_COLUMNS, SHARD_COLUMNS, VERSION
from sidestep.backends.ssh.base import Receiver, Transport
from sidestep.backends.ssh.readonly import OffersFiles, SftpReader
from sidestep.fleet.errors import HostError, HostUnreachable

#: least seconds between samples: an answer of the host costs far more than a record of a sampler there
LEAST: Final = 5.0
#: samples between looks for shards and devices
RARELY: Final = 6
PATIENCE: Final = 30.0
#: what OpenSSH says when a key's forced command is internal-sftp
_ONLY_FILES: Final = b"This service allows sftp connections only."
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_PID_FILE: Final = re.compile(rb"(\d{1,10}) (\d{1,18}) (\d{1,18})\b")
_PRESSURES: Final = tuple(f"/proc/pressure/{kind}" for kind in ("cpu", "memory", "io", "irq"))
_EVERY_TIME: Final = (
    *("/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/diskstats", "/proc/net/dev", "/proc/uptime"),
    *_PRESSURES,
)
#: clock ticks a second in what every Linux that OpenSSH runs on shows to programs
_CLK: Final = 100
_PAGE: Final = 4096


async def only_files(transport: Transport) -> bool:
    """Whether the host refuses to run commands, but offers its files."""
    done = await transport.run("exit 0", timeout=15.0)
    return done.status != 0 and _ONLY_FILES in done.stdout + done.stderr


async def follow_files(
    transport: Transport, fleet: str, interval: float, taken: Receiver, *, state: str = ".local/state"
) -> NoReturn:
    """Read and record every ``interval`` seconds, at least LEAST, until the connection is lost.

    ``state`` is where the host keeps states, below the home of the user. Of a shard, its first
    process alone is measured. Raises HostError, HostUnreachable.
    """
    if not isinstance(transport, OffersFiles):
        raise HostError(transport.host, "sample", "this transport cannot read files over SFTP")
    clock = asyncio.get_running_loop().time
    try:
        async with aclosing(await transport.reader()) as reader:
            files_of = Files(reader, f"{state}/sidestep/{fleet}")
            due = clock()
            while True:
                async with asyncio.timeout(PATIENCE):
                    taken.data(await _records(files_of, transport.host))
                due = max(due + max(interval, LEAST), clock())
                await asyncio.sleep(due - clock())
    except TimeoutError as error:
        lost = HostUnreachable(transport.host, "sample", f"files are not read within {PATIENCE:g} s")
        taken.end(lost, b"")
        raise lost from error
    except HostError as error:
        taken.end(error, b"")
        raise


async def _records(of: Files, host: str) -> bytes:
    """One sample. Raises HostError for files that do not say what such files say."""
    try:
        return await of.records()
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        raise HostError(host, "sample", f"its files cannot be understood: {type(error).__name__}: {error}") from error


class Files:
    """One host's files, and the records that are made of them."""

    def __init__(self, reader: SftpReader, root: str) -> None:
        self._reader, self._root = reader, root
        self._data: dict[str, bytes] = {}
        self._paths: list[str] = []
        self._there: set[str] = set()
        self._seq = 0
        self._shards: dict[str, tuple[int, int, int]] = {}
        self._schema = b""
        self._machine: Any = None

    async def records(self) -> bytes:
        """The lines of one sample; before the first, the greeting and the facts."""
        out = b""
        if self._seq % RARELY == 0:
            await self._survey()
        self._data = await self._reader.read_files(_EVERY_TIME)
        stats = await self._reader.read_files([f"/proc/{pid}/stat" for pid, *_ in self._shards.values()], keep=False)
        if self._machine is None:
            self._machine = self._space()["Machine"]()
            out += await self._greeting()
        names = ",".join(sorted(self._shards)).encode() or b"-"
        if names != self._schema:
            self._schema = names
            out += b"K %d %d %s\n" % (len(HOST_COLUMNS), len(SHARD_COLUMNS), names)
        now = float(self._data.get("/proc/uptime", b"0").split(b" ")[0])
        booted = re.search(rb"\nbtime (\d{1,18})\n", self._data.get("/proc/stat", b""))
        words = self._machine.tokens()
        words.append(b"%d" % (int(booted[1]) * 1000 + now * 1000) if booted else b"-")
        for _, (pid, start, token) in sorted(self._shards.items()):
            words += _shard(pid, start, token, stats.get(f"/proc/{pid}/stat", b""))
        self._seq += 1
        return out + b"V %d %d %s\n" % (self._seq, now * 1000, b" ".join(words))

    async def _greeting(self) -> bytes:
        paths = ("/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/osrelease", "/etc/os-release")
        boot, kernel, system = [(await self._reader.read_files([path], keep=False)).get(path, b"") for path in paths]
        number = re.match(rb"[0-9a-f]{8}", boot)
        named = re.search(rb"^ID=\"?([A-Za-z0-9._-]{1,40})", system, re.MULTILINE)
        size = re.search(rb"MemTotal: +(\d{1,15}) kB", self._data.get("/proc/meminfo", b""))
        return b"H%d 0 %s %d sftp %s\nF cpus=%d memory=%s cgroup=- container=- psi=%s os=%s\n" % (
            VERSION,
            re.sub(rb"[^!-~]", b"", kernel)[:200] or b"-",
            _CLK,
            number[0] if number else b"-",
            len(re.findall(rb"^cpu\d", self._data.get("/proc/stat", b""), re.MULTILINE)),
            b"%d" % (int(size[1]) * 1024) if size else b"-",
            b"yes" if _PRESSURES[0] in self._data else b"no",
            named[1] if named else b"-",
        )

    async def _survey(self) -> None:
        """Which devices are whole disks and real cards, and which shards there are."""
        reader = self._reader
        disks = await reader.list_folder("/sys/block")
        cards = [f"/sys/class/net/{name}/device" for name in await reader.list_folder("/sys/class/net")]
        self._there = {f"/sys/block/{name}" for name in disks} | await reader.existing(cards)
        names = [name for name in await reader.list_folder(self._root) if _NAME.fullmatch(name)]
        found = await reader.read_files([f"{self._root}/{name}/pid" for name in names], keep=False)
        self._shards = {}
        for name in names:
            said = _PID_FILE.match(found.get(f"{self._root}/{name}/pid", b""))
            if said is not None:
                self._shards[name] = (int(said[1]), int(said[2]), int(said[3]))

    def _space(self) -> dict[str, Any]:
        """The names of the host sampler, with our bytes in place of its open files."""
        space: dict[str, Any] = {}
        for name in ("files", "machine"):
            text = files(__package__).joinpath("host", f"{name}.py").read_text("utf-8")
            exec(compile(text, name, "exec"), space)  # noqa: S102 - our own text
            if name == "files":
                space.update(
                    opened=self._opened, again=self._again, lines=self._again, there=self._exists, TICK=10**6 // _CLK
                )
        return space

    def _opened(self, path: bytes) -> int:
        name = path.decode()
        if name not in self._data:
            return -1
        self._paths.append(name)
        return len(self._paths) - 1

    def _again(self, descriptor: int, _size: int = 0) -> bytes:
        return self._data.get(self._paths[descriptor], b"") if descriptor >= 0 else b""

    def _exists(self, path: bytes) -> bool:
        return path.decode("utf-8", "replace") in self._there


def _shard(pid: int, start: int, token: int, stat: bytes) -> list[bytes]:
    """The numbers of a shard, by its first process."""
    words = stat[stat.rfind(b")") + 2 :].split()
    gone = [b"0", b"%d" % token, b"0", *[b"-"] * 7]
    try:
        if int(words[19]) != start or words[0] in (b"Z", b"X"):
            return gone
        cpu = sum(int(word) for word in words[11:15]) * (10**6 // _CLK)
        running = b"0" if words[0] in (b"T", b"t") else b"1"
        return [b"%d" % pid, b"%d" % token, running, b"%d" % cpu, b"%d" % (int(words[21]) * _PAGE), *[b"-"] * 5]
    except (ValueError, IndexError):
        return gone
