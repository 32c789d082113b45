"""Asking hosts whether they can do what driver ``criu`` needs."""

from __future__ import annotations

from msgspec import Struct

from sidestep.backends.process.criu import REMEDIES
from sidestep.backends.process.scripts import perform
from sidestep.backends.ssh.base import Transport
from sidestep.fleet.labels import Label, scrub


class Ability(Struct, frozen=True, kw_only=True):
    """Whether a host can move processes with their memory; ``code`` names why not."""

    code: str = ""
    text: Label = Label("")
    #: versions as they are said; "" is not known
    criu: Label = Label("")
    kernel: Label = Label("")
    #: also processes with network sockets
    sockets: bool = False

    @property
    def command(self) -> str:
        """What shows it on the host."""
        return REMEDIES.get(self.code, ("", ""))[0]

    @property
    def remedy(self) -> str:
        """What helps."""
        return REMEDIES.get(self.code, ("", ""))[1]


async def ability(transport: Transport, *, timeout: float = 30.0) -> Ability:
    """Look whether the host can. Raises HostError where it cannot be asked; leaves nothing behind."""
    values: dict[str, str | int] = {"fleet": "criu", "shard": "", "driver": "criu"}
    said = dict(await perform(transport, "criu", "able", values, timeout=timeout))
    return Ability(
        code=str(scrub(said.get("code", ""), 40)),
        text=scrub(said.get("text", "")),
        criu=scrub(said.get("criu", ""), 40),
        kernel=scrub(said.get("kernel", ""), 80),
        sockets=said.get("sockets") == "yes",
    )
