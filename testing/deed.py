"""One action of a plugin tried on real shards: what rules of ``check_action`` do with it, and what they look at.

Commands run as the daemon has them run. What comes of them is read from ``/proc``, by other means than theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidestep.backends.base import Order, ShardObservation
from sidestep.backends.embedded import proctree
from sidestep.backends.process import ProcessBackend
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.actions import ActionMaker, ActionSpec, Applied, Target, applied
from sidestep.fleet.errors import HostError
from sidestep.fleet.inventory import ShardSpec
from sidestep.fleet.labels import Label
from sidestep.testing.case import OLD, PATIENCE, Broken, insist
from sidestep.testing.ground import EmbeddedGround, NotHere
from sidestep.testing.subject import CounterSubject

#: what ``verify`` ends with
IN_FORCE: Final = 0
NOT_IN_FORCE: Final = 1
#: seconds that one command may take
SECONDS: Final = 10.0
NAME: Final = Label("kit")
Shards = Callable[[int, Label], ShardSpec]


def target(spec: ShardSpec, *, cpu: float = 2.0, memory: float = 512 << 20, priority: int = 5) -> Target:
    """What a plugin is told of a shard of the kit."""
    return Target(
        fleet=Label("kit"), shard=spec.name, app=spec.app, backend="process", host=spec.host, priority=priority,
        cpu=cpu, memory=memory, seconds=SECONDS, labels=((Label("disk"), Label("ssd")),),
    )  # fmt: skip


@dataclass(kw_only=True)
class Deed:
    """A shard of its own, and a neighbour, both on one host; ``end`` leaves nothing of them."""

    ground: EmbeddedGround
    maker: ActionMaker
    params: dict[str, object]
    shards: Shards
    number: int
    backend: ProcessBackend = field(default_factory=lambda: ProcessBackend("kit"))
    #: the ground's first
    host: str = "h1"
    transport: Transport = field(init=False)
    mine: ShardSpec = field(init=False)
    other: ShardSpec = field(init=False)
    one: Applied = field(init=False)
    _orders: int = 0

    def __post_init__(self) -> None:
        self.mine, self.other = (self.shards(self.number + at, Label(self.host)) for at in range(2))

    async def begin(self) -> None:
        """Both shards serve, and the plugin has an offer for the first. Raises NotHere where there is none."""
        found = self.maker(self.params).offer(target(self.mine))
        if found is None:
            raise NotHere("it offers nothing for the shard of the kit: give the kit one of yours (shards=...)")
        spec = ActionSpec(name=NAME, plugin="kit")
        self.one = applied(spec, target(self.mine), found)
        self.transport = self.ground.transport(self.host)
        await self.transport.connect()
        address = self.ground.address(self.host)
        await asyncio.gather(
            *(self.backend.start(self.transport, shard, OLD, address) for shard in (self.mine, self.other))
        )

    # -- its commands

    async def run(
        self, what: str, *, shard: ShardSpec | None = None, command: str = "", key: str = "deed", seconds: float = 0.0
    ) -> int | None:
        """One of them as the daemon has it run; how ``verify`` ended. Raises HostError."""
        known = {"validate": self.one.validate, "do": self.one.execute, "undo": self.one.revert}
        order = Order(
            key=f"{key}-{self.number}", name=NAME, what=what, command=command or known.get(what, self.one.verify),  # type: ignore[arg-type]
            verify=self.one.verify, seconds=seconds or self.one.seconds,
        )  # fmt: skip
        return await self.backend.act(self.transport, shard or self.mine, OLD, order)

    async def can(self) -> None:
        """It can be done here, and is not in force. Raises NotHere where its own ``validate`` says that it cannot."""
        try:
            status = await self.run("validate")
        except HostError as error:
            if "ended with status" in str(error):
                raise NotHere(f"its validate says that it cannot be done to the shard of the kit: {error}") from error
            raise
        insist(status == NOT_IN_FORCE, f"before anything was done its verify ends with status {status}, not 1")

    async def done(self, key: str = "deed") -> None:
        """It is done, and in force."""
        status = await self.run("do", key=key)
        insist(status == IN_FORCE, f"after execute its verify ends with status {status}, not 0")

    async def undone(self, key: str = "deed") -> None:
        """It is taken back, and not in force."""
        status = await self.run("undo", key=key)
        insist(status == NOT_IN_FORCE, f"after revert its verify ends with status {status}, not 1")

    # -- what is so

    async def seen(self, shard: ShardSpec) -> ShardObservation:
        """The shard as it is found on the host."""
        return next(each for each in await self.backend.discover(self.transport) if each.shard == shard.name)

    async def facts(self, shard: ShardSpec) -> dict[str, str]:
        """What the kernel says of the processes of a shard, and what lies in its state folder."""
        group = (await self.seen(shard)).pid
        found = {"processes": str(len(list(_group(group))))}
        for at, pid in enumerate(_group(group)):
            found |= {f"{name} of process {at + 1}": value for name, value in _process(pid).items()}
        state = self.ground.home(self.host) / ".local/state/sidestep/kit" / str(shard.name) / "state"
        files = sorted(path for path in state.rglob("*")) if state.is_dir() else []
        kept = [f"{path.relative_to(state)} {path.stat().st_size}" for path in files]
        return {**found, "files of its state": ", ".join(kept)}

    async def serves(self) -> None:
        """A client has a write acknowledged."""
        seen = await self.seen(self.mine)
        try:
            await CounterSubject(make=lambda: self.backend).add(seen.address, seen.port)
        except OSError as error:
            raise Broken(f"afterwards the shard does not serve: {error}") from error

    def strangers(self) -> set[int]:
        """Processes of the host that belong to neither shard, and to none of our sessions."""
        server = self.ground.fleet.server(self.host)
        return {pid for pid, _ in self.ground.fleet.tree(self.host) if pid != server}

    async def kill(self) -> None:
        """``kill -9`` of the shard, whole."""
        group = (await self.seen(self.mine)).pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 9)
        ends = time.monotonic() + PATIENCE
        while list(_group(group)):
            insist(time.monotonic() < ends, "the shard cannot be killed")
            await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Leave nothing."""
        if not hasattr(self, "transport"):
            return
        for shard in (self.mine, self.other):
            with contextlib.suppress(HostError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self.backend.stop(self.transport, shard, 1 << 40)
        with contextlib.suppress(HostError):
            await self.transport.aclose()


def _group(group: int) -> Iterator[int]:
    """The processes of a group that live."""
    for entry in sorted(Path("/proc").iterdir(), key=lambda path: path.name):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            words = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(words[2]) == group and words[0] not in "ZX":
                yield int(entry.name)


def _process(pid: int) -> dict[str, str]:
    """What may be done to a process from outside, apart from its memory."""
    found = {}
    with contextlib.suppress(OSError):
        where = Path(f"/proc/{pid}")
        status = dict(
            line.split(":\t", 1) for line in (where / "status").read_text("utf-8").splitlines() if ":\t" in line
        )
        words = (where / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        found = {
            "cores": status.get("Cpus_allowed_list", ""), "nice": words[16], "policy": words[38],
            "stopped": str(words[0] in "Tt"), "oom score": (where / "oom_score_adj").read_text("ascii").strip(),
            "limits": (where / "limits").read_text("ascii"), "program": proctree.command_line(pid),
        }  # fmt: skip
    return found
