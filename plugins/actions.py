"""Loads the actions that a fleet file names; one that cannot be loaded says so when it is asked for.

An action that fails is left out of the plan, which names it: it is an offer, and nobody is worse off without it than
without its package. What runs is in the plan, so a plugin that fails later cannot keep it from being taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sidestep.fleet.actions import ActionMaker, ShardAction
from sidestep.fleet.extensions import ACTIONS, PluginError, available, load


class PluggedActions(Mapping[str, ActionMaker]):
    """The actions of plugins by name, each imported when it is first asked for.

    One that is installed and cannot be loaded is there, too: what it makes raises why.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, ActionMaker] = {}

    def __getitem__(self, name: str) -> ActionMaker:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> ActionMaker:
        if name not in self:
            raise KeyError(name)
        try:
            maker = load(ACTIONS, name)
        except PluginError as error:
            return _failing(error)
        if not callable(maker):
            return _failing(PluginError(f"it is {type(maker).__name__}, which cannot be called"))
        made: ActionMaker = maker
        return made

    def __contains__(self, name: object) -> bool:
        return any(entry.name == name for entry in available(ACTIONS))

    def __iter__(self) -> Iterator[str]:
        return (str(entry.name) for entry in available(ACTIONS))

    def __len__(self) -> int:
        return len(available(ACTIONS))


def _failing(error: PluginError) -> ActionMaker:
    def make(params: Mapping[str, Any]) -> ShardAction:
        del params
        raise error

    return make
