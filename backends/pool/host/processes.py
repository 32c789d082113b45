"""Runs on hosts: the processes of a pool's instances, how they are started, asked, frozen and killed."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "instance.py")
LINE = 1 << 20


class Refused(Exception):
    """An order that cannot be done, and why."""


class Instance:
    """One instance as the supervisor knows it; ``state`` is cold, warming, ready, active, drained or dead."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.port, self.state, self.tenant = name, port, "warming", ""
        self.pid, self.dirty, self.detail = 0, False, ""
        self.process: asyncio.subprocess.Process | None = None
        self.saved: dict[str, Any] = {}
        self.frozen = False
        self.lock = asyncio.Lock()

    def told(self) -> dict[str, Any]:
        """What whoever asks is told."""
        return {
            "id": self.name,
            "state": self.state,
            "tenant": self.tenant,
            "port": self.port,
            "pid": self.pid,
            "dirty": self.dirty,
            "frozen": self.frozen,
            "saved": self.saved,
            "detail": self.detail,
        }


class Processes:
    """What a supervisor does to processes; ``folder`` is its pool's."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with open(os.path.join(folder, "config.json")) as file:
            self.config: dict[str, Any] = json.load(file)
        self.instances: dict[str, Instance] = {}
        self.epoch = self._read_epoch()
        self.zygote: asyncio.subprocess.Process | None = None
        self.zygote_lock, self.imported = asyncio.Lock(), 0.0
        self.done = asyncio.Event()
        for leaf in sorted(os.listdir(folder)):
            name, _, kind = leaf.partition(".")
            if kind == "cold":
                with open(os.path.join(folder, leaf)) as file:
                    instance = self.instances[name] = Instance(name, int(file.read() or 0))
                instance.state = "cold"
            elif kind in ("sock", "state.new") and leaf != "control.sock":
                os.unlink(os.path.join(folder, leaf))

    def _path(self, leaf: str) -> str:
        return os.path.join(self.folder, leaf)

    def _read_epoch(self) -> int:
        try:
            with open(self._path("epoch")) as file:
                return int(file.read())
        except (OSError, ValueError):
            return 0

    def _known(self, order: dict[str, Any]) -> Instance:
        try:
            return self.instances[order["id"]]
        except KeyError:
            raise Refused("there is no instance %s" % order["id"])

    def _env(self, instance: Instance, address: str = "", state: str = "") -> dict[str, str]:
        folder = self._path(instance.name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return dict(
            os.environ,
            POOL=self.config["name"],
            INSTANCE=instance.name,
            PORT=str(instance.port),
            ADDRESS=address or self.config["address"],
            TENANT=instance.tenant,
            STATE=folder,
            HANDED=state,
        )

    async def _spawn(self, argv: list[str], env: dict[str, str], **more: Any) -> asyncio.subprocess.Process:
        with open(self._path("log"), "ab") as log:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=more.get("stdin", asyncio.subprocess.DEVNULL),
                stdout=more.get("stdout", log),
                stderr=log,
                env=env,
                cwd=self.folder,
                preexec_fn=dying,
            )

    async def _run(self, argv: list[str], seconds: float, env: dict[str, str]) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=self.folder,
            preexec_fn=dying,
        )
        try:
            out, said = await asyncio.wait_for(process.communicate(), seconds)
        except asyncio.TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.returncode:
            raise Refused("status %d: %s" % (process.returncode, said.decode("utf-8", "replace").strip()[-400:]))
        return out

    async def _fork(self, name: str) -> int:
        async with self.zygote_lock:
            if self.zygote is None or self.zygote.returncode is not None:
                pipe = asyncio.subprocess.PIPE
                argv = [self.config["python"], PROGRAM, "zygote", self.folder]
                self.zygote = await self._spawn(argv, dict(os.environ), stdin=pipe, stdout=pipe)
                self.imported = float(json.loads(await self._line())["ready"])
            assert self.zygote.stdin is not None
            self.zygote.stdin.write(name.encode() + b"\n")
            return int(json.loads(await self._line())["pid"])

    async def _line(self) -> str:
        assert self.zygote is not None and self.zygote.stdout is not None
        line = await self.zygote.stdout.readline()
        if not line:
            with open(self._path("log"), "rb") as log:
                log.seek(max(0, os.path.getsize(self._path("log")) - 400))
                raise Refused("the zygote ended: %s" % log.read().decode("utf-8", "replace").strip())
        return line.decode()

    async def _ask(self, instance: Instance, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        async def asked() -> dict[str, Any]:
            reader, writer = await asyncio.open_unix_connection(instance.name + ".sock", limit=LINE)
            try:
                writer.write(json.dumps(order).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
            if not line:
                raise Refused("it ended instead of answering")
            said: dict[str, Any] = json.loads(line.decode())
            if "error" in said:
                raise Refused(said["error"])
            return said

        return await asyncio.wait_for(asked(), seconds)

    async def _freeze(self, instance: Instance) -> None:
        if self.config["idle"] == "frozen":
            os.killpg(instance.pid, signal.SIGSTOP)
            instance.frozen = True
            while state(instance.pid) not in "TtZX":  # a process on a core stops only at its next interrupt
                await asyncio.sleep(0.001)

    def _thaw(self, instance: Instance) -> None:
        if instance.frozen:
            os.killpg(instance.pid, signal.SIGCONT)
            instance.frozen = False

    async def _kill(self, instance: Instance) -> None:
        if instance.pid:
            try:
                os.killpg(instance.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            while alive(instance.pid):
                await asyncio.sleep(0.005)

    def _remove(self, leaf: str) -> None:
        try:
            os.unlink(self._path(leaf))
        except FileNotFoundError:
            pass


def dying() -> None:
    """In a new process: a group of its own, which ends with the supervisor."""
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def state(pid: int) -> str:
    """The letter of a process's state in proc(5); X where there is none."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def alive(pid: int) -> bool:
    """Whether that process runs, and is no zombie."""
    return state(pid) not in "ZX"
