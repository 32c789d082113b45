"""What makes the plugins of one group, by name: imported when first asked for, and looked up once.

A lookup reads what every installed distribution declares, which is milliseconds: planners ask for every shard. A name
that was not there is looked for again, so that a package installed meanwhile is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from sidestep.fleet.extensions import PluginError, load, names

Maker = TypeVar("Maker")


class Makers(Mapping[str, Maker]):
    """A plugin that is installed and cannot be loaded is there, too: what it makes raises why."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._names: frozenset[str] = frozenset()
        self._loaded: dict[str, Maker] = {}

    def __getitem__(self, name: str) -> Maker:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._names:
            self._names = names(self._group)
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(names(self._group)))

    def __len__(self) -> int:
        return len(names(self._group))

    def _load(self, name: str) -> Maker:
        if name not in self:
            raise KeyError(name)
        try:
            maker = load(self._group, name)
        except PluginError as error:
            return self._failing(error)
        if not callable(maker):
            return self._failing(PluginError(f"it is {type(maker).__name__}, which cannot be called"))
        return cast(Maker, maker)

    @staticmethod
    def _failing(error: PluginError) -> Maker:
        def make(*_: Any) -> Any:
            raise error

        return cast(Maker, make)
