"""Loads the constraints that a policy names; one that cannot be loaded says so when it is asked for.

Unlike a goal, a constraint that fails is not left out: the planner refuses to plan without it, with what is said here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sidestep.fleet.extensions import CONSTRAINTS, PluginError, available, load
from sidestep.planning.constraints import Constraint, ConstraintMaker
from sidestep.planning.goals import About


class PluggedConstraints(Mapping[str, ConstraintMaker]):
    """The constraints of plugins by name, each imported when it is first asked for.

    One that is installed and cannot be loaded is there, too: what it makes raises why.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, ConstraintMaker] = {}

    def __getitem__(self, name: str) -> ConstraintMaker:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> ConstraintMaker:
        if name not in self:
            raise KeyError(name)
        try:
            maker = load(CONSTRAINTS, name)
        except PluginError as error:
            return _failing(error)
        if not callable(maker):
            return _failing(PluginError(f"it is {type(maker).__name__}, which cannot be called"))
        made: ConstraintMaker = maker
        return made

    def __contains__(self, name: object) -> bool:
        return any(entry.name == name for entry in available(CONSTRAINTS))

    def __iter__(self) -> Iterator[str]:
        return (str(entry.name) for entry in available(CONSTRAINTS))

    def __len__(self) -> int:
        return len(available(CONSTRAINTS))


def _failing(error: PluginError) -> ConstraintMaker:
    def make(about: About) -> Constraint:
        del about
        raise error

    return make
