"""What a third party implements, and how it is found: the public plugin surface (floor 3).

Import from here and from nowhere deeper: these names follow semantic versioning, the
modules behind them may move. In-tree backends are registered through the same
entry-point groups as anybody's.
"""

from sidestep.backends.base import (
    Backend,
    Capability,
    Move,
    Resizer,
    Router,
    ShardObservation,
    Sizes,
    Sizing,
    StepResult,
)
from sidestep.backends.routing.engine import Endpoint, EndpointLoad, RouterEngine
from sidestep.backends.ssh.base import Channel, Completed, Transport
from sidestep.backends.ssh.target import SshTarget
from sidestep.fleet.actions import ActionMaker, Offer, ShardAction, Target
from sidestep.fleet.errors import HostError, HostUnreachable, SidestepError, UsageError
from sidestep.fleet.extensions import (
    ACTIONS,
    BACKENDS,
    CONSTRAINTS,
    GOALS,
    ROUTERS,
    Loaded,
    PluginError,
    available,
    load,
)
from sidestep.fleet.inventory import HostSpec, ShardSpec
from sidestep.fleet.labels import Label, scrub
from sidestep.fleet.machines import ShardState, StepName
from sidestep.fleet.pages import Page, PageLine, PageView, Role
from sidestep.fleet.routing import RouterSpec
from sidestep.fleet.sources import Reading, Source, SourceMaker
from sidestep.planning.constraints import Constraint
from sidestep.planning.goals import About, Goal
from sidestep.planning.model import State
from sidestep.plugins.goals import load_goals
from sidestep.plugins.notifiers import Notice, Notifier
from sidestep.plugins.shell import ShellBackend
from sidestep.plugins.transports import Connector

__all__ = [
    "ACTIONS",
    "BACKENDS",
    "CONSTRAINTS",
    "GOALS",
    "ROUTERS",
    "About",
    "ActionMaker",
    "Backend",
    "Capability",
    "Channel",
    "Completed",
    "Connector",
    "Constraint",
    "Endpoint",
    "EndpointLoad",
    "Goal",
    "HostError",
    "HostSpec",
    "HostUnreachable",
    "Label",
    "Loaded",
    "Move",
    "Notice",
    "Notifier",
    "Offer",
    "Page",
    "PageLine",
    "PageView",
    "PluginError",
    "Reading",
    "Resizer",
    "Role",
    "Router",
    "RouterEngine",
    "RouterSpec",
    "ShardAction",
    "ShardObservation",
    "ShardSpec",
    "ShardState",
    "ShellBackend",
    "SidestepError",
    "Sizes",
    "Sizing",
    "Source",
    "SourceMaker",
    "SshTarget",
    "State",
    "StepName",
    "StepResult",
    "Target",
    "Transport",
    "UsageError",
    "available",
    "load",
    "load_goals",
    "scrub",
]
