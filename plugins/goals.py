"""Loads the goals that a policy names and that are not ours; one that cannot be loaded is named and left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sidestep.fleet.extensions import GOALS, PluginError, available, load
from sidestep.planning.goals import BUILT_IN, Maker


def load_goals(names: Iterable[str]) -> tuple[dict[str, Maker], tuple[PluginError, ...]]:
    """What makes each goal, by name, for ``planning.goals.make``; and why others cannot be used.

    A policy whose goal is missing is planned by the goals that are there.
    """
    found: dict[str, Maker] = {}
    problems = []
    for name in dict.fromkeys(names):
        if name in BUILT_IN:
            found[name] = BUILT_IN[name]
            continue
        try:
            maker = load(GOALS, name)
        except PluginError as error:
            problems.append(error)
            continue
        if callable(maker):
            found[name] = maker
        else:
            problems.append(PluginError(f"plugin {name} is no goal: {type(maker).__name__} cannot be called",
                                        hint="point its entry point to a class that takes an About"))  # fmt: skip
    return found, tuple(problems)


class Plugged(Mapping[str, Maker]):
    """The goals of plugins by name, each imported when it is first asked for.

    One that cannot be loaded is not there: whoever plans with its policy says so in the plan.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Maker | None] = {}

    def __getitem__(self, name: str) -> Maker:
        if name not in self._loaded:
            self._loaded[name] = load_goals((name,))[0].get(name)
        maker = self._loaded[name]
        if maker is None:
            raise KeyError(name)
        return maker

    def __iter__(self) -> Iterator[str]:
        return (name for name in (str(entry.name) for entry in available(GOALS)) if name in self)

    def __len__(self) -> int:
        return len(list(iter(self)))
