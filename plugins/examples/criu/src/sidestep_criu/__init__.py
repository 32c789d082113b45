"""Moves processes with their memory, by CRIU, where both hosts can; and from their files where one cannot."""

from __future__ import annotations

import shlex
from importlib.resources import files
from typing import Final

from msgspec.structs import replace

from sidestep.plugins import HostError, Move, ShardSpec, ShellBackend, StepName, StepResult, Transport, scrub

__all__ = ["CriuBackend"]

_START: Final = files("sidestep_criu").joinpath("start.sh").read_text("utf-8")
_RESUME: Final = files("sidestep_criu").joinpath("resume.sh").read_text("utf-8")
_DUMP: Final = files("sidestep_criu").joinpath("dump.sh").read_text("utf-8")
#: says nothing where an image can be made and brought back; else why not, in one line
_ABLE: Final = """command -v criu >/dev/null || { echo 'there is no criu here'; exit; }
said=$(criu check 2>&1) || printf '%s\\n' "$said" | grep -E 'Error|root' | head -n 1"""
#: what the shard's folder says came of it
_HOW: Final = 'cat "${{XDG_STATE_HOME:-$HOME/.local/state}}"/sidestep/{fleet}/{shard}/state/.criu/how 2>/dev/null'


class CriuBackend(ShellBackend):
    """Shards of the driver ``restart`` whose memory goes with them: warm caches, open files, what was computed so far.

    An image of the memory is never more than a short cut: it counts once, for the next owner, while the files are
    as they were when it was taken. Whatever else happens the shard starts from its files, as the driver says.
    """

    name = "criu"

    def commands(self, shard: ShardSpec) -> ShardSpec:
        """The shard with a shell around its command, and a dump in front of its stop. Raises HostError."""
        if shard.driver != "restart":
            raise HostError(
                shard.host, "start", f"{shard.name}: memory goes along with files: driver has to be restart"
            )
        quiesce = f"{shard.quiesce or ':'} || exit $?\n"
        return replace(shard, start=f"app={shlex.quote(shard.start)}\n{_START}", quiesce=f"{quiesce}{_DUMP}",
                       resume=f"{_RESUME}{shard.resume}")  # fmt: skip

    async def step(
        self, name: StepName, move: Move, source: Transport, destination: Transport, notes: dict[str, str]
    ) -> StepResult:
        """Do one step; what becomes of the memory is told in the details of prepare, freeze and observe."""
        result = await super().step(name, move, source, destination, notes)
        if name == StepName.PREPARE:
            said = [f"{at.host}: {why}" for at in (source, destination) if (why := await _said(at, _ABLE))]
            told = f"without its memory: {'; '.join(said)}" if said else "with its memory"
        elif name in {StepName.FREEZE, StepName.OBSERVE}:
            at = source if name == StepName.FREEZE else destination
            words = {"fleet": shlex.quote(self.fleet), "shard": shlex.quote(move.shard.name)}
            told = await _said(at, _HOW.format(**words)) or "with its memory"
        else:
            return result
        return replace(result, detail=scrub(f"{result.detail}; {told}", 300))


async def _said(transport: Transport, command: str) -> str:
    """What a look on a host prints; nothing depends on it."""
    try:
        done = await transport.run(f"sh -c {shlex.quote(command)}", timeout=10.0)
    except HostError as error:
        return str(error).partition("\n")[0]
    return done.stdout.decode("utf-8", "replace").strip().partition("\n")[0]
