"""The ``process`` backend: shards are process groups on any Linux host with a POSIX shell."""

from sidestep.backends.process.backend import ProcessBackend

__all__ = ["ProcessBackend"]
