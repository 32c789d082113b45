"""sidestep moves work out of the way before hosts run hot.

The folders at the top of the repository are the sub-packages of this one; the
links in this folder make them importable as ``sidestep.fleet`` and so on.
Functions run on the hosts of a fleet by ``function``, ``submit``, ``map`` and ``workers``
(docs/functions.md), which are imported when they are first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "function", "map", "submit", "workers"]

_NAMES = {"function": "function", "submit": "submit", "map": "map_", "workers": "workers"}


def __getattr__(name: str) -> Any:
    """The library's calls, from the module that has them."""
    if name in _NAMES:
        return getattr(import_module("sidestep.autopilot.functions.api"), _NAMES[name])
    raise AttributeError(f"module 'sidestep' has no attribute {name!r}")
