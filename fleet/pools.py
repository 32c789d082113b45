"""Pools of pre-initialised instances as declared in ``[pool.NAME]`` (S4); values only, already checked."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from sidestep.fleet.labels import Label

#: what an instance is: a fork of a process that has imported the service, or a process started by a command
PoolKind = Literal["python", "command"]
#: what READY instances do meanwhile
Idle = Literal["frozen", "running"]
#: who may make a pool serve with fewer instances: the forecast alone, only if what is measured agrees, or
#: what is measured also below the forecast
Shrink = Literal["forecast", "agreed", "measured"]


class PoolSpec(Struct, frozen=True, kw_only=True):
    """One pool. Times are seconds, sizes bytes; ``min``, ``max`` and ``guarantee`` count instances that take room.

    ``service`` is what a ``python`` pool's zygote imports, found in the folder ``path`` of the host too; the commands
    are those of a ``command`` pool, run by the host's POSIX shell with ``POOL``, ``INSTANCE``, ``PORT``,
    ``ADDRESS``, ``TENANT`` and ``STATE`` (a folder of the instance's own) in the environment.
    """

    name: Label
    #: whose requests instances serve: READY ones belong to none of them; never empty once a fleet file was read
    apps: tuple[Label, ...] = ()
    kind: PoolKind = "python"
    hosts: tuple[Label, ...]
    service: str = ""
    path: str = ""
    python: str = "python3"
    start: str = ""
    ready: str = ""
    activate: str = ""
    drain: str = ""
    save: str = ""
    scrub: str = ""
    idle: Idle = "frozen"
    #: first and last port that instances may listen on, on every host
    ports: tuple[int, int] = (31000, 31999)
    #: requests at once that one instance serves
    places: int = 8
    #: instances that always serve each app, and the most that the pool has
    min: int = 1
    max: int
    ready_min: int = 1
    guarantee: int = 0
    #: 1 (highest) to 5
    priority: int = 3
    #: what one instance takes; 0 takes nothing
    cpu: float = 0.0
    memory: int = 0
    #: how many times as bad a missing instance is as one too many
    cost_ratio: float = 100.0
    #: instances serve for demand at this quantile
    activate_quantile: float = 0.9
    margin: float = 1.0
    stabilise: float = 120.0
    #: largest change at a time; 0 is no limit
    step_up: int = 0
    step_down: int = 2
    shrink: Shrink = "agreed"
    react_high: float = 0.85
    react_low: float = 0.4
    react_most: int = 4
    #: configured instances that do not run, and how often one of them is woken to see that it can
    cold: int = 0
    drill_every: float = 86400.0
    #: instances that may be held for functions that are only expected, and how early
    speculative: int = 0
    speculative_lead: float = 300.0
    warm_deadline: float = 60.0
    activate_deadline: float = 5.0
    drain_deadline: float = 30.0
