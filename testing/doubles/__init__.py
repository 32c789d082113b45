"""Doubles of the world: a clock, a fleet with a backend that keeps the contract, and a sampler that was recorded."""

from sidestep.testing.doubles.backend import MemoryBackend
from sidestep.testing.doubles.clock import FakeClock
from sidestep.testing.doubles.fleet import MemoryFleet, MemoryGround, MemorySubject
from sidestep.testing.doubles.sampler import RecordedSampler

__all__ = ["FakeClock", "MemoryBackend", "MemoryFleet", "MemoryGround", "MemorySubject", "RecordedSampler"]
