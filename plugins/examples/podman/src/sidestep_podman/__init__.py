"""Podman containers as shards of sidestep: started, limited, paused and moved with their files."""

from sidestep_podman.backend import PodmanBackend

__all__ = ["PodmanBackend"]
