"""The host sampler: needs nothing installed, writes nothing, dies with the connection."""

from sidestep.backends.sampler.panel import Panel
from sidestep.backends.sampler.stream import follow

__all__ = ["Panel", "follow"]
