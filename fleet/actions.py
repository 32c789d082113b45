"""Actions of plugins: what a package can do to a shard where it is, as declared, offered, and put into plans.

A plugin is asked for words only: the commands that do it and take it back. They become part of the plan, so that
what is approved is, letter for letter, what runs; and whoever takes it back needs the plugin no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol, runtime_checkable

from msgspec import Struct

from sidestep.fleet.labels import Label, scrub

#: characters that one command of an offer may have, and the longest of its lines
MOST_TEXT: Final = 8192
MOST_LINE: Final = 240
#: what a shard's demand may be held to, in cores and bytes
MOST_CPU: Final = 4096.0
MOST_MEMORY: Final = 1 << 50


class ActionSpec(Struct, frozen=True, kw_only=True):
    """One action as the fleet file declares it (``[action.NAME]``), for the shards of ``apps`` and for ``shards``.

    ``params`` is JSON of what its plugin is given.
    """

    name: Label
    plugin: str
    apps: tuple[Label, ...] = ()
    shards: tuple[Label, ...] = ()
    params: str = "{}"

    def covers(self, shard: str, app: str) -> bool:
        """Whether it may be done to that shard."""
        return shard in self.shards or app in self.apps


class Target(Struct, frozen=True, kw_only=True):
    """What a plugin is told of the shard that its action would be done to.

    ``cpu`` (cores) and ``memory`` (bytes) are what the shard is predicted to need at its peak within the policy's
    horizon, at the policy's quantile; ``seconds`` is how long one command may take at most.
    """

    fleet: Label
    shard: Label
    app: Label
    backend: str
    host: Label
    #: 1 matters most, 5 least
    priority: int
    cpu: float
    memory: float
    seconds: float
    #: of the host, sorted
    labels: tuple[tuple[Label, Label], ...] = ()


class Offer(Struct, frozen=True, kw_only=True):
    """What a plugin would do to one shard: four commands for the POSIX shell of its host, and what comes of them.

    They run beside the shard, one at a time, with SHARD, APP, TOKEN, PID (of its first process, 0 if it is dead), PIDS
    (all of them), ADDRESS and PORT in their environment, and in a folder of their own, KEEP, which is kept until the
    action is taken back. ``validate`` exits 0 where ``execute`` can be done, and changes nothing. ``verify`` exits 0
    while the action is in force, 1 while it is not, and otherwise where it cannot tell. ``execute`` and ``revert`` may
    be repeated, also after one that was killed half way; ``revert`` also does no harm where nothing was done, or where
    the shard is dead.
    """

    #: what it does, for people
    says: str
    execute: str
    verify: str
    revert: str
    validate: str = ":"
    #: what the shard will need at most while it is in force, in cores and bytes; None: as before
    cpu: float | None = None
    memory: float | None = None
    #: share of what the shard does for its users that is lost meanwhile, 0 to 1
    loss: float
    #: how long each of the commands may take at most
    seconds: float = 5.0


@runtime_checkable
class ShardAction(Protocol):
    """An action of a plugin, made by a call with the ``params`` of the fleet file."""

    def offer(self, target: Target) -> Offer | None:
        """What it would do to that shard, or None where it has nothing to offer.

        Pure and quick: it asks nobody, and says the same of the same shard. What it raises is named in the plan,
        which does without it.
        """


class ActionMaker(Protocol):
    """An entry point of ``sidestep.actions``."""

    def __call__(self, params: Mapping[str, Any]) -> ShardAction:
        """Raises UsageError for parameters that cannot be used."""


class Applied(Struct, frozen=True, kw_only=True):
    """An offer as a plan holds it; all of it is in the plan's digest."""

    name: Label
    plugin: Label
    params: str
    says: Label
    validate: str
    execute: str
    verify: str
    revert: str
    seconds: float
    loss: float
    #: cores and bytes that the shard needs at most meanwhile; None: as before. And what it was predicted to need.
    cpu: float | None = None
    memory: float | None = None
    cpu_before: float = 0.0
    memory_before: float = 0.0


class Standing(Struct, frozen=True, kw_only=True):
    """An action that is in force: since when (unix time), on which shard, and under which token it was done."""

    shard: Label
    token: int
    since: float
    applied: Applied


def applied(spec: ActionSpec, target: Target, offer: object) -> Applied:
    """An offer as it goes into a plan. Raises ValueError or TypeError, with what is wrong, for one that cannot."""
    if not isinstance(offer, Offer):
        raise TypeError(f"it offers {type(offer).__name__}, not an Offer")
    for name in ("validate", "execute", "verify", "revert"):
        _readable(name, getattr(offer, name))
    if not isinstance(offer.says, str) or not offer.says or scrub(offer.says) != offer.says:
        raise ValueError("what it says is not one line of at most 240 printable characters")
    return Applied(
        name=spec.name, plugin=scrub(spec.plugin), params=spec.params, says=scrub(offer.says),
        validate=offer.validate, execute=offer.execute, verify=offer.verify, revert=offer.revert,
        seconds=_number("seconds", offer.seconds, 0.1, target.seconds),
        loss=_number("loss", offer.loss, 0.0, 1.0),
        cpu=None if offer.cpu is None else _number("cpu", offer.cpu, 0.0, MOST_CPU),
        memory=None if offer.memory is None else _number("memory", offer.memory, 0.0, MOST_MEMORY),
        cpu_before=float(target.cpu), memory_before=float(target.memory),
    )  # fmt: skip


def _readable(name: str, command: object) -> None:
    """Whoever approves has to see all that will run: no line is longer than a screen's, nothing hides or turns text."""
    if not isinstance(command, str) or not command.strip():
        raise ValueError(f"its command {name} is empty")
    if len(command) > MOST_TEXT:
        raise ValueError(f"its command {name} has {len(command)} characters; the most is {MOST_TEXT}")
    for at, line in enumerate(command.split("\n"), 1):
        if scrub(line) != line:
            said = f"is longer than {MOST_LINE} characters" if len(line) > MOST_LINE else "holds what nobody can see"
            raise ValueError(f"line {at} of its command {name} {said}")


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"its {name} is {value!r}, no number")
    if not low <= value <= high:
        raise ValueError(f"its {name} is {value:g}; it has to be {low:g} to {high:g}")
    return float(value)
