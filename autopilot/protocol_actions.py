"""Requests about actions of plugins: which there are, and an operator's own."""

from __future__ import annotations

from msgspec import Struct

from sidestep.fleet.actions import Standing
from sidestep.fleet.labels import Label


class ListActions(Struct, frozen=True, tag="list-actions"):
    """Which actions the fleet file declares, and which are in force. Answered by ActionList."""


class ProposeAction(Struct, frozen=True, tag="propose-action"):
    """An operator's own action of a plugin, or with ``lift`` taking it back. Answered by PlanView; needs approval."""

    name: str
    shard: str
    lift: bool = False
    reason: str = ""


class DeclaredAction(Struct, frozen=True, kw_only=True):
    """One action of the fleet file; ``problem`` is why it cannot be done at all, or ""."""

    name: Label
    plugin: Label
    apps: tuple[Label, ...] = ()
    shards: tuple[Label, ...] = ()
    problem: Label = Label("")


class ActionList(Struct, frozen=True, tag="actions"):
    """All of them; ``planned`` says whether the policy lets the planner propose any."""

    actions: tuple[DeclaredAction, ...]
    standing: tuple[Standing, ...]
    planned: bool


ActionRequest = ListActions | ProposeAction
