"""The planner as the daemon asks it: with the goals of plugins, which are loaded when a policy names them."""

from __future__ import annotations

from functools import partial
from typing import Final

from sidestep.planning import propose as _propose
from sidestep.plugins.goals import Plugged

PLUGGED: Final = Plugged()
#: ``planning.propose`` with every goal that is installed
propose: Final = partial(_propose, goals=PLUGGED)
