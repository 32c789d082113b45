"""What a third party implements, and how it is found: the public plugin surface (floor 3).

Import from here and from nowhere deeper: these names follow semantic versioning, the
modules behind them may move. In-tree backends are registered through the same
entry-point groups as anybody's.
"""

from sidestep.backends.base import Backend, Capability, Move, Router, ShardObservation, StepResult
from sidestep.backends.ssh.base import Channel, Completed, Transport
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError
from sidestep.fleet.inventory import HostSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ShardState, StepName
from sidestep.planning.goals import About, Goal
from sidestep.planning.model import State
from sidestep.plugins.goals import GOALS, load_goals
from sidestep.plugins.loader import BACKENDS, Loaded, PluginError, available, load

__all__ = [
    "BACKENDS",
    "GOALS",
    "About",
    "Backend",
    "Capability",
    "Channel",
    "Completed",
    "Goal",
    "HostError",
    "HostSpec",
    "HostUnreachable",
    "Label",
    "Loaded",
    "Move",
    "PluginError",
    "Router",
    "ShardObservation",
    "ShardSpec",
    "ShardState",
    "SidestepError",
    "State",
    "StepName",
    "StepResult",
    "Transport",
    "available",
    "load",
    "load_goals",
    "scrub",
]
