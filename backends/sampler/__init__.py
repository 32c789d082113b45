"""The host sampler: needs nothing installed, writes nothing, dies with the connection."""

from sidestep.backends.sampler.records import Decoder, HostSample, ShardSample
from sidestep.backends.sampler.sample1 import sample
from sidestep.backends.sampler.stream import follow

__all__ = ["Decoder", "HostSample", "ShardSample", "follow", "sample"]
