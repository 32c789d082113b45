"""Shards as systemd units in a slice of their fleet, with limits that are changed in place."""

from sidestep.backends.systemd.backend import SystemdBackend

__all__ = ["SystemdBackend"]
