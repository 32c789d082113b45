"""The planner as the daemon asks it: with what plugins can do, which are loaded when a policy or a fleet names them."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import Final

from sidestep.fleet import extensions
from sidestep.fleet.actions import ActionMaker
from sidestep.planning import plan_move as _plan_move
from sidestep.planning import propose as _propose
from sidestep.planning.asked import plan_action as _plan_action
from sidestep.planning.constraints import ConstraintMaker
from sidestep.planning.manual_resize import plan_resize as _plan_resize
from sidestep.planning.resharding import plan_reshard as _plan_reshard
from sidestep.plugins import BACKENDS, PluginError, load
from sidestep.plugins.goals import Plugged
from sidestep.plugins.makers import Makers


class Resizable(Container[str]):
    """The names of installed backends that change limits in place; one is imported when it is asked for."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if name not in self._known:
            try:
                self._known[name] = "resize" in load(BACKENDS, name).capabilities
            except (PluginError, AttributeError):
                self._known[name] = False
        return self._known[name]


PLUGGED: Final = Plugged()
CONSTRAINTS: Final[Makers[ConstraintMaker]] = Makers(extensions.CONSTRAINTS)
ACTIONS: Final[Makers[ActionMaker]] = Makers(extensions.ACTIONS)
RESIZABLE: Final = Resizable()
#: ``planning.propose`` with every goal, constraint, action and backend that is installed
propose: Final = partial(_propose, goals=PLUGGED, constraints=CONSTRAINTS, actions=ACTIONS, resizable=RESIZABLE)
#: an operator's own plans, which keep to the constraints likewise
plan_move: Final = partial(_plan_move, constraints=CONSTRAINTS)
#: which ask nobody but the action itself: it goes nowhere
plan_action: Final = partial(_plan_action, actions=ACTIONS)
plan_reshard: Final = partial(_plan_reshard, constraints=CONSTRAINTS)
plan_resize: Final = partial(_plan_resize, backends=RESIZABLE)
