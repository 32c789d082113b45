"""What a shard's declaration says of its container, and what hosts answer. Pure."""

from __future__ import annotations

import re
import shlex
from typing import Final

from sidestep.plugins import HostError, ShardObservation, ShardSpec, ShardState, scrub

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:%_-]{0,253}")
_STATES: Final = {"running": ShardState.RUNNING, "paused": ShardState.FROZEN, "dead": ShardState.FAILED}
#: where the container has its files unless the shard says ``state_path``
STATE: Final = "/state"


def container(host: str, step: str, shard: ShardSpec) -> tuple[str, str]:
    """The words after ``podman run`` of ours, quoted for a shell, and which of them is the image.

    ``start`` is ``[--option=value ...] IMAGE [COMMAND ...]``. Raises HostError where it is not, or asks for what
    would break a rule: another name, another life than the shard's.
    """
    try:
        words = shlex.split(shard.start)
    except ValueError as error:
        raise HostError(host, step, f"start of {shard.name} cannot be read: {error}") from error
    options = next((place for place, word in enumerate(words) if not word.startswith("-")), len(words))
    if options == len(words):
        raise HostError(
            host, step, f"start of {shard.name} names no image", hint="[--option=value ...] IMAGE [COMMAND]"
        )
    for word in words[:options]:
        name, equals, _ = word.partition("=")
        if not equals or name in {"--name", "--restart", "--rm", "--replace", "--pull", "--label", "--network"}:
            raise HostError(host, step, f"start of {shard.name} may not say {scrub(word)}", hint="--option=value")
    return shlex.join(words), words[options]


def about(host: str, step: str, fleet: str, shard: ShardSpec, address: str) -> dict[str, str | int]:
    """The values of an operation on that shard. Raises HostError for what cannot be a container."""
    for name in (fleet, shard.name):
        if not _NAME.fullmatch(name):
            raise HostError(host, step, f"{name!r} cannot name a container")
    if not _ADDRESS.fullmatch(address):
        raise HostError(host, step, f"{address!r} cannot be an address")
    if shard.driver != "restart":
        raise HostError(host, step, f"{shard.name} keeps its state in files: its driver has to be restart")
    if shard.failover != "wait":
        raise HostError(
            host, step, f"{shard.name} cannot fail over: a container here has no lease", hint="failover = wait"
        )
    words, image = container(host, step, shard)
    return {
        "fleet": fleet, "shard": shard.name, "words": words, "image": image, "state_path": shard.state_path or STATE,
        "cmd_quiesce": shard.quiesce, "cmd_ready": shard.ready,
    }  # fmt: skip


def observed(host: str, step: str, fields: list[str]) -> ShardObservation:
    """The shard that ``SHARD STATE PID STARTED TOKEN PORT ADDRESS`` is about. Raises HostError."""
    try:
        shard, state, pid, started, token, port, address = fields
        return ShardObservation(
            shard=scrub(shard), host=scrub(host), state=_STATES[state], token=int(token), pid=int(pid),
            started=int(started), address="" if address == "-" else scrub(address), port=int(port),
            detail=scrub("its container has ended" if state == "dead" else ""),
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        raise HostError(host, step, "unexpected answer", tail=" ".join(fields)) from error
