"""A real fleet on this machine: hosts, shards, traffic. Only the machine boundary is imitated (design 10)."""

from sidestep.backends.embedded.hosts import EmbeddedFleet

__all__ = ["EmbeddedFleet"]
