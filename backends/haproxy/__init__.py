"""HAProxy as the router: its runtime API for what changes, and files so that a restart keeps it (S4.9)."""

from sidestep.backends.haproxy.engine import HaproxyRouter

__all__ = ["HaproxyRouter"]
